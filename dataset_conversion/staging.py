"""The part of a conversion that decodes: each case is checked voxel by voxel, and what must be made is made aside.

What is made lies in a hidden folder of the dataset until every case has been found in order, so that a source with
faults leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dataset_conversion.files import FILE_ENDING, channels_of, files_of, is_ready, size_of, voxels_of
from dataset_conversion.headers import CaseHeaders
from dataset_conversion.labels import has_foreground, numbers_of, paint
from dataset_conversion.report import ConvertedCase, MadeFile
from dataset_conversion.selection import Numbering
from dataset_conversion.source import Case
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import Header, Volume, write_volume
from sammoe_pipeline.paths import CONVERSION_PROGRESS, IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS


@dataclass(frozen=True)
class CaseJob:
    """What to do with a case.

    Attributes:
        case: its files in the source, with a name that serves as a file name.
        channels: how many there are.
        numbering: of the classes.
        headers: what its headers say.
        folder: the dataset's.
        only_with_foreground: leave the case out if no wanted class is in it.
        empty_is_unlabelled: leave it out if its label files are empty.
        write: whether to make files, or only to check.
    """

    case: Case
    channels: int
    numbering: Numbering
    headers: CaseHeaders
    folder: Path
    only_with_foreground: bool
    empty_is_unlabelled: bool
    write: bool

    @property
    def images(self) -> list[str]:
        """Where the images go, relative to the dataset's folder."""
        folder = IMAGES_TR if self.case.is_training else IMAGES_TS
        return [f"{folder}/{self.case.name}_{channel:04d}{FILE_ENDING}" for channel in range(self.channels)]

    @property
    def label(self) -> str | None:
        """Where the label map goes, relative to the dataset's folder."""
        folder = LABELS_TR if self.case.is_training else LABELS_TS
        return f"{folder}/{self.case.name}{FILE_ENDING}" if self.case.labels else None

    @property
    def targets(self) -> list[str]:
        """All files of the case in the dataset."""
        return [*self.images, *([self.label] if self.label else [])]

    @property
    def sources(self) -> dict[str, Path]:
        """Files of the source that can be taken over as they are, by where they go, if the label's values fit."""
        ready = {
            target: path
            for target, path, kept in zip(self.images, self.case.images, self.headers.ready, strict=False)
            if kept and is_ready(path)
        }
        if self.label and self.headers.label_ready and is_ready(label := self.case.labels[0].path):
            ready[self.label] = label
        return ready

    @property
    def bytes_to_decode(self) -> int:
        """Size of all files that must be read through."""
        images = zip(self.case.images, self.headers.ready, strict=True)
        files = [*(path for path, ready in images if not ready), *(label.path for label in self.case.labels)]
        return sum(map(size_of, files))

    @property
    def bytes_to_copy(self) -> int:
        """Size of all files that may be taken over as they are."""
        return sum(path.stat().st_size for path in self.sources.values())

    @property
    def progress(self) -> Path:
        """Where files wait until all cases are in order."""
        return self.folder / CONVERSION_PROGRESS

    @property
    def record(self) -> Path:
        """What is known of the case while others are still worked on."""
        return self.progress / f"{self.case.name}.json"

    def inputs(self) -> str:
        """Returns a SHA-256 over all that the result depends on."""
        inputs = [*self.case.images, *(label.path for label in self.case.labels)]
        files = [(one.name, path) for one in inputs for path in files_of(one)]
        stats = [(name, path.name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files]
        numbers = [sorted(numbers_of(label, self.numbering).items()) for label in self.case.labels]
        known = [sorted(label.meaning) if isinstance(label.meaning, dict) else None for label in self.case.labels]
        settings = (self.only_with_foreground, self.empty_is_unlabelled, asdict(self.numbering), self.targets)
        content = json.dumps([stats, numbers, known, settings], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    def is_done(self, earlier: ConvertedCase | None) -> bool:
        """Tells whether an earlier run did all this, and what it made is still there."""
        return earlier is not None and earlier.inputs == self.inputs() and all(map(self._is_there, earlier.made))

    def _is_there(self, made: MadeFile) -> bool:
        return any(
            path.is_file() and (path.stat().st_size, path.stat().st_mtime_ns) == (made.size, made.modified_ns)
            for path in (self.progress / made.name, self.folder / made.name)
        )


@dataclass(frozen=True)
class StagedCase:
    """What came of a case.

    Attributes:
        record: what was done; None where faults forbid it.
        faults: one sentence each.
    """

    record: ConvertedCase | None
    faults: tuple[str, ...]


def stage(job: CaseJob) -> StagedCase:
    """Checks the voxels of a case's labels, and makes the files that cannot be taken over.

    Args:
        job: the case, whose headers are in order.
    """
    try:
        return _stage(job)
    except UnreadableFileError as error:
        return StagedCase(record=None, faults=(str(error),))


def _stage(job: CaseJob) -> StagedCase:
    grid = job.headers.grid
    assert grid is not None, "only cases whose headers are in order are staged"
    made: dict[str, Volume] = {}
    overlaps, foreground, left_out = 0, True, None
    if job.label:
        painted = paint(job.case.labels, job.numbering, grid)
        if painted.faults:
            return StagedCase(record=None, faults=painted.faults)
        overlaps, foreground = painted.overlapping_voxels, painted.foreground
        if not foreground:
            left_out = _reason_to_leave_out(job)
        if not (painted.same and job.headers.label_ready):
            made[job.label] = Volume(data=painted.data, affine=grid.affine)
    files: list[MadeFile] = []
    if left_out is None and job.write:
        files = [_write(job, name, volume) for name, volume in made.items()]
        # Label and images one after the other, so that they are never in memory together.
        made.clear()
        files += _make_images(job, grid)
    record = ConvertedCase(
        name=job.case.name,
        inputs=job.inputs(),
        made=tuple(files),
        overlapping_voxels=overlaps,
        foreground=foreground,
        left_out=left_out,
        repaired=job.headers.notes,
    )
    if job.write:
        write_text(job.record, record.model_dump_json())
    return StagedCase(record=record, faults=())


def _reason_to_leave_out(job: CaseJob) -> str | None:
    if job.only_with_foreground and job.case.is_training:
        return "no wanted class is in it"
    if job.empty_is_unlabelled and not has_foreground(job.case.labels):
        return "all its label files are empty: nobody has labelled it"
    return None


def _make_images(job: CaseJob, grid: Header) -> list[MadeFile]:
    images = job.case.images
    if len(images) == job.channels:
        return [
            _write(job, target, Volume(data=voxels_of(path), affine=grid.affine))
            for path, target, ready in zip(images, job.images, job.headers.ready, strict=True)
            if not ready
        ]
    series = images[0]
    assert isinstance(series, Path), "only a file holds several channels"
    volumes = channels_of(series, job.channels)
    return [_write(job, target, volume) for volume, target in zip(volumes, job.images, strict=True)]


def _write(job: CaseJob, name: str, volume: Volume) -> MadeFile:
    path = job.progress / name
    write_volume(path, volume)
    status = path.stat()
    return MadeFile(name=name, size=status.st_size, modified_ns=status.st_mtime_ns)
