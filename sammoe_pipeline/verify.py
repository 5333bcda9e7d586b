"""Integrity of a raw dataset: every fault at once, each with its file and what to do about it.

Headers are read first, which takes seconds for hundreds of cases; voxels only where they are asked for. NaN in NIfTI
files is no fault, since SimpleITK reads it as 0, here and in every later stage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.errors import ArtefactError, DatasetFaultsError, UnreadableFileError
from sammoe_pipeline.image_io import Header, read_channels, read_header, read_volume
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import DATASET_JSON, LABELS_TR
from sammoe_pipeline.raw_dataset import DatasetJson, pair_cases, read_dataset_json, visible_volumes
from sammoe_pipeline.same_grid import grid_differences

_LISTED = 8


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case, which must share a grid.

    Attributes:
        name: case identifier.
        images: one file a channel, or one 4D file with all channels along its fourth axis.
        label: the label map, or None for an unlabelled case.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


def verify_raw_dataset(folder: Path, *, workers: int = 1, voxels: bool = True) -> None:
    """Checks that a raw dataset is what its `dataset.json` says, and that images and labels share their grids.

    Args:
        folder: the dataset's, such as `sammoe_raw/Dataset004_Hippocampus`.
        workers: processes that read voxels.
        voxels: read the voxels too, which finds damaged files, wrong label values, empty labels and NaN.

    Raises:
        DatasetFaultsError: something is wrong; every fault is named. A broken file does not hide those of others.

    Example:
        >>> verify_raw_dataset(Path("sammoe_raw/Dataset004_Hippocampus"), workers=4)  # doctest: +SKIP
    """
    if not folder.is_dir():
        raise DatasetFaultsError(str(folder), ["there is no such folder. Make a dataset with sammoe_convert_dataset."])
    try:
        description = read_dataset_json(folder / DATASET_JSON)
    except ArtefactError as error:
        raise DatasetFaultsError(str(folder), [str(error)]) from error
    pairs, faults = pair_cases(folder, description)
    labelled = len(visible_volumes(folder / LABELS_TR, description.file_ending)[0])
    if description.num_training != labelled:
        faults.append(
            f"numTraining in {DATASET_JSON} is {description.num_training}, but {LABELS_TR} has {labelled} label maps. "
            f"Set it to {labelled}, or add the missing files."
        )
    faults += find_faults(
        [CaseFiles(name=case.name, images=case.images, label=case.label) for case in pairs],
        channels=len(description.channels),
        label_values=_allowed_values(description),
        workers=workers,
        label_voxels=voxels,
        image_voxels=voxels,
    )
    if faults:
        raise DatasetFaultsError(str(folder), faults)


def find_faults(
    cases: Sequence[CaseFiles],
    *,
    channels: int,
    label_values: Collection[int],
    workers: int,
    label_voxels: bool,
    image_voxels: bool,
) -> list[str]:
    """Checks the files of cases, in whatever layout they lie.

    Args:
        cases: what to check.
        channels: channels that each case must have.
        label_values: values that a label map may have, background included.
        workers: processes that read voxels.
        label_voxels: read the label maps and check their values.
        image_voxels: read the images and check that their values are numbers.

    Returns:
        One sentence a fault, those of headers first.
    """
    from tqdm import tqdm

    faults: list[str] = []
    jobs = []
    for case in tqdm(cases, desc="Checking headers", unit="case", disable=None):
        found, readable = _check_headers(case, channels)
        faults += found
        jobs.append(
            _VoxelJob(
                images=tuple(path for path in case.images if path in readable) if image_voxels else (),
                channels_a_file=_channels_a_file(case, channels),
                label=case.label if case.label in readable and label_voxels else None,
                label_values=frozenset(label_values),
            )
        )
    if label_voxels or image_voxels:
        results = run_jobs(_check_voxels, jobs, workers=workers, description="Checking voxels")
        faults += [fault for result in results for fault in result.faults]
        label_maps = [result for result in results if result.foreground is not None]
        if label_maps and not any(result.foreground for result in label_maps):
            faults.append("all label maps are empty: there is nothing to learn. Check that the right files are labels.")
    return faults


def _allowed_values(description: DatasetJson) -> set[int]:
    values = {value for values in description.labels.values() for value in values} | {0}
    return values if description.ignore is None else values | {description.ignore}


def _channels_a_file(case: CaseFiles, channels: int) -> int:
    return channels if len(case.images) == 1 else 1


def _check_headers(case: CaseFiles, channels: int) -> tuple[list[str], set[Path]]:
    """Returns the faults of a case's headers, and its files whose headers could be read."""
    faults = []
    headers: dict[Path, Header] = {}
    for path in (*case.images, *([case.label] if case.label else [])):
        try:
            headers[path] = read_header(path, channels=1 if path == case.label else _channels_a_file(case, channels))
        except UnreadableFileError as error:
            faults.append(str(error))
    reference = next(iter(headers), None)
    if reference is not None:
        grid = headers[reference]
        differences = {
            path: grid_differences(header.shape, header.affine, grid.shape, grid.affine)
            for path, header in headers.items()
        }
        faults += [
            f"{path} is not on the grid of {reference.name}: {', '.join(words)}. Resample it onto that grid or, if the "
            f"voxels do match, give it the same header."
            for path, words in differences.items()
            if words
        ]
    return faults, set(headers)


@dataclass(frozen=True)
class _VoxelJob:
    images: tuple[Path, ...]
    channels_a_file: int
    label: Path | None
    label_values: frozenset[int]


@dataclass(frozen=True)
class _VoxelResult:
    faults: list[str]
    foreground: bool | None
    """Whether the label map has any; None without a label map, True where it cannot be known."""


def _check_voxels(job: _VoxelJob) -> _VoxelResult:
    faults: list[str] = []
    foreground = None
    for path in job.images:
        try:
            volumes = [read_volume(path)] if job.channels_a_file == 1 else read_channels(path, job.channels_a_file)
            strange = sum(int(np.count_nonzero(~np.isfinite(volume.data))) for volume in volumes)
        except UnreadableFileError as error:
            faults.append(str(error))
        else:
            if strange:
                faults.append(f"{path} has {strange} voxels that are NaN or infinite. Replace them by plain numbers.")
    if job.label:
        try:
            values = _distinct(read_volume(job.label).data)
        except UnreadableFileError as error:
            faults.append(str(error))
            foreground = True
        else:
            faults += _value_faults(job.label, values, job.label_values)
            foreground = bool(np.any(values != 0))
    return _VoxelResult(faults=faults, foreground=foreground)


def _distinct(data: NDArray[Any]) -> NDArray[Any]:
    # Slice by slice, contiguous in memory, since sorting a whole volume takes seconds and copies it.
    return np.unique(np.concatenate([np.unique(section) for section in data.T]))


def _value_faults(path: Path, values: NDArray[Any], allowed: frozenset[int]) -> list[str]:
    faults = []
    whole = np.isfinite(values) & (values == np.round(values))
    if not whole.all():
        faults.append(f"{path} has values that are no whole numbers: {_listed(values[~whole])}. Round or remove them.")
    unknown = [int(value) for value in values[whole] if int(value) not in allowed]
    if unknown:
        faults.append(
            f"{path} has values that are no label: {_listed(unknown)}. The labels are {_listed(sorted(allowed))}. Add "
            f"the missing ones to {DATASET_JSON}, or change them in the file."
        )
    return faults


def _listed(values: Iterable[Any]) -> str:
    words = [f"{value:g}" for value in values]
    return ", ".join(words[:_LISTED]) + (f", ... ({len(words)} in all)" if len(words) > _LISTED else "")
