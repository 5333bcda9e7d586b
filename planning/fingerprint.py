"""What a dataset is like: one pass over its training cases, one case in memory a process."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planning.case_labels import CaseLabels
from planning.class_in_case import ClassInCase, measure_classes
from planning.kinship import alike, partner_of
from sammoe_pipeline.artefacts import (
    CaseFingerprint,
    ChannelFingerprint,
    ClassFingerprint,
    DatasetFingerprint,
    sha256_of,
)
from sammoe_pipeline.errors import DatasetFaultsError, SammoeError, UnreadableFileError
from sammoe_pipeline.geometry import Orientation
from sammoe_pipeline.image_io import Header, read_header, read_volume
from sammoe_pipeline.parallel import fitting_workers, run_jobs
from sammoe_pipeline.paths import DATASET_JSON, PATIENTS_JSON
from sammoe_pipeline.raw_dataset import RawCase, RawDataset

SAMPLES_PER_CASE = 10_000
"""Voxels of the foreground whose intensities are looked at, at most."""
_DIGITS = 6
_BYTES_A_CHANNEL, _BYTES_A_VOXEL = 8, 12
"""Of memory, as measured on a large CT: two copies a channel, and three of the label map."""


def take_fingerprint(raw: RawDataset, *, workers: int) -> DatasetFingerprint:
    """Measures a raw dataset.

    Args:
        raw: the dataset, checked before.
        workers: processes at most; each holds one case in memory, and there are no more than memory holds.

    Raises:
        DatasetFaultsError: some cases could not be measured; each is named, after all others were looked at.
        WorkerDiedError: the system ended a worker.
    """
    jobs = [_Job(case=case, labels=raw.labels) for case in raw.training_cases]
    workers = fitting_workers(workers, max(map(_bytes_of, raw.training_cases), default=0), description="Fingerprint")
    results = run_jobs(_attempt, jobs, workers=workers, description="Fingerprint")
    if failures := [result for result in results if isinstance(result, str)]:
        raise DatasetFaultsError(f"Fingerprint of {raw.name} (every other case was measured)", sorted(failures))
    found = [result for result in results if not isinstance(result, str)]
    samples = [np.concatenate([case.samples[channel] for case in found]) for channel in range(len(raw.channels))]
    return DatasetFingerprint(
        dataset=raw.name,
        cases=tuple(case.fingerprint for case in found),
        classes=_classes(raw, found),
        channels=tuple(_channel(name, values) for name, values in zip(raw.channels, samples, strict=True)),
        nonzero_share=_round(np.median([_nonzero_share(case.fingerprint) for case in found])),
        raw_digest=digest_of_raw(raw),
    )


def digest_of_raw(raw: RawDataset) -> str:
    """Returns a SHA-256 over names, sizes and modification times of everything that training cases are made from."""
    parts = [f"{name}:{values}" for name, values in sorted(raw.labels.items())]
    files = [raw.folder / DATASET_JSON, raw.folder / PATIENTS_JSON]
    files += [path for case in raw.training_cases for path in (*case.images, case.label)]
    for path in files:
        if path.exists():
            status = path.stat()
            parts.append(f"{path.name}:{status.st_size}:{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class _Job:
    case: RawCase
    labels: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class _CaseResult:
    fingerprint: CaseFingerprint
    classes: dict[str, ClassInCase]
    samples: list[NDArray[np.float32]]
    """One array (N,) a channel."""


def _attempt(job: _Job) -> _CaseResult | str:
    try:
        return _measure_case(job)
    except (SammoeError, MemoryError, ValueError, RuntimeError) as error:
        return f"case {job.case.name}: {error}"


def _measure_case(job: _Job) -> _CaseResult:
    labels = CaseLabels.of(job.case)
    orientation = Orientation.of(labels.header.affine)
    images = [orientation.to_canonical(read_volume(path).data).astype(np.float32) for path in job.case.images]
    classes = measure_classes(labels, job.labels, images)
    return _CaseResult(
        fingerprint=CaseFingerprint(
            case=job.case.name,
            shape=labels.header.shape,
            spacing_mm=_rounded(labels.header.spacing_mm),
            orientation=orientation_code(labels.header),
            nonzero_shape=_nonzero_shape(images, orientation),
            classes=tuple(classes),
            sha256=_content_of(job.case),
        ),
        classes=classes,
        samples=_sample(job, labels, images),
    )


def _content_of(case: RawCase) -> str:
    """Returns a SHA-256 over those of a case's files."""
    return hashlib.sha256("\n".join(map(sha256_of, (*case.images, case.label))).encode()).hexdigest()


def _nonzero_shape(images: Sequence[NDArray[np.float32]], orientation: Orientation) -> tuple[int, int, int]:
    """Returns the sides, along the file's axes, of the box outside which canonical channels are 0; nnU-Net's crop."""
    sides = [0, 0, 0]
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(np.any([image.any(axis=others) for image in images], axis=0))
        sides[orientation.permutation[axis]] = int(filled[-1] - filled[0] + 1) if len(filled) else 0
    return sides[0], sides[1], sides[2]


def _nonzero_share(case: CaseFingerprint) -> float:
    assert case.nonzero_shape is not None, "it was measured just now"
    return math.prod(case.nonzero_shape) / math.prod(case.shape)


def _bytes_of(case: RawCase) -> int:
    """Returns what measuring a case takes: its channels in float32, its labels, and passing copies of one of them."""
    try:
        voxels = math.prod(read_header(case.images[0]).shape)
    except UnreadableFileError:
        return 0  # The work itself says so.
    return voxels * (_BYTES_A_CHANNEL * len(case.images) + _BYTES_A_VOXEL)


def orientation_code(header: Header) -> str:
    """Returns the nearest anatomical direction of each of a file's own axes, such as "LPS"."""
    orientation = Orientation.of(header.affine)
    letters = [""] * 3
    for axis, (source, flip) in enumerate(zip(orientation.permutation, orientation.flips, strict=True)):
        letters[source] = "LPI"[axis] if flip else "RAS"[axis]
    return "".join(letters)


def _sample(job: _Job, labels: CaseLabels, images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    values = {value for members in job.labels.values() for value in members} - {0}
    foreground = np.flatnonzero(np.isin(labels.labels, list(values)))
    if len(foreground) > SAMPLES_PER_CASE:
        rng = np.random.default_rng(zlib.crc32(job.case.name.encode()))
        foreground = rng.choice(foreground, SAMPLES_PER_CASE, replace=False)
    at = np.unravel_index(foreground, labels.labels.shape)
    return [image[at] for image in images]


def _classes(raw: RawDataset, found: Sequence[_CaseResult]) -> dict[str, ClassFingerprint]:
    """Takes the medians over cases, then compares the classes with each other."""
    classes = {}
    for name in raw.labels:
        measured = [case.classes[name] for case in found if name in case.classes]
        classes[name] = _class(measured).model_copy(update={"partner": partner_of(name, raw.labels)})
    return {name: one.model_copy(update={"alike": alike(name, classes)}) for name, one in classes.items()}


def _class(measured: Sequence[ClassInCase]) -> ClassFingerprint:
    if not measured:
        return ClassFingerprint(cases=0, components=0.0, volume_mm3=0.0, extent_mm=(0.0, 0.0, 0.0), thickness_mm=0.0)
    x, y, z = np.median([one.extent_mm for one in measured], axis=0)
    return ClassFingerprint(
        cases=len(measured),
        components=float(np.median([one.components for one in measured])),
        volume_mm3=_round(np.median([one.volume_mm3 for one in measured])),
        extent_mm=_rounded((x, y, z)),
        thickness_mm=_round(np.median([one.thickness_mm for one in measured])),
        border_mm=_round(np.median([one.border_mm for one in measured])),
        intensities=tuple(_round(value) for value in np.median([one.intensities for one in measured], axis=0)),
        contrasts=tuple(_round(value) for value in np.median([one.contrasts for one in measured], axis=0)),
    )


def _channel(name: str, values: NDArray[np.float32]) -> ChannelFingerprint:
    low, median, high = np.percentile(values, [0.5, 50, 99.5])
    return ChannelFingerprint(
        name=name,
        mean=_round(values.mean(dtype=np.float64)),
        std=_round(values.std(dtype=np.float64)),
        median=_round(median),
        percentile_00_5=_round(low),
        percentile_99_5=_round(high),
        lowest=_round(values.min()),
        highest=_round(values.max()),
    )


def _round(value: float | np.floating) -> float:
    """Keeps the digits that mean something, so that the file can be read."""
    return float(f"{float(value):.{_DIGITS}g}")


def _rounded(values: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (_round(value) for value in values)
    return x, y, z
