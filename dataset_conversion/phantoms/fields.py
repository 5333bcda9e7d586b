"""Smooth random fields on a voxel grid, and what a scanner adds to an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

Field = NDArray[np.float32]
Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]


def smooth_field(rng: np.random.Generator, shape: Shape, scale: ArrayLike) -> Field:
    """Draw a stationary Gaussian field of mean 0 and variance 1.

    White noise on a coarse lattice is spread by Gaussian kernels, one matrix product an axis, so long scales cost
    next to nothing.

    Args:
        rng: source of randomness.
        shape: voxels along x, y, z.
        scale: standard deviation of the kernels in voxels, one for all axes or one each.

    Returns:
        (x, y, z) field; values `1.4 * scale` apart have correlation 0.6.
    """
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float64), 3)
    along_x, along_y, along_z = (_kernels(size, step) for size, step in zip(shape, scales, strict=True))
    knots = rng.standard_normal((along_x.shape[1], along_y.shape[1], along_z.shape[1]), dtype=np.float32)
    spread = np.tensordot(along_x, knots, axes=1)  # (x, knots y, knots z)
    spread = np.matmul(along_y, spread)  # (x, y, knots z)
    field: Field = np.matmul(spread, along_z.T)
    return field


def _kernels(size: int, scale: float) -> Field:
    """Weights (voxels, knots) of Gaussian kernels one scale apart, each voxel's weights of norm 1."""
    knots = np.arange(-3.0 * scale, size + 3.0 * scale, scale)
    weights = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / scale) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return weights.astype(np.float32)


def warp(
    rng: np.random.Generator,
    coordinates_mm: Sequence[Field],
    *,
    amplitude_mm: float,
    scale: ArrayLike,
) -> list[Field]:
    """Displace open or full coordinate grids smoothly and at random.

    Args:
        rng: source of randomness.
        coordinates_mm: x, y and z, broadcastable to one (x, y, z) shape.
        amplitude_mm: standard deviation of the displacement along each axis.
        scale: scale of the displacement in voxels along x, y, z, as in `smooth_field`.

    Returns:
        Full x, y and z, each (x, y, z).
    """
    x, y, z = np.broadcast_shapes(*(axis.shape for axis in coordinates_mm))
    return [axis + np.float32(amplitude_mm) * smooth_field(rng, (x, y, z), scale) for axis in coordinates_mm]


def grid_mm(shape: Shape, spacing_mm: NDArray[np.float64]) -> list[Field]:
    """Open coordinate grids, x as (x, 1, 1) and so on, in mm from the centre of the volume."""
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing_mm, strict=True)]
    return [axis.astype(np.float32) for axis in np.meshgrid(*axes, indexing="ij", sparse=True)]


def box_mm(grid: Sequence[Field], low_mm: ArrayLike, high_mm: ArrayLike) -> Box:
    """Voxels of an open coordinate grid between two corners in mm, the first within and the second without."""
    corners = zip(grid, np.asarray(low_mm), np.asarray(high_mm), strict=True)
    x, y, z = (slice(*(int(i) for i in np.searchsorted(axis.ravel(), (low, high)))) for axis, low, high in corners)
    return x, y, z


def add_noise(rng: np.random.Generator, image: Field, *, sigma: float, grain: float) -> Field:
    """Add Gaussian noise.

    Args:
        rng: source of randomness.
        image: (x, y, z).
        sigma: standard deviation of the noise, in the image's unit.
        grain: standard deviation in voxels of the blur that correlates the noise; 0 leaves it white.
    """
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if grain > 0:
        noise = gaussian_filter(noise, grain, truncate=2.5)
        noise /= noise.std()
    return image + np.float32(sigma) * noise
