"""NIfTI files whose axes are not quite at right angles, which SimpleITK refuses: their axes are squared on reading.

Rounding in a header is enough for that (about 118 scans of TotalSegmentator's CT dataset). The axes become the nearest
ones at right angles, of the same lengths, about the centre of the volume. A file whose voxels would move farther than
rounding explains is not read: it was tilted on purpose, as by a CT gantry, and needs resampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError

MOST_MOVED_VOXELS = 1.0
"""How far squaring may move the farthest corner of a volume."""
MOST_DEGREES_OFF = 1.0
"""How far two axes may be from a right angle."""


@dataclass(frozen=True)
class SquaredGrid:
    """A grid at right angles, made of one that was not quite.

    Attributes:
        affine: 4 x 4, voxel index to millimetres in RAS+.
        moved_voxels: how far the farthest corner moved, in the smallest voxel side.
        degrees_off: how far the original axes were from right angles, at most.
    """

    affine: NDArray[np.float64]
    moved_voxels: float
    degrees_off: float


def square(affine: NDArray[np.float64], shape: tuple[int, ...]) -> SquaredGrid:
    """Turns the axes of a grid to the nearest ones at right angles (orthogonal Procrustes, by SVD).

    Args:
        affine: 4 x 4, voxel index to millimetres.
        shape: voxels along each axis.

    Example:
        >>> import numpy as np
        >>> sheared = np.eye(4)
        >>> sheared[0, 1] = 0.001
        >>> round(square(sheared, (11, 11, 11)).moved_voxels, 4)
        0.0035
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    left, _, right = np.linalg.svd(directions)
    squared = np.eye(4)
    squared[:3, :3] = (left @ right) * spacing
    corners = np.array([[*corner, 1.0] for corner in product(*((0, size - 1) for size in shape[:3]))]).T
    centre = corners.mean(axis=1)
    squared[:3, 3] = (affine @ centre)[:3] - squared[:3, :3] @ centre[:3]
    moved = np.linalg.norm(((squared - affine) @ corners)[:3], axis=0).max() / spacing.min()
    off = np.degrees(np.arcsin(np.clip(np.abs(directions.T @ directions - np.eye(3)).max(), 0, 1)))
    return SquaredGrid(affine=squared, moved_voxels=float(moved), degrees_off=float(off))


def require_place(path: Path, affine: NDArray[np.float64]) -> None:
    """Checks that an affine (4 x 4) places a volume somewhere.

    Raises:
        UnreadableFileError: it has numbers that are none, or an axis without length.
    """
    if not np.isfinite(affine).all() or not np.linalg.norm(affine[:3, :3], axis=0).all():
        raise UnreadableFileError(
            f"{path} does not say where it lies: its header has NaN, infinite or zero origin, spacing or directions. "
            f"Mend the header, or download the file again."
        )


def read_sheared(path: Path, *, voxels: bool) -> tuple[tuple[int, ...], str, SquaredGrid, NDArray[Any] | None]:
    """Reads a NIfTI file with squared axes.

    Args:
        path: the file.
        voxels: read them too, NaN and infinite ones as 0.

    Returns:
        Shape, number type, grid and, where asked for, the voxels (x, y, z) or (x, y, z, channel).

    Raises:
        UnreadableFileError: the file is broken, or its axes are farther from right angles than rounding explains.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        affine = np.asarray(image.affine, dtype=np.float64)
        require_place(path, affine)
        grid = square(affine, image.shape)
        data = np.asanyarray(image.dataobj) if voxels else None
    except (OSError, EOFError, ValueError, np.linalg.LinAlgError, ImageFileError) as error:
        raise UnreadableFileError(
            f"{path} cannot be read as an image ({error}). Copy or download the file again."
        ) from error
    if not (grid.moved_voxels <= MOST_MOVED_VOXELS and grid.degrees_off <= MOST_DEGREES_OFF):
        raise UnreadableFileError(
            f"{path} has axes that are not at right angles to each other: they are {grid.degrees_off:.3g} degrees off, "
            f"and squaring them would move a corner by {grid.moved_voxels:.3g} voxels. Resample it onto an orthogonal "
            f"grid, or mend the affine in its header."
        )
    if data is not None and data.dtype.kind == "f":
        data = np.nan_to_num(data.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return tuple(image.shape), str(image.get_data_dtype()), grid, data
