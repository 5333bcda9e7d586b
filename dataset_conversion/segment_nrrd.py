"""Masks as 3D Slicer writes them (`.seg.nrrd`): often cropped to what they show, sometimes in layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammoe_pipeline.errors import UnreadableFileError

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK
    from numpy.typing import NDArray

    from sammoe_pipeline.image_io import Header

_OFF_GRID_VOXELS = 0.1
"""How far the first voxel of a crop may lie from a voxel of the image, and any other from where that leads."""


@dataclass(frozen=True)
class SegmentNrrd:
    """The mask of one class, put back to its place in the image that it was cropped from.

    Attributes:
        path: of the mask.
        image: that it belongs to.
    """

    path: Path
    image: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def files(self) -> tuple[Path, ...]:
        """The file alone."""
        return (self.path,)

    def header(self) -> Header:
        """Returns the grid of the image, where the crop lies on it, and else its own, which will be found wrong."""
        own = self._own_header()
        return own if self._corner(own) is None else replace(self._image_header(), dtype=own.dtype, moved_voxels=0.0)

    def voxels(self) -> NDArray[np.uint8]:
        """Returns the mask (x, y, z) on the grid of the image: 1 where any layer has a value."""
        import numpy as np
        import SimpleITK

        try:
            image = SimpleITK.ReadImage(str(self.path))
        except RuntimeError as error:
            raise _unreadable(self.path, error) from error
        # SimpleITK's arrays are (z, y, x) or (z, y, x, layer).
        data: NDArray[Any] = SimpleITK.GetArrayFromImage(image)
        mask = (data.any(axis=-1) if data.ndim == 4 else data).T
        own = self._own_header()
        corner = self._corner(own)
        if corner is None:
            return np.asfortranarray(mask)
        placed = np.zeros(self._image_header().shape, mask.dtype, order="F")
        if mask.size > 1:
            x, y, z = (slice(start, start + size) for start, size in zip(corner, mask.shape, strict=True))
            placed[x, y, z] = mask
        return placed

    def _own_header(self) -> Header:
        import numpy as np
        import SimpleITK

        from sammoe_pipeline.image_io import Header

        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(self.path))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _unreadable(self.path, error) from error
        return Header(shape=reader.GetSize(), affine=_affine(reader), dtype=np.dtype(np.uint8).name)

    def _image_header(self) -> Header:
        from sammoe_pipeline.image_io import read_header

        return read_header(self.image)

    def _corner(self, own: Header) -> tuple[int, int, int] | None:
        """Returns which voxel of the image the first one is; None where the crop does not lie on the image's grid."""
        import numpy as np

        image = self._image_header()
        # What Slicer writes of an empty segment is one voxel, which lies anywhere.
        if own.shape == (1, 1, 1):
            return 0, 0, 0
        into = np.linalg.inv(image.affine) @ own.affine
        first = np.rint(into[:3, 3]).astype(int)
        last = np.array(own.shape) - 1
        off = max(np.abs(into[:3, 3] - first).max(), np.abs((into[:3, :3] - np.eye(3)) * last).max())
        if off > _OFF_GRID_VOXELS or (first < 0).any() or (first + last >= np.array(image.shape)).any():
            return None
        x, y, z = (int(index) for index in first)
        return x, y, z


def _affine(image: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    """Returns where voxels lie (4 x 4, RAS+) of what SimpleITK places in LPS."""
    import numpy as np

    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _unreadable(path: Path, error: RuntimeError) -> UnreadableFileError:
    reason = str(error).strip().splitlines()[-1].strip()
    return UnreadableFileError(f"{path} cannot be read as an image ({reason}). Download it again.")
