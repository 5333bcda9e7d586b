"""Whether two volumes lie on one grid, up to the noise of their headers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SPACING_TOLERANCE = 1e-3
"""Relative difference up to which two spacings are the same."""
ORIGIN_TOLERANCE_MM = 1e-2
"""Distance up to which two origins are the same."""
DIRECTION_TOLERANCE = 1e-3
"""Length of the difference up to which two unit vectors along an axis are the same."""


def grid_differences(
    shape: Sequence[int],
    affine: NDArray[np.float64],
    reference_shape: Sequence[int],
    reference_affine: NDArray[np.float64],
) -> list[str]:
    """Says in words in what a grid differs from another; nothing where they are the same.

    Args:
        shape: voxels along the file's own axes.
        affine: 4 x 4, voxel index to millimetres.
        reference_shape: of the other.
        reference_affine: likewise.
    """
    differences = []
    if tuple(shape) != tuple(reference_shape):
        differences.append(f"shape {_sizes(shape)} instead of {_sizes(reference_shape)}")
    spacing, reference_spacing = (np.linalg.norm(one[:3, :3], axis=0) for one in (affine, reference_affine))
    if not np.allclose(spacing, reference_spacing, rtol=SPACING_TOLERANCE, atol=0):
        differences.append(f"spacing {_sizes(spacing)} mm instead of {_sizes(reference_spacing)} mm")
    offset = float(np.linalg.norm(affine[:3, 3] - reference_affine[:3, 3]))
    if offset > ORIGIN_TOLERANCE_MM:
        differences.append(f"origin {offset:.4g} mm away")
    directions, reference_directions = affine[:3, :3] / spacing, reference_affine[:3, :3] / reference_spacing
    turn = float(np.linalg.norm(directions - reference_directions, axis=0).max())
    if turn > DIRECTION_TOLERANCE:
        differences.append(f"axes turned by {np.degrees(2 * np.arcsin(min(1.0, turn / 2))):.3g} degrees")
    return differences


def _sizes(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)
