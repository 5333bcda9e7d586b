"""A volume in DICOM: one file a slice. pydicom reads where slices lie, SimpleITK (GDCM) decodes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammoe_pipeline.errors import UnreadableFileError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from sammoe_pipeline.image_io import Header

_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_THICKNESS = ("SpacingBetweenSlices", "SliceThickness", "NumberOfFrames")
_OF_SERIES = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "Rows")
_SEGMENTS = "SEG"
_TABLE_OF_CONTENTS = "DICOMDIR"
_LPS_TO_RAS = (-1.0, -1.0, 1.0)
MALFORMED = (ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError)
"""What libraries raise where elements of a file are missing or make no sense."""
_UNEVEN = 0.05
"""Share of the distance of slices by which one may be off its place."""
_TURNED = 1e-3
"""How much directions of slices, and their spacing in mm, may differ within a volume."""
_REMEMBERED = 8


@dataclass(frozen=True)
class DicomSeries:
    """The slices of one volume.

    Attributes:
        folder: where they lie, for messages.
        files: in any order.
    """

    folder: Path
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.folder} (DICOM)"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def header(self) -> Header:
        """Returns the grid: x along rows of pixels, y along columns, z from slice to slice."""
        return _stack(self).header

    def slices(self) -> tuple[Path, ...]:
        """Returns the files in the order of z."""
        return _stack(self).files

    def voxels(self) -> NDArray[Any]:
        """Returns the voxels (x, y, z) in the units of the modality, such as Hounsfield's."""
        import numpy as np
        import SimpleITK

        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in self.slices()])
        try:
            voxels: NDArray[Any] = SimpleITK.GetArrayFromImage(reader.Execute()).T
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise UnreadableFileError(f"{self} cannot be decoded ({reason}). Download it again.") from error
        if voxels.shape != self.header().shape:
            raise UnreadableFileError(f"{self} holds {voxels.shape} voxels, unlike its headers. Download it again.")
        # Rescaled values, as of PET, come in more digits than any scanner has.
        return voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels


def read_dicom(path: Path, *tags: str) -> Dataset | None:
    """Reads some elements of a file, pixels excepted; None for a file that is no DICOM.

    Args:
        path: the file.
        tags: keywords of the elements; all where none is named.

    Raises:
        UnreadableFileError: it is DICOM, and broken.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        # What odd devices write is judged where it is used.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*tags] or None)
    except InvalidDicomError:
        return None
    except MALFORMED as error:
        raise UnreadableFileError(f"{path} cannot be read as DICOM ({error}). Download it again.") from error


def holds_dicom(folder: Path) -> bool:
    """Tells whether a file of a folder is DICOM, by how it begins; folders within are not looked into."""
    from pydicom.misc import is_dicom

    return any(is_dicom(path) for path in _files(folder))


def only_series(folder: Path) -> DicomSeries:
    """Finds the series of images in a folder. Files without pixels, and SEG, are passed over.

    Raises:
        UsageError: there is none, or there are several, which are listed.
        UnreadableFileError: a file is DICOM, and broken.
    """
    found: dict[str, list[Path]] = {}
    words: dict[str, str] = {}
    for path in _files(folder):
        data = read_dicom(path, *_OF_SERIES)
        if data is None or "Rows" not in data or data.get("Modality") == _SEGMENTS:
            continue
        uid = str(data.get("SeriesInstanceUID", ""))
        found.setdefault(uid, []).append(path)
        words[uid] = (
            f"{data.get('Modality', '')} series {data.get('SeriesNumber', '')} {data.get('SeriesDescription', '')}"
        )
    if not found:
        raise UsageError(f"{folder} holds no DICOM image, only other DICOM files. Remove it, or add the slices.")
    if len(found) > 1:
        listed = "\n".join(
            f"  - {words[uid].strip()}: {len(files)} files, such as {files[0].name} (UID {uid})"
            for uid, files in sorted(found.items(), key=lambda one: words[one[0]])
        )
        raise UsageError(
            f"{folder} holds {len(found)} DICOM series, and a case is one:\n{listed}\nMove each into a folder "
            f"of its own."
        )
    (files,) = found.values()
    return DicomSeries(folder=folder, files=tuple(files))


def _files(folder: Path) -> list[Path]:
    """Returns the files that may be slices: no hidden ones, and none that say they are another format."""
    from sammoe_pipeline.image_io import file_ending

    paths = [path for path in sorted(folder.iterdir()) if path.name[0] != "." and path.name != _TABLE_OF_CONTENTS]
    return [path for path in paths if file_ending(path) is None and path.is_file()]


@dataclass(frozen=True)
class _Stack:
    """Slices in order, and their grid."""

    files: tuple[Path, ...]
    header: Header


@lru_cache(maxsize=_REMEMBERED)
def _stack(series: DicomSeries) -> _Stack:
    """Sorts slices by where they lie along their common normal."""
    import numpy as np

    from sammoe_pipeline.image_io import Header
    from sammoe_pipeline.sheared import MOST_MOVED_VOXELS, require_place, square

    slices = [_slice(path) for path in series.files]
    first = slices[0]
    for other in slices:
        if other.shape != first.shape or not np.allclose(other.plane, first.plane, atol=_TURNED):
            raise UnreadableFileError(
                f"{series}: {other.file.name} and {first.file.name} differ in size, spacing or direction. The folder "
                f"holds more than one volume; keep one."
            )
    normal = np.cross(first.plane[:, 0], first.plane[:, 1])
    normal /= np.linalg.norm(normal)
    slices.sort(key=lambda one: float(one.position @ normal))
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 3] = first.plane, slices[0].position
    step = normal * first.thickness
    if len(slices) > 1:
        _require_even(series, slices)
        step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    affine[:3, 2] = step
    affine[:3] *= np.array(_LPS_TO_RAS)[:, None]
    require_place(series.folder, affine)
    shape = (*first.shape, len(slices))
    grid = square(affine, shape)
    if grid.moved_voxels > MOST_MOVED_VOXELS:
        raise UnreadableFileError(
            f"{series}: the slices are shifted against each other ({grid.degrees_off:.3g} degrees), as by a tilted "
            f"gantry. Resample it onto an orthogonal grid first."
        )
    moved = grid.moved_voxels if grid.moved_voxels > _TURNED else 0.0
    header = Header(shape=shape, affine=grid.affine, dtype="int16", moved_voxels=moved)
    return _Stack(files=tuple(one.file for one in slices), header=header)


@dataclass(frozen=True)
class _Slice:
    """One file.

    Attributes:
        file: its path.
        shape: pixels along x and y.
        plane: (3, 2), from pixel to pixel along x and y, in mm, LPS.
        position: of the first pixel, in mm, LPS.
        thickness: of the slice, in mm.
    """

    file: Path
    shape: tuple[int, int]
    plane: NDArray[np.float64]
    position: NDArray[np.float64]
    thickness: float


def _slice(path: Path) -> _Slice:
    import numpy as np

    data = read_dicom(path, *_GEOMETRY, *_THICKNESS)
    missing = _GEOMETRY if data is None else [tag for tag in _GEOMETRY if data.get(tag) in (None, "")]
    if data is None or missing:
        raise UnreadableFileError(f"{path} does not say where it lies: {', '.join(missing)} missing. Remove it.")
    try:
        frames = int(data.get("NumberOfFrames") or 1)
        directions = np.array(data.ImageOrientationPatient, dtype=np.float64).reshape(2, 3).T
        # PixelSpacing has the distance of rows first, which is along y.
        spacing = np.array(data.PixelSpacing, dtype=np.float64)[::-1]
        position = np.array(data.ImagePositionPatient, dtype=np.float64).reshape(3)
        thickness = abs(float(data.get("SpacingBetweenSlices") or data.get("SliceThickness") or 1))
        shape = (int(data.Columns), int(data.Rows))
    except MALFORMED as error:
        raise UnreadableFileError(f"{path} does not say where it lies ({error}). Mend or remove it.") from error
    if frames > 1:
        raise UnreadableFileError(f"{path} holds many slices in one file. Convert it to NIfTI first.")
    return _Slice(file=path, shape=shape, plane=directions * spacing, position=position, thickness=thickness)


def _require_even(series: DicomSeries, slices: list[_Slice]) -> None:
    import numpy as np

    apart = np.array([np.linalg.norm(after.position - before.position) for before, after in pairwise(slices)])
    usual = float(np.median(apart))
    worst = int(np.abs(apart - usual).argmax())
    names = f"{slices[worst].file.name} and {slices[worst + 1].file.name}"
    if apart.min() < _TURNED:
        raise UnreadableFileError(
            f"{series}: slices lie at the same place. The folder holds more than one volume, such as points in time; "
            f"keep one."
        )
    if abs(apart[worst] - usual) > _UNEVEN * usual:
        raise UnreadableFileError(
            f"{series}: slices are {apart[worst]:.3g} mm apart between {names}, and {usual:.3g} mm elsewhere. Is one "
            f"missing? Download it again."
        )
