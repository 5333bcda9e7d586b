"""One phantom case, and the ways a scanner may store it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

MAX_TILT_DEGREES = 15.0


@dataclass(frozen=True)
class PhantomCase:
    """An image with its labels on one grid.

    Array axes need not be RAS+: only the affine says where a voxel lies.
    """

    image: NDArray[np.float32]
    """(x, y, z) intensities, whole numbers."""
    labels: NDArray[np.uint8]
    """(x, y, z) label values, 0 is background."""
    affine: NDArray[np.float64]
    """4 x 4, from voxel index to RAS mm. May be flipped, permuted or oblique."""


def store(
    rng: np.random.Generator,
    *,
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    spacing_mm: NDArray[np.float64],
    oblique_share: float,
) -> PhantomCase:
    """Store RAS+ arrays in a random orientation: RAS, LPS or any permutation with any flips, some of them oblique.

    Args:
        rng: source of randomness.
        image: (x, y, z) in RAS+.
        labels: (x, y, z) in RAS+.
        spacing_mm: voxel size along x, y, z.
        oblique_share: share of cases whose axes are tilted against the patient's, by at most 15 degrees. The tilt is
            in the affine alone.
    """
    directions = np.eye(3)
    if rng.random() < oblique_share:
        axis = rng.standard_normal(3)
        angle = np.radians(rng.uniform(3.0, MAX_TILT_DEGREES))
        directions = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    columns = directions * spacing_mm
    centre_mm = rng.uniform(-80.0, 80.0, size=3)
    origin = centre_mm - columns @ ((np.array(image.shape) - 1) / 2)

    permutation, flipped = _orientation(rng)
    affine = np.eye(4)
    affine[:3, 3] = origin + sum(columns[:, axis] * (image.shape[axis] - 1) for axis in np.flatnonzero(flipped))
    columns = np.where(flipped, -columns, columns)
    affine[:3, :3] = columns[:, permutation]
    axes_flipped = tuple(int(axis) for axis in np.flatnonzero(flipped))
    return PhantomCase(
        image=np.ascontiguousarray(np.flip(image, axes_flipped).transpose(permutation)),
        labels=np.ascontiguousarray(np.flip(labels, axes_flipped).transpose(permutation)),
        affine=affine,
    )


def _orientation(rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Draw which RAS axis each stored axis is, and which RAS axes run backwards."""
    style = rng.random()
    if style < 0.35:
        return np.arange(3), np.zeros(3, dtype=bool)
    if style < 0.7:
        return np.arange(3), np.array([True, True, False])
    return rng.permutation(3), rng.random(3) < 0.5
