"""Volumes in and out of files, with their place in space. SimpleITK reads and writes; this module fixes the frame."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.gzipped_nifti import Scratch, read_plain_voxels
from sammoe_pipeline.intact import require_length, require_sound_gzip
from sammoe_pipeline.sheared import read_sheared, require_place

if TYPE_CHECKING:
    import SimpleITK

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr")
"""File endings that are read and written, longest first where one ends another."""

_NIFTI_HEADER_BYTES = 352
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NUMBER_KINDS = {"signed integer": "int", "unsigned integer": "uint", "float": "float"}


@dataclass(frozen=True)
class Header:
    """What a file says of its volume without its voxels.

    Attributes:
        shape: voxels along (x, y, z) of the file's own axes.
        affine: 4 x 4, voxel index (x, y, z) to millimetres in RAS+.
        dtype: name of the stored number type, such as "float32".
        moved_voxels: how far squaring axes that are not at right angles moved the farthest corner; 0 for other files.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    dtype: str
    moved_voxels: float = 0.0

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


def read_header(path: Path, *, channels: int = 1) -> Header:
    """Reads shape, affine and number type without decoding the voxels. A truncated NIfTI is noticed by its length.

    Args:
        path: the file.
        channels: volumes that the file must hold along a fourth axis; 1 asks for a plain 3D file.

    Raises:
        UnreadableFileError: the file is missing, broken, or of another number of dimensions.
    """
    import SimpleITK

    reader = _open(path)
    if reader is None:
        size, dtype, grid, _ = read_sheared(path, voxels=False)
        _require_channels(path, size, 1, channels)
        return Header(
            shape=(size[0], size[1], size[2]), affine=grid.affine, dtype=dtype, moved_voxels=grid.moved_voxels
        )
    size = reader.GetSize()
    _require_channels(path, size, reader.GetNumberOfComponents(), channels)
    return Header(
        shape=(size[0], size[1], size[2]),
        affine=_affine(path, reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection()),
        dtype=_number_type(SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())),
    )


def read_volume(path: Path) -> Volume:
    """Reads a volume in the file's own axis order and number type. In NIfTI, NaN and infinite values are read as 0.

    Raises:
        UnreadableFileError: the file is missing, broken, or not three-dimensional.

    Example:
        >>> read_volume(Path("case_0000.nii.gz")).spacing_mm  # doctest: +SKIP
        (1.0, 1.0, 1.0)
    """
    data, affine = _read(path, channels=1)
    return Volume(data=data, affine=affine)


def read_voxels(path: Path, scratch: Scratch) -> NDArray[Any]:
    """Reads the voxels of a volume alone, whose header has been read before: what lies in `scratch` is overwritten.

    Args:
        path: the file.
        scratch: memory for files that can be read straight into it; the result is valid until its next use.

    Returns:
        Voxels (x, y, z), as `read_volume` gives them.

    Raises:
        UnreadableFileError: the file is missing, broken, or not three-dimensional.
    """
    if path.name.lower().endswith(".nii.gz") and path.is_file():
        voxels = read_plain_voxels(path, scratch)
        if voxels is not None and voxels.ndim == 3:
            return voxels
    return read_volume(path).data


def read_channels(path: Path, channels: int) -> list[Volume]:
    """Reads the volumes that a 4D file holds along its fourth axis, in order.

    Args:
        path: the file.
        channels: how many there must be, at least 2.

    Raises:
        UnreadableFileError: the file is missing, broken, or does not hold that many volumes.
    """
    data, affine = _read(path, channels=channels)
    return [Volume(data=data[..., channel], affine=affine) for channel in range(channels)]


def write_volume(path: Path, volume: Volume) -> None:
    """Writes a volume atomically, compressed where the format can be, on exactly its own grid.

    Args:
        path: with one of `FILE_ENDINGS`.
        volume: data (x, y, z); the affine's columns must be orthogonal.

    Raises:
        OSError: the disk is full, or refuses the file.
    """
    import SimpleITK

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        compressed = not path.name.endswith((".nii", ".mhd"))
        try:
            SimpleITK.WriteImage(to_simpleitk(volume), str(temporary), useCompression=compressed)
            if path.name.endswith((".nii", ".nii.gz")):
                # Where the disk is full, the writer of NIfTI prints a line and goes on.
                require_length(temporary, _NIFTI_HEADER_BYTES + volume.data.nbytes)
        except (RuntimeError, UnreadableFileError) as error:
            reason = str(error).splitlines()[-1]
            raise OSError(f"{path} could not be written whole. Is the disk full? ({reason})") from error
        # .mhd and .nhdr keep the voxels in a second file, which must be in place before the header that names it.
        for part in sorted(Path(folder).iterdir(), key=lambda part: part == temporary):
            part.replace(path.parent / part.name)


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


def from_simpleitk(image: SimpleITK.Image) -> Volume:
    """Turns a three-dimensional SimpleITK image with one value a voxel into a volume with the same grid."""
    import SimpleITK

    affine = _placed(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    return Volume(data=SimpleITK.GetArrayFromImage(image).T, affine=_LPS_TO_RAS @ affine)


def _open(path: Path) -> SimpleITK.ImageFileReader | None:
    """Reads a file's header; None where SimpleITK refuses its axes."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            return None
        raise _unreadable(path, error) from error
    if reader.HasMetaDataKey("vox_offset"):
        bits = math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix"))
        require_length(path, _voxel_offset(reader) + bits // 8)
    return reader


def _read(path: Path, channels: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    import SimpleITK

    reader = _open(path)
    is_gzipped = path.name.lower().endswith(".nii.gz")
    if reader is None:
        if is_gzipped:
            require_sound_gzip(path)
        size, _, grid, voxels = read_sheared(path, voxels=True)
        _require_channels(path, size, 1, channels)
        return np.asarray(voxels), grid.affine
    _require_channels(path, reader.GetSize(), reader.GetNumberOfComponents(), channels)
    affine = _affine(path, reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection())
    if is_gzipped:
        voxels = read_plain_voxels(path)
        if voxels is not None:
            return voxels.reshape(reader.GetSize(), order="F"), affine
        require_sound_gzip(path)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    # SimpleITK's arrays are (z, y, x) or (channel, z, y, x).
    return SimpleITK.GetArrayFromImage(image).T, affine


def _voxel_offset(reader: SimpleITK.ImageFileReader) -> int:
    """Returns where the voxels of a NIfTI file begin, in bytes."""
    return int(float(reader.GetMetaData("vox_offset"))) if reader.HasMetaDataKey("vox_offset") else 0


def _affine(path: Path, origin: Any, spacing: Any, direction: Any) -> NDArray[np.float64]:
    affine = _placed(origin, spacing, direction)
    require_place(path, affine)
    return np.asarray(_LPS_TO_RAS @ affine, dtype=np.float64)


def _placed(origin: Any, spacing: Any, direction: Any) -> NDArray[np.float64]:
    """Returns the affine (4 x 4) in SimpleITK's frame, LPS."""
    dimensions = len(origin)
    affine = np.eye(4)
    axes = np.array(direction, dtype=np.float64).reshape(dimensions, dimensions) * np.array(spacing, dtype=np.float64)
    # A fourth axis counts channels and has no place in space.
    affine[:3, :3] = axes[:3, :3]
    affine[:3, 3] = origin[:3]
    return affine


def _number_type(words: str) -> str:
    """Turns SimpleITK's "16-bit signed integer" into "int16"."""
    bits, _, kind = words.partition("-bit ")
    return _NUMBER_KINDS[kind] + bits


def _require_channels(path: Path, size: tuple[int, ...], components: int, channels: int) -> None:
    if components == 1 and (len(size) == 3 if channels == 1 else len(size) == 4 and size[3] == channels):
        return
    held = f"{path} holds {' x '.join(map(str, size))} voxels with {components} value(s) each"
    if channels == 1:
        raise UnreadableFileError(
            f"{held}; a single-channel 3D volume is needed. Split channels or time points into files of their own "
            f"(sammoe_convert_dataset does)."
        )
    raise UnreadableFileError(f"{held}; {channels} volumes along a fourth axis are needed, one a channel.")


def _unreadable(path: Path, error: RuntimeError) -> UnreadableFileError:
    if not path.exists():
        return UnreadableFileError(f"{path} does not exist.")
    reason = str(error).strip().splitlines()[-1].strip()
    return UnreadableFileError(f"{path} cannot be read as an image ({reason}). Copy or download the file again.")
