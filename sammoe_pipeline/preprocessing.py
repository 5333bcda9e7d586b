"""Configurations applied to cases: canonical axes, isotropic spacing, arrays that can be read in parts.

Intensities are stored as they are; they are normalised per window, as the published protocol does.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import CaseProperties, Configuration
from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.clicks import deep_among, deep_voxels, squared_depths
from sammoe_pipeline.errors import DatasetFaultsError, SammoeError, UnreadableFileError
from sammoe_pipeline.geometry import Orientation, Shape, resample_image, resample_labels, resampled_shape, spacing_of
from sammoe_pipeline.image_io import Volume, read_header, read_volume, write_volume
from sammoe_pipeline.label_boxes import LabelBoxes
from sammoe_pipeline.parallel import fitting_workers, run_jobs
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.raw_dataset import RawCase, RawDataset
from sammoe_pipeline.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_CHUNK, _BLOCK = 64, 32
_LOCATIONS = 64
_BYTES_A_CHANNEL, _BYTES_A_FILE_VOXEL, _BYTES_A_MADE_VOXEL = 4, 16, 12
_STORED_BYTES_A_VOXEL = 3
"""Image and labels, compressed; images with empty surroundings take a tenth."""


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Writes an array (x, y, z) atomically as a chunked, compressed blosc2 file."""
    import blosc2

    chunks = tuple(min(_CHUNK, n) for n in array.shape)
    blocks = tuple(min(_BLOCK, n) for n in chunks)
    with atomic_path(path) as temporary:
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=os.fspath(temporary),
            mode="w",
            chunks=chunks,
            blocks=blocks,
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
        )


def open_array(path: Path) -> Any:
    """Opens a blosc2 array without decoding it; slicing decodes only the blocks that are touched."""
    import blosc2

    return blosc2.open(os.fspath(path), mode="r", dparams={"nthreads": 1})


def to_configuration(volume: Volume, spacing_mm: float, device: str = "cpu") -> Tensor:
    """Brings an image into a configuration: canonical axes, isotropic spacing, float32, NaN and infinite replaced by 0.

    Args:
        volume: the image in its file's axes.
        spacing_mm: isotropic.
        device: where it is resampled; the result is on the processor.
    """
    import torch

    orientation = Orientation.of(volume.affine)
    canonical = np.ascontiguousarray(orientation.to_canonical(volume.data), dtype=np.float32)
    affine = orientation.canonical_affine(volume.affine, _shape(volume.data))
    image = torch.from_numpy(canonical).to(device).nan_to_num(0, 0, 0)
    return resample_image(image, resampled_shape(_shape(canonical), spacing_of(affine), spacing_mm)).cpu()


@dataclass(frozen=True)
class Preparation:
    """One case to prepare in some configurations; picklable for worker processes.

    Attributes:
        case: its files.
        configurations: at least one.
        labels: values by class.
        target: where the arrays go.
        device: where images are resampled.
    """

    case: RawCase
    configurations: tuple[Configuration, ...]
    labels: dict[str, tuple[int, ...]]
    target: PreprocessedDataset
    device: str = "cpu"


def prepare_dataset(
    raw: RawDataset,
    target: PreprocessedDataset,
    configurations: Sequence[Configuration],
    *,
    workers: int,
    device: str = "cpu",
) -> None:
    """Writes the arrays of every labelled case in every configuration, and the ground truth on its own grid.

    What a case lacks is made from one reading of its files. Configurations whose raw files and settings are unchanged
    are skipped; arrays are replaced only by their successors.

    Args:
        raw: the dataset.
        target: where the arrays go.
        configurations: spacings and channels to prepare.
        workers: processes at most; each holds one case in memory, and there are no more than memory holds.
        device: where images are resampled.

    Raises:
        DatasetFaultsError: some cases failed; every other case was prepared, and each failure is named.
        WorkerDiedError: the system ended a worker.
    """
    jobs = []
    for case in raw.training_cases:
        whole = Preparation(
            case=case, configurations=tuple(configurations), labels=raw.labels, target=target, device=device
        )
        missing = tuple(one for one in configurations if not _is_current(whole, one))
        if missing:
            jobs.append(replace(whole, configurations=missing))
    logger.info(
        "%s: %d of %d cases are prepared", raw.name, len(raw.training_cases) - len(jobs), len(raw.training_cases)
    )
    sizes = [_Voxels.of(job) for job in jobs]
    _warn_of_space(jobs, sizes, target.root)
    description = f"Preprocessing {raw.name}"
    most = max((_bytes_of(job, size) for job, size in zip(jobs, sizes, strict=True)), default=0)
    workers = fitting_workers(workers, most, description=description)
    found = run_jobs(_attempt, jobs, workers=workers, description=description)
    if failures := [failure for of_case in found for failure in of_case]:
        raise DatasetFaultsError(description, sorted(failures))


@dataclass(frozen=True)
class _Voxels:
    """How many voxels a channel of a case has, in its file and in each of its configurations."""

    in_file: int
    made: tuple[int, ...]

    @classmethod
    def of(cls, job: Preparation) -> _Voxels:
        try:
            header = read_header(job.case.images[0])
        except UnreadableFileError:
            return cls(0, (0,))  # The work itself says so.
        shapes = (resampled_shape(header.shape, header.spacing_mm, one.spacing_mm) for one in job.configurations)
        return cls(math.prod(header.shape), tuple(map(math.prod, shapes)))


def _warn_of_space(jobs: Sequence[Preparation], sizes: Sequence[_Voxels], root: Path) -> None:
    """Says so where the arrays may not fit on the disk, of which finer spacings than the scans' take the most."""
    needed = _STORED_BYTES_A_VOXEL * sum(sum(size.made) for size in sizes)
    existing = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        names = ", ".join(dict.fromkeys(one.name for job in jobs for one in job.configurations))
        logger.warning(
            "%s has %.1f GB free; the arrays of %d cases at %s may take up to %.1f. Make room, use another "
            "--preprocessed, or leave fine spacings out of the plan.",
            existing,
            free / 1e9,
            len(jobs),
            names,
            needed / 1e9,
        )


def _bytes_of(job: Preparation, size: _Voxels) -> int:
    """Returns what preparing a case takes, measured on a large CT: copies of its files, and of its largest arrays."""
    channels = len({one.channel for one in job.configurations})
    of_file = size.in_file * (_BYTES_A_CHANNEL * channels + _BYTES_A_FILE_VOXEL)
    return of_file + max(size.made) * _BYTES_A_MADE_VOXEL


def _attempt(job: Preparation) -> list[str]:
    from torch import OutOfMemoryError

    try:
        with one_thread():
            prepare_case(job)
    except OutOfMemoryError:
        return [f"case {job.case.name}: the card's memory ran out. Use fewer processes (-np), or -device cpu."]
    except (SammoeError, MemoryError, ValueError, RuntimeError) as error:
        return [f"case {job.case.name}: {error}"]
    return []


def prepare_case(job: Preparation) -> None:
    """Writes the arrays of one case in each of its configurations, and its ground truth.

    Raises:
        UnreadableFileError: a file cannot be read.
    """
    case, target = job.case, job.target
    label_map = read_volume(case.label)
    volumes = {channel: read_volume(case.images[channel]) for channel in {one.channel for one in job.configurations}}
    grid = next(iter(volumes.values()))
    # The image's grid is the truth's grid: headers may differ by noise that the integrity check tolerates.
    write_volume(target.ground_truth(case.name), Volume(data=label_map.data.astype(np.int16), affine=grid.affine))
    labels = np.ascontiguousarray(Orientation.of(grid.affine).to_canonical(label_map.data)).astype(np.int16)
    for configuration in job.configurations:
        image = to_configuration(volumes[configuration.channel], configuration.spacing_mm, job.device)
        shape = _shape(image.numpy())
        segmentation = resample_labels(labels, shape)
        save_array(target.image(configuration.name, case.name), image.numpy())
        save_array(target.segmentation(configuration.name, case.name), segmentation)
        places = _places(segmentation, job.labels, case.name)
        CaseProperties(
            case=case.name,
            source_digest=_digest(job, configuration),
            file_shape=_shape(grid.data),
            affine=tuple(tuple(float(v) for v in row) for row in grid.affine),
            canonical_shape=_shape(labels),
            shape=shape,
            class_voxels={name: voxels for name, (voxels, _) in places.items()},
            class_locations={name: locations for name, (_, locations) in places.items()},
        ).save(target.properties(configuration.name, case.name))


def _places(
    segmentation: NDArray[Any], labels: dict[str, tuple[int, ...]], case: str
) -> dict[str, tuple[int, tuple[tuple[int, int, int], ...]]]:
    """Returns by class how many voxels it has, and some of them, most of them well inside it."""
    boxes = LabelBoxes.of(segmentation)
    found: dict[str, tuple[int, tuple[tuple[int, int, int], ...]]] = dict.fromkeys(labels, (0, ()))
    # With a margin, so that the box's border does not count as the image's.
    whole = boxes.around([value for values in labels.values() for value in values], margin=1)
    if whole is None:
        return found
    squared = squared_depths(segmentation[whole])
    for name, values in labels.items():
        box = boxes.around(values, margin=1)
        if box is None:
            continue
        member = np.isin(segmentation[box], values)
        within = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, whole, strict=True))
        # Where a class has several values, their common borders are not its own.
        deep = deep_among(squared[within], member) if len(values) == 1 else deep_voxels(member)
        found[name] = (int(np.count_nonzero(member)), _drawn(deep, member, [side.start for side in box], case))
    return found


def _drawn(
    deep: NDArray[np.int64], member: NDArray[np.bool_], corner: Sequence[int], case: str
) -> tuple[tuple[int, int, int], ...]:
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    anywhere = np.argwhere(member)
    share = _LOCATIONS // 4
    drawn = np.concatenate(
        [deep[rng.integers(len(deep), size=_LOCATIONS - share)], anywhere[rng.integers(len(anywhere), size=share)]]
    )
    return tuple((int(x), int(y), int(z)) for x, y, z in np.unique(drawn + corner, axis=0))


def _is_current(job: Preparation, configuration: Configuration) -> bool:
    target, case = job.target, job.case.name
    properties = target.properties(configuration.name, case)
    arrays = (
        target.image(configuration.name, case),
        target.segmentation(configuration.name, case),
        target.ground_truth(case),
    )
    if not properties.is_file() or not all(path.exists() for path in arrays):
        return False
    try:
        return CaseProperties.load(properties).source_digest == _digest(job, configuration)
    except SammoeError:
        return False


def _digest(job: Preparation, configuration: Configuration) -> str:
    parts = [configuration.model_dump_json(), repr(sorted(job.labels.items()))]
    for path in (job.case.images[configuration.channel], job.case.label):
        status = path.stat()
        parts.append(f"{path.name}:{status.st_size}:{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _shape(array: NDArray[Any]) -> Shape:
    return array.shape[0], array.shape[1], array.shape[2]
