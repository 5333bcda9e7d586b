"""What one class is like in one case: its size, its place and how it looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planning.case_labels import CaseLabels
from sammoe_pipeline.clicks import component_masks
from sammoe_pipeline.label_boxes import Box

_MOST_VOXELS = 1 << 24
_SHELL_VOXELS = 2


@dataclass(frozen=True)
class ClassInCase:
    """Measurements of a class in a case.

    Attributes:
        components: connected components, specks left out.
        volume_mm3: of all of it.
        extent_mm: of its bounding box along RAS axes.
        thickness_mm: diameter of the largest ball within.
        border_mm: from its bounding box to the nearest face of the image; 0 where it is cut off.
        intensities: by channel, mean within the class; in standard deviations of all classes together, from their mean.
        contrasts: by channel, how far its mean lies from that of the voxels around it, in their common standard
            deviation.
    """

    components: int
    volume_mm3: float
    extent_mm: tuple[float, float, float]
    thickness_mm: float
    border_mm: float
    intensities: tuple[float, ...]
    contrasts: tuple[float, ...]


def measure_classes(
    labels: CaseLabels, values_of: dict[str, tuple[int, ...]], images: Sequence[NDArray[np.float32]]
) -> dict[str, ClassInCase]:
    """Measures every class that a case has.

    Args:
        labels: of the case.
        values_of: label values of each class.
        images: its channels (x, y, z) along canonical axes.
    """
    foreground = _foreground(labels, values_of, images)
    found = {}
    for name, values in values_of.items():
        box = labels.boxes.around(values)
        if box is not None:
            found[name] = _measure(labels, values, box, images, foreground)
    return found


def thickness_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> float:
    """Returns the diameter of the largest ball within a mask (x, y, z); the border of the array bounds it too."""
    import edt

    step = _step(mask.size)
    part = np.pad(mask[::step, ::step, ::step], 1)
    return 2 * float(edt.edt(part, anisotropy=tuple(mm * step for mm in spacing_mm)).max())


def contrast(mask: NDArray[np.bool_], image: NDArray[np.float32]) -> float:
    """Returns how far the mean within a mask lies from that of the two voxels around it, in their standard deviation.

    It is Cohen's d without its sign: the difference of the means over the root of the mean of the variances. 0 where
    there is nothing around the mask, or nothing varies.

    Args:
        mask: (x, y, z), with its surroundings.
        image: (x, y, z).
    """
    from scipy.ndimage import binary_dilation

    step = _step(mask.size)
    mask, image = mask[::step, ::step, ::step], image[::step, ::step, ::step]
    inside = image[mask]
    around = image[binary_dilation(mask, iterations=_SHELL_VOXELS) & ~mask]
    if not inside.size or not around.size:
        return 0.0
    spread = math.sqrt((inside.var(dtype=np.float64) + around.var(dtype=np.float64)) / 2)
    difference = abs(inside.mean(dtype=np.float64) - around.mean(dtype=np.float64))
    return float(difference / spread) if spread > 0 else 0.0


def _step(voxels: int) -> int:
    """Where a class fills a large scan, every second or third voxel is enough, and keeps memory bounded."""
    return max(1, math.ceil(float(np.cbrt(voxels / _MOST_VOXELS))))


def _foreground(
    labels: CaseLabels, values_of: dict[str, tuple[int, ...]], images: Sequence[NDArray[np.float32]]
) -> list[tuple[float, float]]:
    """Returns mean and standard deviation of all classes together, by channel."""
    step = _step(labels.labels.size)
    every = (slice(None, None, step),) * 3
    named = np.isin(labels.labels[every], [value for values in values_of.values() for value in values])
    if not named.any():
        return [(0.0, 1.0)] * len(images)
    sampled = [image[every][named] for image in images]
    return [(float(v.mean(dtype=np.float64)), float(v.std(dtype=np.float64)) or 1.0) for v in sampled]


def _measure(
    labels: CaseLabels,
    values: tuple[int, ...],
    box: Box,
    images: Sequence[NDArray[np.float32]],
    foreground: Sequence[tuple[float, float]],
) -> ClassInCase:
    mask = labels.mask(values, box)
    x, y, z = (n * mm for n, mm in zip(mask.shape, labels.spacing_mm, strict=True))
    to_faces = (
        min(side.start, size - side.stop) * mm
        for side, size, mm in zip(box, labels.labels.shape, labels.spacing_mm, strict=True)
    )
    wide = labels.boxes.around(values, margin=_SHELL_VOXELS)
    assert wide is not None, "the class has a box"
    widened = labels.mask(values, wide)
    return ClassInCase(
        components=len(component_masks(mask)[1]),
        volume_mm3=float(np.count_nonzero(mask)) * math.prod(labels.spacing_mm),
        extent_mm=(x, y, z),
        thickness_mm=thickness_mm(mask, labels.spacing_mm),
        border_mm=min(to_faces),
        intensities=tuple(
            (float(image[box][mask].mean(dtype=np.float64)) - mean) / std
            for image, (mean, std) in zip(images, foreground, strict=True)
        ),
        contrasts=tuple(contrast(widened, image[wide]) for image in images),
    )
