"""Volumes in and out of files, with their place in space. SimpleITK reads and writes; this module fixes the frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.errors import UnreadableFileError

if TYPE_CHECKING:
    import SimpleITK

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr")
"""File endings that are read and written, longest first where one ends another."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Header:
    """What a file says of its volume without its voxels.

    Attributes:
        shape: voxels along (x, y, z) of the file's own axes.
        affine: 4 x 4, voxel index (x, y, z) to millimetres in RAS+.
        dtype: name of the stored number type, such as "float32".
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    dtype: str

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


@dataclass(frozen=True)
class Volume:
    """A 3D array and where it lies.

    Attributes:
        data: (x, y, z) along the file's own axes, in no particular orientation.
        affine: 4 x 4, voxel index to millimetres in RAS+.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def file_ending(path: Path) -> str | None:
    """Returns which of `FILE_ENDINGS` a path has, or None."""
    return next((ending for ending in FILE_ENDINGS if path.name.lower().endswith(ending)), None)


def read_header(path: Path) -> Header:
    """Reads shape, affine and number type without decoding the voxels.

    Raises:
        UnreadableFileError: the file is missing, broken, or not three-dimensional.
    """
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    _require_3d(path, reader.GetSize(), reader.GetNumberOfComponents())
    size = reader.GetSize()
    return Header(
        shape=(size[0], size[1], size[2]),
        affine=_affine(reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection()),
        dtype=str(SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())),
    )


def read_volume(path: Path) -> Volume:
    """Reads a volume in the file's own axis order and number type.

    Raises:
        UnreadableFileError: the file is missing, broken, or not three-dimensional.

    Example:
        >>> read_volume(Path("case_0000.nii.gz")).spacing_mm  # doctest: +SKIP
        (1.0, 1.0, 1.0)
    """
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    _require_3d(path, image.GetSize(), image.GetNumberOfComponentsPerPixel())
    # SimpleITK's arrays are (z, y, x).
    data = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return Volume(data=data, affine=_affine(image.GetOrigin(), image.GetSpacing(), image.GetDirection()))


def write_volume(path: Path, volume: Volume) -> None:
    """Writes a volume atomically, compressed where the format can be, on exactly its own grid.

    Args:
        path: with one of `FILE_ENDINGS`.
        volume: data (x, y, z); the affine's columns must be orthogonal.
    """
    import SimpleITK

    with atomic_path(path) as temporary:
        SimpleITK.WriteImage(
            to_simpleitk(volume), str(temporary), useCompression=not path.name.endswith((".nii", ".mhd"))
        )


def to_simpleitk(volume: Volume) -> SimpleITK.Image:
    """Turns a volume into a SimpleITK image with the same grid (SimpleITK's frame is LPS)."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    affine = _LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(o) for o in affine[:3, 3]])
    image.SetDirection([float(d) for d in (affine[:3, :3] / spacing).flatten()])
    return image


def _affine(origin: Any, spacing: Any, direction: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.array(direction, dtype=np.float64).reshape(3, 3) * np.array(spacing, dtype=np.float64)
    affine[:3, 3] = origin
    return np.asarray(_LPS_TO_RAS @ affine, dtype=np.float64)


def _require_3d(path: Path, size: Any, components: int) -> None:
    if len(size) != 3 or components != 1:
        raise UnreadableFileError(
            f"{path} holds an image of {len(size)} dimensions with {components} value(s) a voxel; a single-channel 3D "
            f"volume is needed. Split channels or time points into files of their own (sammoe_convert_dataset does)."
        )


def _unreadable(path: Path, error: RuntimeError) -> UnreadableFileError:
    if not path.exists():
        return UnreadableFileError(f"{path} does not exist.")
    reason = str(error).strip().splitlines()[-1].strip()
    return UnreadableFileError(f"{path} cannot be read as an image ({reason}). Copy or download the file again.")
