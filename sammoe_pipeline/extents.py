"""How far an image and the body in it reach, and where between these borders something lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.geometry import Shape

_SAMPLED = 1_000_000


@dataclass(frozen=True)
class Extents:
    """Borders of an image and of the body in it, in voxels, along x, y and z.

    Attributes:
        shape: of the image.
        low: first voxel of the body.
        high: first voxel behind it.
    """

    shape: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, image: NDArray[np.generic]) -> Extents:
        """Measures an image (x, y, z); the body is what Otsu's threshold keeps, all of an image without contrast."""
        from skimage.filters import threshold_otsu

        shape = np.array(image.shape, dtype=np.float64)
        step = max(1, math.ceil((image.size / _SAMPLED) ** (1 / 3)))
        sampled = np.asarray(image[::step, ::step, ::step], dtype=np.float32)
        known = sampled[np.isfinite(sampled)]
        if not known.size or known.min() == known.max():
            return cls(shape=shape, low=np.zeros(3), high=shape)
        body = np.argwhere(sampled > threshold_otsu(known))
        return cls(shape=shape, low=body.min(axis=0) * step, high=np.minimum((body.max(axis=0) + 1) * step, shape))

    def on(self, shape: Shape) -> Extents:
        """Returns the same on another grid over the same box."""
        scale = np.array(shape) / self.shape
        return Extents(shape=self.shape * scale, low=self.low * scale, high=self.high * scale)

    def places(self, first: NDArray[np.float64], step: NDArray[np.float64], count: int) -> Tensor:
        """Says where the cells of a window lie.

        Args:
            first: voxel position (3,) of the middle of its first cell.
            step: (3, 3); a cell more in the window is this step in voxels of the image.
            count: cells a side.

        Returns:
            (count, count, count, 6): between the borders of the image, then of the body, -1 at the first and 1 at the
            last along each axis.
        """
        along = np.arange(count)
        cells = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1)
        edges = first + cells @ step.T + 0.5
        found = [2 * (edges - low) / (high - low) - 1 for low, high in ((0.0, self.shape), (self.low, self.high))]
        return torch.from_numpy(np.concatenate(found, axis=-1)).float()
