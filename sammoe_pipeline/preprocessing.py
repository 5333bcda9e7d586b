"""A configuration applied to cases: canonical axes, isotropic spacing, arrays that can be read in parts.

Intensities are stored as they are; they are normalised per window, as the published protocol does.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import CaseProperties, Configuration
from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.clicks import deep_voxels
from sammoe_pipeline.errors import DatasetFaultsError, SammoeError
from sammoe_pipeline.geometry import Orientation, Shape, resample_image, resample_labels, resampled_shape, spacing_of
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.label_boxes import LabelBoxes
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.raw_dataset import RawCase, RawDataset

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_CHUNK, _BLOCK = 64, 32
_HISTOGRAM_BINS = 256
_HISTOGRAM_LIMIT = 2.0
_LOCATIONS = 64


def normalise_positive(window: Tensor) -> Tensor:
    """The published SAM-Med3D normalisation: z-score with mean and deviation of the voxels above 0, applied to all.

    Args:
        window: (x, y, z); NaN marks voxels outside the image, which count as 0 as in the published padding.
    """
    filled = window.nan_to_num(nan=0.0)
    positive = filled[filled > 0]
    if positive.numel() < 2:
        return filled
    return (filled - positive.mean()) / positive.std().clamp(min=1e-8)


def normalise_equalised(window: Tensor) -> Tensor:
    """Contrast-limited histogram equalisation of the window, then a z-score; outside the image 0.

    Soft tissue in CT and arbitrary MR intensities get comparable contrast without knowing the modality: each bin of the
    histogram between the 0.1 and 99.9 percentile counts at most `_HISTOGRAM_LIMIT` times the mean bin, and what is cut
    off is shared out evenly, so that a large flat background has its noise amplified little and what stands out from it
    keeps its distance (Pizer et al. 1987, applied to the whole window).

    Args:
        window: (x, y, z); NaN marks voxels outside the image.
    """
    import torch

    known = ~torch.isnan(window)
    values = window[known]
    if values.numel() < 2:
        return torch.zeros_like(window)
    ordered = values[:: max(1, values.numel() // 20_000)].sort().values
    low = ordered[int(0.001 * (len(ordered) - 1))]
    high = ordered[int(0.999 * (len(ordered) - 1))]
    if not high > low:
        return torch.zeros_like(window)
    position = ((window.nan_to_num(nan=0.0) - low) / (high - low)).clamp(0, 1) * (_HISTOGRAM_BINS - 1)
    counts = torch.bincount(position[known].long(), minlength=_HISTOGRAM_BINS).to(window.dtype)
    limited = counts.clamp(max=_HISTOGRAM_LIMIT * counts.mean())
    counts = limited + (counts - limited).mean()
    cumulative = torch.cat([counts.new_zeros(1), counts.cumsum(0)]) / counts.sum()
    index = position.long()
    mapped = cumulative[index] + (position - index) * (cumulative[index + 1] - cumulative[index])
    spread = mapped[known]
    return ((mapped - spread.mean()) / spread.std().clamp(min=1e-8)) * known


NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "positive": normalise_positive,
    "equalised": normalise_equalised,
}
"""By the name that a foundation's card gives."""


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


def to_configuration(volume: Volume, spacing_mm: float) -> Tensor:
    """Brings an image into a configuration: canonical axes, isotropic spacing, float32, NaN replaced by 0."""
    import torch

    orientation = Orientation.of(volume.affine)
    canonical = np.ascontiguousarray(orientation.to_canonical(volume.data), dtype=np.float32)
    affine = orientation.canonical_affine(volume.affine, _shape(volume.data))
    image = torch.from_numpy(np.nan_to_num(canonical))
    return resample_image(image, resampled_shape(_shape(canonical), spacing_of(affine), spacing_mm))


@dataclass(frozen=True)
class _Job:
    """One case to prepare in one configuration; picklable for worker processes."""

    case: RawCase
    configuration: Configuration
    labels: dict[str, tuple[int, ...]]
    target: PreprocessedDataset


def prepare_dataset(
    raw: RawDataset, target: PreprocessedDataset, configurations: Sequence[Configuration], *, workers: int
) -> None:
    """Writes the arrays of every labelled case in every configuration, and the ground truth on its own grid.

    Cases whose raw files and configuration are unchanged are skipped; a case is replaced only by its successor.

    Args:
        raw: the dataset.
        target: where the arrays go.
        configurations: spacings and channels to prepare.
        workers: processes.

    Raises:
        DatasetFaultsError: some cases failed; every other case was prepared, and each failure is named.
    """
    from tqdm import tqdm

    jobs = [
        _Job(case=case, configuration=configuration, labels=raw.labels, target=target)
        for configuration in configurations
        for case in raw.training_cases
    ]
    todo = [job for job in jobs if not _is_current(job)]
    logger.info("%s: %d of %d arrays are current", raw.name, len(jobs) - len(todo), len(jobs))
    failures: list[str] = []
    bar = tqdm(total=len(todo), desc=f"Preprocessing {raw.name}", unit="case", disable=not todo)
    if workers <= 1 or len(todo) <= 2:
        for job in todo:
            failures += _attempt(job)
            bar.update()
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(_attempt, job) for job in todo]):
                failures += future.result()
                bar.update()
    bar.close()
    if failures:
        raise DatasetFaultsError(f"Preprocessing {raw.name}", sorted(failures))


def _attempt(job: _Job) -> list[str]:
    import torch

    torch.set_num_threads(1)
    try:
        _prepare_case(job)
    except (SammoeError, MemoryError, ValueError, RuntimeError) as error:
        return [f"case {job.case.name}, configuration {job.configuration.name}: {error}"]
    return []


def _prepare_case(job: _Job) -> None:
    case, configuration = job.case, job.configuration
    volume = read_volume(case.images[configuration.channel])
    label_map = read_volume(case.label)
    image = to_configuration(volume, configuration.spacing_mm)
    orientation = Orientation.of(volume.affine)
    labels = np.ascontiguousarray(orientation.to_canonical(label_map.data)).astype(np.int16)
    shape = _shape(image.numpy())
    segmentation = resample_labels(labels, shape)
    save_array(job.target.image(configuration.name, case.name), image.numpy())
    save_array(job.target.segmentation(configuration.name, case.name), segmentation)
    boxes = LabelBoxes.of(segmentation)
    places = {name: _places(segmentation, boxes, values, case.name) for name, values in job.labels.items()}
    truth = job.target.ground_truth(case.name)
    # The image's grid is the truth's grid: headers may differ by noise that the integrity check tolerates.
    write_volume(truth, Volume(data=label_map.data.astype(np.int16), affine=volume.affine))
    CaseProperties(
        case=case.name,
        source_digest=_digest(job),
        file_shape=_shape(volume.data),
        affine=tuple(tuple(float(v) for v in row) for row in volume.affine),
        canonical_shape=_shape(labels),
        shape=shape,
        class_voxels={name: voxels for name, (voxels, _) in places.items()},
        class_locations={name: locations for name, (_, locations) in places.items()},
    ).save(job.target.properties(configuration.name, case.name))


def _places(
    segmentation: NDArray[Any], boxes: LabelBoxes, values: tuple[int, ...], case: str
) -> tuple[int, tuple[tuple[int, int, int], ...]]:
    """Returns how many voxels a class has, and some of them, most of them well inside it."""
    # With a margin, so that the box's border does not count as the image's.
    box = boxes.around(values, margin=1)
    if box is None:
        return 0, ()
    member = np.isin(segmentation[box], values)
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    deep, anywhere = deep_voxels(member), np.argwhere(member)
    share = _LOCATIONS // 4
    drawn = np.concatenate(
        [deep[rng.integers(len(deep), size=_LOCATIONS - share)], anywhere[rng.integers(len(anywhere), size=share)]]
    )
    corner = [side.start for side in box]
    return len(anywhere), tuple((int(x), int(y), int(z)) for x, y, z in np.unique(drawn + corner, axis=0))


def _is_current(job: _Job) -> bool:
    properties = job.target.properties(job.configuration.name, job.case.name)
    arrays = (
        job.target.image(job.configuration.name, job.case.name),
        job.target.segmentation(job.configuration.name, job.case.name),
        job.target.ground_truth(job.case.name),
    )
    if not properties.is_file() or not all(path.exists() for path in arrays):
        return False
    try:
        return CaseProperties.load(properties).source_digest == _digest(job)
    except SammoeError:
        return False


def _digest(job: _Job) -> str:
    parts = [job.configuration.model_dump_json(), repr(sorted(job.labels.items()))]
    for path in (job.case.images[job.configuration.channel], job.case.label):
        status = path.stat()
        parts.append(f"{path.name}:{status.st_size}:{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _shape(array: NDArray[Any]) -> Shape:
    return array.shape[0], array.shape[1], array.shape[2]
