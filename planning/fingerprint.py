"""What a dataset is like: one pass over its training cases, one case in memory a process."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planning.case_labels import CaseLabels, component_masks
from sammoe_pipeline.artefacts import CaseFingerprint, ChannelFingerprint, ClassFingerprint, DatasetFingerprint
from sammoe_pipeline.geometry import Orientation
from sammoe_pipeline.image_io import Header, read_volume
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import DATASET_JSON, PATIENTS_JSON
from sammoe_pipeline.raw_dataset import RawCase, RawDataset

SAMPLES_PER_CASE = 10_000
"""Voxels of the foreground whose intensities are looked at, at most."""
_DISTANCE_VOXELS = 1 << 24
_DIGITS = 6


def take_fingerprint(raw: RawDataset, *, workers: int) -> DatasetFingerprint:
    """Measures a raw dataset.

    Args:
        raw: the dataset, checked before.
        workers: processes; each holds one case in memory.

    Raises:
        UnreadableFileError: a file cannot be read.
    """
    jobs = [_Job(case=case, labels=raw.labels) for case in raw.training_cases]
    found = run_jobs(_measure_case, jobs, workers=workers, description="Fingerprint")
    samples = [np.concatenate([case.samples[channel] for case in found]) for channel in range(len(raw.channels))]
    return DatasetFingerprint(
        dataset=raw.name,
        cases=tuple(case.fingerprint for case in found),
        classes={name: _class([case.classes[name] for case in found if name in case.classes]) for name in raw.labels},
        channels=tuple(_channel(name, values) for name, values in zip(raw.channels, samples, strict=True)),
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
class _ClassInCase:
    components: int
    volume_mm3: float
    extent_mm: tuple[float, float, float]
    thickness_mm: float


@dataclass(frozen=True)
class _CaseResult:
    fingerprint: CaseFingerprint
    classes: dict[str, _ClassInCase]
    samples: list[NDArray[np.float32]]
    """One array (N,) a channel."""


def _measure_case(job: _Job) -> _CaseResult:
    labels = CaseLabels.of(job.case)
    classes = {
        name: measured
        for name, values in job.labels.items()
        if (measured := _measure_class(labels, values)) is not None
    }
    return _CaseResult(
        fingerprint=CaseFingerprint(
            case=job.case.name,
            shape=labels.header.shape,
            spacing_mm=_rounded(labels.header.spacing_mm),
            orientation=orientation_code(labels.header),
            classes=tuple(classes),
        ),
        classes=classes,
        samples=_sample(job, labels),
    )


def orientation_code(header: Header) -> str:
    """Returns the nearest anatomical direction of each of a file's own axes, such as "LPS"."""
    orientation = Orientation.of(header.affine)
    letters = [""] * 3
    for axis, (source, flip) in enumerate(zip(orientation.permutation, orientation.flips, strict=True)):
        letters[source] = "LPI"[axis] if flip else "RAS"[axis]
    return "".join(letters)


def _measure_class(labels: CaseLabels, values: tuple[int, ...]) -> _ClassInCase | None:
    box = labels.box(values)
    if box is None:
        return None
    mask = labels.mask(values, box)
    x, y, z = (n * mm for n, mm in zip(mask.shape, labels.spacing_mm, strict=True))
    return _ClassInCase(
        components=len(component_masks(mask)[1]),
        volume_mm3=float(np.count_nonzero(mask)) * math.prod(labels.spacing_mm),
        extent_mm=(x, y, z),
        thickness_mm=thickness_mm(mask, labels.spacing_mm),
    )


def thickness_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> float:
    """Returns the diameter of the largest ball within a mask (x, y, z); the border of the array bounds it too."""
    from scipy.ndimage import distance_transform_edt

    # Where a class fills a large scan, every second or third voxel is enough, and keeps memory bounded.
    step = math.ceil((mask.size / _DISTANCE_VOXELS) ** (1 / 3))
    part = np.pad(mask[::step, ::step, ::step], 1)
    return 2 * float(distance_transform_edt(part, sampling=[mm * step for mm in spacing_mm]).max())


def _sample(job: _Job, labels: CaseLabels) -> list[NDArray[np.float32]]:
    values = {value for members in job.labels.values() for value in members} - {0}
    foreground = np.flatnonzero(np.isin(labels.labels, list(values)))
    if len(foreground) > SAMPLES_PER_CASE:
        rng = np.random.default_rng(zlib.crc32(job.case.name.encode()))
        foreground = rng.choice(foreground, SAMPLES_PER_CASE, replace=False)
    orientation = Orientation.of(labels.header.affine)
    at = np.unravel_index(foreground, labels.labels.shape)
    return [orientation.to_canonical(read_volume(path).data)[at].astype(np.float32) for path in job.case.images]


def _class(measured: Sequence[_ClassInCase]) -> ClassFingerprint:
    if not measured:
        return ClassFingerprint(cases=0, components=0.0, volume_mm3=0.0, extent_mm=(0.0, 0.0, 0.0), thickness_mm=0.0)
    x, y, z = np.median([one.extent_mm for one in measured], axis=0)
    return ClassFingerprint(
        cases=len(measured),
        components=float(np.median([one.components for one in measured])),
        volume_mm3=_round(np.median([one.volume_mm3 for one in measured])),
        extent_mm=_rounded((x, y, z)),
        thickness_mm=_round(np.median([one.thickness_mm for one in measured])),
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
    )


def _round(value: float | np.floating) -> float:
    """Keeps the digits that mean something, so that the file can be read."""
    return float(f"{float(value):.{_DIGITS}g}")


def _rounded(values: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (_round(value) for value in values)
    return x, y, z
