"""An image at a spacing finer than its own, of which only the windows that are looked at are computed.

A torso at the spacing of a mouse's brain would take hundreds of gigabytes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.geometry import Shape


class Zoomed:
    """An image on a finer grid over the same box; its values are those of `geometry.resample_image`.

    Args:
        source: (x, y, z), of any number type; NaN and infinite values count as 0.
        shape: of the finer grid.
    """

    def __init__(self, source: NDArray[np.generic], shape: Shape) -> None:
        self.source = source
        self.shape = shape

    def window(self, start: Shape, size: int, pad_value: float) -> Tensor:
        """Cuts the cube [start, start + size) out of the finer grid; what lies outside is `pad_value`.

        Args:
            start: first voxel, may be negative.
            size: voxels a side.
            pad_value: value outside the image.

        Returns:
            (size, size, size) float32.
        """
        cube = torch.full((size, size, size), pad_value)
        inside = [(max(0, s), min(n, s + size)) for s, n in zip(start, self.shape, strict=True)]
        if all(low < high for low, high in inside):
            target = tuple(slice(low - s, high - s) for (low, high), s in zip(inside, start, strict=True))
            cube[target] = self._interpolated(inside)
        return cube

    def _interpolated(self, box: list[tuple[int, int]]) -> Tensor:
        """Returns the voxels of a box of the finer grid: trilinear, so one axis after another."""
        lower, weights = [], []
        for (low, high), n, wanted in zip(box, self.source.shape, self.shape, strict=True):
            at = (torch.arange(low, high, dtype=torch.float64) + 0.5) * n / wanted - 0.5
            at = at.clamp(0, n - 1)
            first = at.floor().long()
            lower.append(first)
            weights.append((at - first).float())
        needed = tuple(
            slice(int(first[0]), min(n, int(first[-1]) + 2)) for first, n in zip(lower, self.source.shape, strict=True)
        )
        values = torch.from_numpy(np.ascontiguousarray(self.source[needed], dtype=np.float32)).nan_to_num(0, 0, 0)
        for axis, (first, weight) in enumerate(zip(lower, weights, strict=True)):
            here = first - int(first[0])
            there = (here + 1).clamp_max(values.shape[axis] - 1)
            along = weight.reshape([-1 if other == axis else 1 for other in range(3)])
            values = torch.lerp(values.index_select(axis, here), values.index_select(axis, there), along)
        return values
