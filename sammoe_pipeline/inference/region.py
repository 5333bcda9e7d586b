"""Where an answer may lie: within a box that a user drew, or near another tool's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sammoe_pipeline.geometry import Bounds, Shape
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.label_boxes import box_around

_ROUNDING = 1e-6
"""Of a box's half side: a voxel whose middle lies on a face is inside."""


@dataclass(frozen=True)
class Box:
    """A box in an image, whose sides may run in any direction.

    Attributes:
        centre: canonical voxels.
        half_sides: from the centre to three faces, a row each, in canonical voxels.
    """

    centre: tuple[float, float, float]
    half_sides: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

    def within(self, grid: Shape) -> Box:
        """Returns the part of the box in a grid, a voxel thick at least: so it holds a middle where they overlap."""
        sides = np.array(self.half_sides)
        inverse, half = np.linalg.inv(sides), np.array(grid) / 2
        # Where the grid begins and ends along the sides, in half sides from the centre.
        middle, reach = (half - 0.5 - np.array(self.centre)) @ inverse, half @ np.abs(inverse)
        low, high = np.clip([middle - reach, middle + reach], -1, 1)
        x, y, z = (np.array(self.centre) + (low + high) / 2 @ sides).tolist()
        lengths = np.maximum((high - low) / 2, 0.5 / np.abs(sides).max(axis=1))
        first, second, third = (tuple(side) for side in (lengths[:, None] * sides).tolist())
        return Box(centre=(x, y, z), half_sides=(first, second, third))

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tells which points (..., 3), in canonical voxels, lie in the box."""
        parts = (points - np.array(self.centre)) @ np.linalg.inv(np.array(self.half_sides))
        return np.asarray((np.abs(parts) <= 1 + _ROUNDING).all(axis=-1))

    def corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the lowest and the highest canonical voxel position along each axis."""
        reach = np.abs(np.array(self.half_sides)).sum(axis=0)
        return np.array(self.centre) - reach, np.array(self.centre) + reach


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels of the canonical grid that an answer may take.

    Attributes:
        inside: (x, y, z), of a part of the grid; voxels beyond that part are outside.
        start: first voxel of the part.
    """

    inside: NDArray[np.bool_]
    start: Shape

    @classmethod
    def of_box(cls, box: Box, grid: Shape) -> Region:
        """Returns the voxels of a grid whose middle lies in a box; none where the box lies beside the grid."""
        low, high = box.corners()
        first = np.clip(np.floor(low).astype(int), 0, grid)
        last = np.clip(np.ceil(high).astype(int) + 1, first, grid)
        axes = [np.arange(a, b, dtype=np.float64) for a, b in zip(first, last, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return cls(inside=box.holds(points), start=(int(first[0]), int(first[1]), int(first[2])))

    @classmethod
    def around(cls, mask: NDArray[np.bool_], margin_voxels: Sequence[float]) -> Region:
        """Returns the voxels of a grid that are at most a margin away from a mask (x, y, z) along the axes."""
        from scipy.ndimage import distance_transform_edt

        box = box_around(mask)
        if box is None:
            return cls(inside=np.zeros((0, 0, 0), dtype=np.bool_), start=(0, 0, 0))
        wide = [int(np.ceil(margin)) for margin in margin_voxels]
        part = tuple(
            slice(max(0, side.start - more), min(n, side.stop + more))
            for side, more, n in zip(box, wide, mask.shape, strict=True)
        )
        sampling = [1 / max(margin, _ROUNDING) for margin in margin_voxels]
        near = distance_transform_edt(~mask[part], sampling=sampling) <= 1
        return cls(inside=np.asarray(near | mask[part]), start=(part[0].start, part[1].start, part[2].start))

    @property
    def bounds(self) -> Bounds:
        """First and last voxel along each axis, in canonical voxels."""
        x, y, z = self.start
        i, j, k = (n - 1 for n in self.inside.shape)
        return (float(x), float(y), float(z)), (float(x + i), float(y + j), float(z + k))

    def limit(self, answer: Answer) -> Answer:
        """Returns an answer on the canonical grid that speaks against itself outside of the region."""
        stop = np.add(self.start, self.inside.shape)
        low = np.maximum(self.start, answer.start)
        high = np.maximum(low, np.minimum(stop, np.add(answer.start, answer.logits.shape)))
        allowed = torch.zeros(answer.logits.shape, dtype=torch.bool)
        ours = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, self.start, strict=True))
        theirs = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, answer.start, strict=True))
        allowed[theirs] = torch.from_numpy(self.inside[ours])
        logits = torch.where((answer.logits > 0) & ~allowed, -answer.logits, answer.logits)
        return Answer(logits=logits, start=answer.start, grid=answer.grid, windows=answer.windows)
