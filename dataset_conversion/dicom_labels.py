"""What DICOM has of labels: contours in RTSTRUCT, segments in SEG; both put onto the grid of a series."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammoe_pipeline.dicom_series import MALFORMED, DicomSeries, read_dicom
from sammoe_pipeline.errors import UnreadableFileError

if TYPE_CHECKING:
    import numpy as np
    from highdicom.seg import Segmentation
    from numpy.typing import NDArray
    from pydicom import Dataset

    from sammoe_pipeline.image_io import Header

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OFF_PLANE = 0.5
"""How far, in slices, points of a contour may lie from the slice that it belongs to."""
_SEGMENT_AT_LEAST = 0.5
"""Of a fractional segment: the share of a voxel that makes it part of the mask."""


@dataclass(frozen=True)
class Contours:
    """A region of interest of an RTSTRUCT, filled: pixels whose centre is inside an odd number of its contours.

    Attributes:
        path: of the RTSTRUCT.
        number: of the region.
        region: its name.
        series: whose grid the mask has.
    """

    path: Path
    number: int
    region: str
    series: DicomSeries

    def __str__(self) -> str:
        return f"{self.path} ({self.region})"

    @property
    def name(self) -> str:
        """The region's name, with the file's."""
        return f"{self.path.name} {self.number} {self.region}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The RTSTRUCT."""
        return (self.path,)

    def header(self) -> Header:
        """Returns the grid of the series."""
        return _mask_header(self.series)

    def voxels(self) -> NDArray[np.uint8]:
        """Returns the mask (x, y, z). Holes are contours within contours."""
        import numpy as np
        from skimage.draw import polygon

        header = self.series.header()
        to_voxels = np.linalg.inv(header.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])
        mask = np.zeros(header.shape, np.uint8, order="F")
        for points in _contours(self.path, self.number):
            x, y, z = (to_voxels @ np.column_stack([points, np.ones(len(points))]).T)[:3]
            index = round(float(z.mean()))
            if np.abs(z - index).max() > _OFF_PLANE:
                raise UnreadableFileError(
                    f"{self}: a contour does not lie in a slice of {self.series}, but crosses several. Was it drawn on "
                    f"another series?"
                )
            if not 0 <= index < header.shape[2]:
                raise UnreadableFileError(f"{self}: a contour lies outside of {self.series}. Is the series complete?")
            inside = polygon(x, y, header.shape[:2])
            mask[:, :, index][inside] ^= 1
        return mask


@dataclass(frozen=True)
class Segment:
    """A segment of a DICOM-SEG, put onto the grid of a series.

    Attributes:
        path: of the SEG.
        number: of the segment.
        label: its name.
        series: whose grid the mask has.
    """

    path: Path
    number: int
    label: str
    series: DicomSeries

    def __str__(self) -> str:
        return f"{self.path} ({self.label})"

    @property
    def name(self) -> str:
        """The segment's name, with the file's."""
        return f"{self.path.name} {self.number} {self.label}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The SEG."""
        return (self.path,)

    def header(self) -> Header:
        """Returns the grid of the series."""
        return _mask_header(self.series)

    def voxels(self) -> NDArray[np.uint8]:
        """Returns the mask (x, y, z). Frames are placed by their positions; absent ones are empty."""
        import numpy as np
        from highdicom import VolumeGeometry

        header = self.series.header()
        # highdicom counts (slice, row, column) and places in LPS.
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine[:, [2, 1, 0, 3]]
        grid = VolumeGeometry(affine, header.shape[::-1], coordinate_system="PATIENT")
        try:
            volume = _seg(self.path).get_volume(segment_numbers=[self.number]).squeeze_channel()
            placed: NDArray[Any] = volume.match_geometry(grid, tol=1e-2).array
        except MALFORMED as error:
            raise UnreadableFileError(
                f"{self} cannot be put onto the grid of {self.series} ({error}). Was it made on another series, or "
                f"resampled? Convert it to NIfTI on the grid of its image first."
            ) from error
        return np.asfortranarray((placed.T >= _SEGMENT_AT_LEAST).astype(np.uint8))


def regions_of(path: Path) -> dict[int, str]:
    """Returns the names of an RTSTRUCT's regions by number; regions without a closed contour are left out.

    Raises:
        UnreadableFileError: the file is broken.
    """
    data = _rtstruct(path)
    try:
        names = {int(item.ROINumber): str(item.ROIName).strip() for item in data.get("StructureSetROISequence") or ()}
    except MALFORMED as error:
        raise _malformed(path, error) from error
    return {number: name for number, name in names.items() if _contours(path, number)}


def segments_of(path: Path) -> dict[int, str]:
    """Returns the labels of a SEG's segments by number.

    Raises:
        UnreadableFileError: the file is broken.
    """
    data = read_dicom(path, "SegmentSequence")
    items = () if data is None else data.get("SegmentSequence") or ()
    try:
        return {int(item.SegmentNumber): str(item.SegmentLabel).strip() for item in items}
    except MALFORMED as error:
        raise _malformed(path, error) from error


def _mask_header(series: DicomSeries) -> Header:
    from dataclasses import replace

    return replace(series.header(), dtype="uint8", moved_voxels=0.0)


@lru_cache(maxsize=1)
def _rtstruct(path: Path) -> Dataset:
    data = read_dicom(path)
    if data is None:
        raise UnreadableFileError(f"{path} is no DICOM. Download it again.")
    return data


@lru_cache(maxsize=1)
def _seg(path: Path) -> Segmentation:
    from highdicom.seg import segread

    return segread(path)


def _contours(path: Path, number: int) -> list[NDArray[np.float64]]:
    """Returns the points (n, 3) of each contour of a region that encloses something, in mm, LPS."""
    import numpy as np

    found: list[NDArray[np.float64]] = []
    try:
        # What odd devices write is judged here, and not by pydicom.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for region in _rtstruct(path).get("ROIContourSequence") or ():
                if int(region.ReferencedROINumber) != number:
                    continue
                contours = region.get("ContourSequence") or ()
                closed = [one for one in contours if one.get("ContourGeometricType") in _CLOSED and one.ContourData]
                found += [np.array(one.ContourData, dtype=np.float64).reshape(-1, 3) for one in closed]
    except MALFORMED as error:
        raise _malformed(path, error) from error
    if not all(np.isfinite(points).all() for points in found):
        raise _malformed(path, "a contour has points that are no numbers")
    return found


def _malformed(path: Path, error: object) -> UnreadableFileError:
    return UnreadableFileError(f"{path} cannot be read ({error}). Download it again, or remove it.")
