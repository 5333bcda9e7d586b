"""The easy beginning of pretraining: a few ellipsoids on flat ground.

A promptable network trained from scratch on anything harder stays at the constant mask; after a few hundred batches of
these it has learnt to follow the click, and goes on from there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_ELLIPSOIDS = 3
_RADII = (0.08, 0.27)
_NOISE = 0.1


def ellipsoids(rng: np.random.Generator, size: int) -> tuple[Tensor, list[NDArray[np.bool_]]]:
    """Draws one to three bright or dark ellipsoids, later ones in front of earlier ones.

    Args:
        rng: where chance comes from.
        size: voxels a side.

    Returns:
        The image (x, y, z) and the visible part of each ellipsoid.
    """
    axis = np.arange(size, dtype=np.float32)
    labels = np.zeros((size, size, size), dtype=np.int64)
    image = np.zeros((size, size, size), dtype=np.float32)
    count = int(rng.integers(1, _MOST_ELLIPSOIDS + 1))
    for label in range(1, count + 1):
        radii = rng.uniform(*_RADII, size=3) * size
        centre = rng.uniform(0.12, 0.88, size=3) * size
        x, y, z = (((axis - c) / r) ** 2 for c, r in zip(centre, radii, strict=True))
        inside = x[:, None, None] + y[None, :, None] + z[None, None, :] < 1
        labels[inside] = label
        image[inside] = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.5)
    image += _NOISE * rng.standard_normal(image.shape, dtype=np.float32)
    return torch.from_numpy(image), [labels == label for label in range(1, count + 1)]
