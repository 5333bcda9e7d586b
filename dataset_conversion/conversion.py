"""From what a format says to a dataset in nnU-Net v2's raw format: checked as a whole first, then written."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

import numpy as np

from dataset_conversion.source import Source
from sammoe_pipeline.atomic import atomic_path, write_text
from sammoe_pipeline.errors import DatasetFaultsError, UnreadableFileError
from sammoe_pipeline.image_io import Volume, read_channels, read_header, read_volume, write_volume
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR
from sammoe_pipeline.raw_dataset import BACKGROUND, visible_volumes
from sammoe_pipeline.verify import CaseFiles, find_faults

logger = logging.getLogger(__name__)

FILE_ENDING = ".nii.gz"
"""Of every file that is written."""


def convert(source: Source, folder: Path, *, converter: str, workers: int) -> None:
    """Writes a dataset in nnU-Net v2's raw format, or brings one up to date with its source.

    Nothing is written unless the whole source is in order. Each file appears complete, files that are there already and
    equal are left alone, and `dataset.json` comes last, so that an interrupted conversion never looks finished.

    Args:
        source: what a format read.
        folder: of the new dataset, such as `sammoe_raw/Dataset004_Hippocampus`.
        converter: what to name as converter in `dataset.json`.
        workers: processes.

    Raises:
        DatasetFaultsError: the source has faults, or the folder holds files of something else; all are named.
    """
    _check(source, folder, workers)
    jobs = _jobs(source, folder)
    written = sum(run_jobs(_write_case, jobs, workers=workers, description=f"Writing {folder.name}"))
    _write_dataset_json(source, folder, converter)
    labelled = sum(case.label is not None for case in source.cases)
    there = sum(len(job.files) for job in jobs) - written
    logger.info("%s: %d labelled cases, %d test cases", folder, labelled, len(jobs) - labelled)
    logger.info("%d files written, %d were there", written, there)


def number_classes(labels: dict[int, str]) -> dict[str, int]:
    """Numbers classes 1, 2, ... without gaps, in the order of their values in the source.

    >>> number_classes({20: "kidney", 3: "liver", 21: "kidney"})
    {'liver': 1, 'kidney': 2}
    """
    names = dict.fromkeys(labels[value] for value in sorted(labels))
    return {name: number for number, name in enumerate(names, start=1)}


@dataclass(frozen=True)
class _Job:
    case: CaseFiles
    channels: int
    recode: dict[int, int]
    """Label value in the dataset by label value in the source."""
    folder: Path

    @property
    def images(self) -> list[Path]:
        images = self.folder / (IMAGES_TR if self.case.label else IMAGES_TS)
        return [images / f"{self.case.name}_{channel:04d}{FILE_ENDING}" for channel in range(self.channels)]

    @property
    def label(self) -> Path:
        return self.folder / LABELS_TR / f"{self.case.name}{FILE_ENDING}"

    @property
    def files(self) -> list[Path]:
        return [*self.images, self.label] if self.case.label else self.images


def _jobs(source: Source, folder: Path) -> list[_Job]:
    numbers = number_classes(source.labels)
    recode = {0: 0, **{value: numbers[name] for value, name in source.labels.items()}}
    return [_Job(case=case, channels=len(source.channels), recode=recode, folder=folder) for case in source.cases]


def _check(source: Source, folder: Path, workers: int) -> None:
    faults = list(source.faults)
    if not any(case.label for case in source.cases):
        faults.append("there is no case with a label map. Is this the right folder, and was it extracted completely?")
    expected = {path for job in _jobs(source, folder) for path in job.files}
    strange = [
        path
        for name in (IMAGES_TR, LABELS_TR, IMAGES_TS)
        for path in visible_volumes(folder / name, FILE_ENDING)[0].values()
        if path not in expected
    ]
    if strange:
        faults.append(
            f"{folder} exists and holds {len(strange)} file(s) that this source does not have, such as {strange[0]}. "
            f"Remove the folder, or choose another ID (-d)."
        )
    faults += find_faults(
        source.cases,
        channels=len(source.channels),
        label_values={0, *source.labels},
        workers=workers,
        label_voxels=True,
        image_voxels=False,
    )
    if faults:
        raise DatasetFaultsError("The source cannot be converted", faults)


def _write_case(job: _Job) -> int:
    """Writes a case's files where they are not there yet; returns how many."""
    images = job.case.images
    if len(images) == job.channels:
        changes = [_put_file(source, target, job) for source, target in zip(images, job.images, strict=True)]
    else:
        volumes = read_channels(images[0], job.channels)
        changes = [_put_volume(volume, target, job) for volume, target in zip(volumes, job.images, strict=True)]
    if job.case.label is not None:
        changes.append(_put_label(job.case.label, job))
    return sum(changes)


def _put_label(source: Path, job: _Job) -> bool:
    header, image = read_header(source), read_header(job.images[0])
    kept = all(value == number for value, number in job.recode.items())
    if kept and "int" in header.dtype and np.allclose(header.affine, image.affine):
        return _put_file(source, job.label, job)
    table = np.zeros(max(job.recode) + 1, np.uint8 if max(job.recode.values()) < 256 else np.uint16)
    for value, number in job.recode.items():
        table[value] = number
    data = table[np.rint(read_volume(source).data).astype(np.int64)]
    # The image's affine: headers may differ by noise that our check tolerates and nnU-Net's does not.
    return _put_volume(Volume(data=data, affine=image.affine), job.label, job)


def _put_file(source: Path, target: Path, job: _Job) -> bool:
    """Copies a file byte for byte, or rewrites one of another format; returns whether there was anything to do."""
    if not source.name.endswith(FILE_ENDING):
        return _put_volume(read_volume(source), target, job)
    if target.is_file() and cmp(source, target, shallow=False):
        return False
    _reopen(job.folder)
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    return True


def _put_volume(volume: Volume, target: Path, job: _Job) -> bool:
    if target.is_file() and _is_equal(target, volume):
        return False
    _reopen(job.folder)
    write_volume(target, volume)
    return True


def _is_equal(path: Path, volume: Volume) -> bool:
    try:
        there = read_volume(path)
    except UnreadableFileError:
        return False
    same_voxels = there.data.dtype == volume.data.dtype and np.array_equal(there.data, volume.data)
    return same_voxels and np.allclose(there.affine, volume.affine, atol=1e-4)


def _reopen(folder: Path) -> None:
    """Marks a dataset as unfinished before one of its files changes."""
    (folder / DATASET_JSON).unlink(missing_ok=True)


def _write_dataset_json(source: Source, folder: Path, converter: str) -> None:
    from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

    with tempfile.TemporaryDirectory() as temporary:
        generate_dataset_json(
            temporary,
            channel_names=dict(enumerate(source.channels)),
            labels={BACKGROUND: 0, **number_classes(source.labels)},
            num_training_cases=sum(case.label is not None for case in source.cases),
            file_ending=FILE_ENDING,
            dataset_name=folder.name,
            description=source.description,
            reference=source.reference,
            release=source.release,
            license=source.licence,
            converted_by=converter,
        )
        content = (Path(temporary) / DATASET_JSON).read_text(encoding="utf-8")
    path = folder / DATASET_JSON
    # An equal file keeps its time, by which later stages see that nothing changed.
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        write_text(path, content)
