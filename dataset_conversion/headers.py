"""Checks of a case that need no voxels: whether its files can be read and share a grid, and what must be rewritten."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from dataset_conversion.files import header_of, is_ready, size_of
from dataset_conversion.source import Case
from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import Header

NOISE_VOXELS = 0.1
"""How far a corner of a file may lie from its image's for the difference to be noise in headers, which is repaired."""
SAME_VOXELS = 1e-4
"""How far it may lie for nothing to need repair."""
_LABEL_SHARE = 0.05
_REWRITTEN_SHARE = 0.6


@dataclass(frozen=True)
class CaseHeaders:
    """What the headers of a case say.

    Attributes:
        grid: of the first image; None where it could not be read.
        faults: one sentence each.
        notes: what will be repaired, one sentence each.
        ready: whether each image can be taken over as the file that it is.
        label_ready: whether the label has its image's grid, the dataset's format and whole numbers, so that it can be
            taken over if its values can.
        bytes_needed: on disk for a copy, roughly.
    """

    grid: Header | None
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    ready: tuple[bool, ...]
    label_ready: bool
    bytes_needed: int


def check_headers(job: tuple[Case, int]) -> CaseHeaders:
    """Reads all headers of a case.

    Args:
        job: the case, and how many channels it must have.
    """
    case, channels = job
    faults: list[str] = []
    headers: list[Header | None] = []
    in_file = channels if len(case.images) == 1 else 1
    if len(case.images) not in (1, channels):
        faults.append(f"{case.name} has {len(case.images)} images; {channels} are needed, one a channel.")
    paths = [*case.images, *(label.path for label in case.labels)]
    for index, path in enumerate(paths):
        try:
            headers.append(header_of(path, channels=in_file if index < len(case.images) else 1))
        except UnreadableFileError as error:
            faults.append(str(error))
            headers.append(None)
    reference = headers[0]
    notes: list[str] = []
    ready = []
    bytes_needed = 0
    for index, (path, header) in enumerate(zip(paths, headers, strict=True)):
        if header is None or reference is None:
            ready.append(False)
            continue
        shift = shift_voxels(header, reference)
        if shift > NOISE_VOXELS:
            faults.append(
                f"{path} is not on the grid of {paths[0].name}: {_difference(header, reference, shift)}. Resample it "
                f"onto that grid or, if the voxels do match, give it the same header."
            )
        elif shift > SAME_VOXELS:
            notes.append(f"{path.name}: header off by {shift:.2g} voxels, put onto the grid of {paths[0].name}")
        if header.moved_voxels > 0:
            notes.append(f"{path.name}: axes not at right angles, squared ({header.moved_voxels:.2g} voxels)")
        is_image = index < len(case.images)
        kept = is_ready(path) and shift <= SAME_VOXELS and header.moved_voxels == 0
        ready.append(kept and (in_file == 1 if is_image else "int" in header.dtype))
        if is_image:
            size = math.prod(header.shape) * in_file * np.dtype(header.dtype).itemsize
            bytes_needed += size_of(path) if ready[-1] else int(size * _REWRITTEN_SHARE)
    if case.labels and reference is not None:
        bytes_needed += int(math.prod(reference.shape) * _LABEL_SHARE)
    return CaseHeaders(
        grid=reference,
        # Masks may each name the same image that is broken.
        faults=tuple(dict.fromkeys(faults)),
        notes=tuple(notes),
        ready=tuple(ready[: len(case.images)]),
        label_ready=len(case.labels) == 1 and ready[-1],
        bytes_needed=bytes_needed,
    )


def shift_voxels(header: Header, reference: Header) -> float:
    """Returns how far the farthest corner of a volume lies from the same corner of another, in its voxels.

    Args:
        header: of the one.
        reference: of the other.

    Returns:
        The distance in the smallest voxel side; infinite for volumes of different shapes.
    """
    if header.shape != reference.shape:
        return math.inf
    corners = np.array([[*corner, 1.0] for corner in product(*((0, size - 1) for size in header.shape))]).T
    distances = np.linalg.norm(((header.affine - reference.affine) @ corners)[:3], axis=0)
    return float(distances.max() / min(reference.spacing_mm))


def _difference(header: Header, reference: Header, shift: float) -> str:
    if math.isinf(shift):
        return f"shape {_sizes(header.shape)} instead of {_sizes(reference.shape)}"
    words = f"its farthest corner is {shift:.3g} voxels away"
    if not np.allclose(header.spacing_mm, reference.spacing_mm, rtol=1e-3):
        words += f", spacing {_sizes(header.spacing_mm)} mm instead of {_sizes(reference.spacing_mm)} mm"
    return words


def _sizes(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)
