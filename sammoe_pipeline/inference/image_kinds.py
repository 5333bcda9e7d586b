"""Images of other libraries, and arrays, as volumes; and masks as images of the same kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import Volume, from_simpleitk, to_simpleitk
from sammoe_pipeline.sheared import MOST_DEGREES_OFF, MOST_MOVED_VOXELS, square

if TYPE_CHECKING:
    import SimpleITK
    from nibabel.spatialimages import SpatialImage

Image: TypeAlias = "NDArray[Any] | SimpleITK.Image | SpatialImage"
"""An array (x, y, z), or an image of SimpleITK or nibabel."""


def to_volume(
    image: Image, *, affine: NDArray[np.float64] | None = None, spacing_mm: tuple[float, float, float] | None = None
) -> Volume:
    """Turns an image into a volume; NaN and infinite values become 0.

    Args:
        image: three-dimensional, with one value a voxel.
        affine: of an array, 4 x 4, voxel index to millimetres in RAS+.
        spacing_mm: of an array, in place of its affine: its axes are then taken to run along RAS+.

    Raises:
        UsageError: it is of another kind, is not three-dimensional, or does not say where it lies.
    """
    import SimpleITK
    from nibabel.spatialimages import SpatialImage

    if isinstance(image, np.ndarray):
        _require_volume(image.shape)
        return _volume(image, _affine_of_array(affine, spacing_mm))
    if affine is not None or spacing_mm is not None:
        raise UsageError("affine and spacing_mm are for arrays; images of SimpleITK and nibabel have their own.")
    if isinstance(image, SimpleITK.Image):
        values = image.GetNumberOfComponentsPerPixel()
        _require_volume(image.GetSize() if values == 1 else (*image.GetSize(), values))
        volume = from_simpleitk(image)
        return _volume(volume.data, volume.affine)
    if isinstance(image, SpatialImage):
        _require_volume(image.shape)
        return _volume(np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64))
    raise UsageError(f"An image is an array, or one of SimpleITK or nibabel, not of the type {type(image).__name__}.")


def like(image: Image, mask: NDArray[np.bool_], volume: Volume) -> Any:
    """Returns a mask as an image of the kind, and on the grid, of another one.

    Args:
        image: for an array, the mask stays one of bool; else its values are 0 and 1.
        mask: (x, y, z).
        volume: what `to_volume` made of `image`.
    """
    import SimpleITK

    if isinstance(image, np.ndarray):
        return np.ascontiguousarray(mask)
    values = mask.astype(np.uint8)
    if isinstance(image, SimpleITK.Image):
        made = to_simpleitk(Volume(data=values, affine=volume.affine))
        made.CopyInformation(image)
        return made
    import nibabel

    return nibabel.Nifti1Image(values, image.affine)


def _require_volume(shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise UsageError(
            f"An image has three axes and one value a voxel, not the shape {tuple(shape)}. Give the channels of one "
            f"image as a list."
        )


def _volume(data: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    grid = square(affine, data.shape)
    if grid.moved_voxels > MOST_MOVED_VOXELS or grid.degrees_off > MOST_DEGREES_OFF:
        raise UsageError(
            f"The axes of the image are {grid.degrees_off:.3g} degrees off right angles. Resample it onto an "
            f"orthogonal grid."
        )
    return Volume(data=np.nan_to_num(data, nan=0.0, posinf=0.0, neginf=0.0), affine=grid.affine)


def _affine_of_array(
    affine: NDArray[np.float64] | None, spacing_mm: tuple[float, float, float] | None
) -> NDArray[np.float64]:
    if (affine is None) == (spacing_mm is None):
        raise UsageError("An array does not say where it lies: give either its affine (4 x 4) or its spacing_mm.")
    placed = np.diag([*spacing_mm, 1.0]) if spacing_mm is not None else np.asarray(affine, dtype=np.float64)
    if placed.shape != (4, 4) or not np.isfinite(placed).all() or not np.linalg.det(placed[:3, :3]):
        raise UsageError(f"This affine or spacing_mm does not place an image in space:\n{placed}")
    return placed
