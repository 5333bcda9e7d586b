from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from sammoe_pipeline.dicom_series import DicomSeries, holds_dicom, only_series, read_dicom
from sammoe_pipeline.errors import UnreadableFileError, UsageError
from tests.dataset_conversion.dicom_files import series
from tests.dataset_conversion.volumes import AFFINE, SHAPE, SLICES_FIRST

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] * [0.8, 0.9, 3.0]
if np.linalg.det(OBLIQUE) < 0:
    OBLIQUE[:3, 2] *= -1


def found(folder: Path) -> DicomSeries:
    return DicomSeries(folder=folder, files=tuple(sorted(folder.glob("*.dcm"))))


def change(path: Path, **elements: Any) -> None:
    """Rewrites elements of a file; None removes one."""
    item = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(item, keyword)
        else:
            setattr(item, keyword, value)
    item.save_as(path)


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE, SLICES_FIRST], ids=["straight", "oblique", "sagittal"])
def test_voxels_and_grid_are_those_that_were_written(tmp_path: Path, affine: Any) -> None:
    data = np.random.default_rng(0).integers(-1000, 1000, SHAPE)
    series(tmp_path, data=data, affine=affine)
    # Slices lie in the order of their normal, which may be against the array's own.
    header, voxels = found(tmp_path).header(), found(tmp_path).voxels()
    if np.allclose(header.affine, affine, atol=1e-4):
        np.testing.assert_array_equal(voxels, data)
    else:
        np.testing.assert_allclose((header.affine @ [0, 0, SHAPE[2] - 1, 1])[:3], affine[:3, 3], atol=1e-4)
        np.testing.assert_array_equal(voxels, data[:, :, ::-1])
    assert header.shape == SHAPE


def test_slices_are_sorted_by_place_and_not_by_name(tmp_path: Path) -> None:
    series(tmp_path, name=lambda number: f"{5 * number % 8}.dcm")
    assert [path.name for path in found(tmp_path).slices()] == [f"{5 * number % 8}.dcm" for number in range(8)]


@pytest.mark.parametrize("number", [1, 4])
def test_a_missing_slice_is_noticed(tmp_path: Path, number: int) -> None:
    series(tmp_path)
    (tmp_path / f"slice_00{number}.dcm").unlink()
    with pytest.raises(UnreadableFileError, match=r"slices are 5 mm apart between .* Is one missing"):
        found(tmp_path).header()


def test_two_volumes_in_a_folder_are_noticed(tmp_path: Path) -> None:
    series(tmp_path)
    series(tmp_path, name="other_{}.dcm".format)
    with pytest.raises(UnreadableFileError, match="lie at the same place"):
        found(tmp_path).header()


@pytest.mark.parametrize(
    "elements", [{"Rows": 5}, {"PixelSpacing": [1.5, 1]}, {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}]
)
def test_slices_of_different_grids_are_noticed(tmp_path: Path, elements: dict[str, Any]) -> None:
    change(series(tmp_path)[2], **elements)
    with pytest.raises(UnreadableFileError, match="differ in size, spacing or direction"):
        found(tmp_path).header()


def test_a_tilted_gantry_is_noticed(tmp_path: Path) -> None:
    for index, path in enumerate(series(tmp_path)):
        position = list(pydicom.dcmread(path).ImagePositionPatient)
        change(path, ImagePositionPatient=[position[0], position[1] + index, position[2]])
    with pytest.raises(UnreadableFileError, match="tilted gantry"):
        found(tmp_path).header()


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"ImagePositionPatient": None}, "does not say where it lies: ImagePositionPatient missing"),
        ({"NumberOfFrames": 12}, "holds many slices in one file"),
    ],
)
def test_slices_without_a_place_are_named(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    change(series(tmp_path)[2], **elements)
    with pytest.raises(UnreadableFileError, match=message):
        found(tmp_path).header()


def test_a_single_slice_takes_its_thickness(tmp_path: Path) -> None:
    files = series(tmp_path)
    header = DicomSeries(folder=tmp_path, files=(files[0],)).header()
    assert header.shape == (*SHAPE[:2], 1)
    np.testing.assert_allclose(header.spacing_mm, (0.8, 0.8, 2.5))


def test_slices_without_pixels_are_named(tmp_path: Path) -> None:
    path = series(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableFileError, match=str(tmp_path)):
        found(tmp_path).voxels()


def test_what_is_no_dicom_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("CC BY")
    assert read_dicom(tmp_path / "LICENSE") is None


def test_the_series_of_a_folder_is_found_among_labels_and_other_files(tmp_path: Path) -> None:
    slices = series(tmp_path)
    (labels,) = series(tmp_path, uid="1.2.3.9", data=np.zeros((4, 4, 1)), name=lambda number: "labels.dcm")
    change(labels, Modality="SEG")
    (report,) = series(tmp_path, uid="1.2.3.8", data=np.zeros((4, 4, 1)), name=lambda number: "report.dcm")
    change(report, Rows=None)
    (tmp_path / "readme.txt").write_text("no image")
    assert only_series(tmp_path).files == tuple(sorted(slices))


def test_folder_of_labels_alone_holds_no_series(tmp_path: Path) -> None:
    (labels,) = series(tmp_path, data=np.zeros((4, 4, 1)))
    change(labels, Modality="SEG")
    with pytest.raises(UsageError, match="holds no DICOM image"):
        only_series(tmp_path)


def test_folder_holds_dicom_by_what_its_files_are_and_not_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "slice.dcm").write_text("no DICOM")
    assert not holds_dicom(tmp_path)
    series(tmp_path, name="IM{:05d}".format)
    assert holds_dicom(tmp_path)
