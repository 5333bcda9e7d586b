from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dataset_conversion.dicom_labels import Contours, Segment, regions_of, segments_of
from sammoe_pipeline.dicom_series import DicomSeries
from sammoe_pipeline.errors import UnreadableFileError
from tests.dataset_conversion.dicom_files import box, rtstruct, seg, series
from tests.dataset_conversion.volumes import AFFINE, SHAPE
from tests.sammoe_pipeline.test_dicom_series import OBLIQUE

Masks = dict[str, NDArray[np.float64]]


@pytest.fixture(params=[AFFINE, OBLIQUE], ids=["straight", "oblique"])
def affine(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    found: NDArray[np.float64] = request.param
    return found


@pytest.fixture
def slices(tmp_path: Path, affine: NDArray[np.float64]) -> DicomSeries:
    return DicomSeries(folder=tmp_path / "ct", files=tuple(series(tmp_path / "ct", affine=affine)))


def in_order(mask: NDArray[np.uint8], slices: DicomSeries, affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Turns a mask along z to how the test wrote it."""
    return mask if np.allclose(slices.header().affine, affine, atol=1e-4) else mask[:, :, ::-1]


def drawn(path: Path, slices: DicomSeries) -> dict[str, Contours]:
    return {name: Contours(path, number, name, slices) for number, name in regions_of(path).items()}


def test_pixels_inside_a_contour_are_filled(tmp_path: Path, slices: DicomSeries, affine: NDArray[np.float64]) -> None:
    path = rtstruct(tmp_path / "rt.dcm", {"a": [(2, box(1, 3, 4, 2)), (5, box(7, 7, 1, 1))]}, affine=affine)
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:5, 3:5, 2] = expected[7, 7, 5] = 1
    np.testing.assert_array_equal(in_order(drawn(path, slices)["a"].voxels(), slices, affine), expected)


def test_contours_within_contours_are_holes(tmp_path: Path, slices: DicomSeries, affine: NDArray[np.float64]) -> None:
    contours = [(2, box(1, 1, 8, 8)), (2, box(3, 3, 4, 4)), (2, box(4, 4, 1, 1))]
    mask = in_order(
        drawn(rtstruct(tmp_path / "rt.dcm", {"a": contours}, affine=affine), slices)["a"].voxels(), slices, affine
    )
    assert (int(mask.sum()), mask[5, 5, 2], mask[4, 4, 2]) == (64 - 16 + 1, 0, 1)


def test_regions_are_told_by_number_whatever_their_order(tmp_path: Path, slices: DicomSeries) -> None:
    regions = {"b": [(1, box(1, 1, 2, 2))], "a": [(1, box(5, 5, 3, 3))]}
    found = drawn(rtstruct(tmp_path / "rt.dcm", regions), slices)
    assert list(found) == ["b", "a"]


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_points_and_open_lines_are_no_regions(tmp_path: Path, kind: str) -> None:
    assert regions_of(rtstruct(tmp_path / "rt.dcm", {"a": [(1, box(1, 1, 2, 2))]}, kind=kind)) == {}


def test_regions_without_contours_are_left_out(tmp_path: Path) -> None:
    assert list(regions_of(rtstruct(tmp_path / "rt.dcm", {"a": [], "b": [(1, box(1, 1, 2, 2))]})).values()) == ["b"]


def test_contours_beside_the_image_are_a_fault(
    tmp_path: Path, slices: DicomSeries, affine: NDArray[np.float64]
) -> None:
    path = rtstruct(tmp_path / "rt.dcm", {"a": [(40, box(1, 1, 2, 2))]}, affine=affine)
    with pytest.raises(UnreadableFileError, match=r"rt\.dcm \(a\): a contour lies outside"):
        drawn(path, slices)["a"].voxels()


def test_contours_across_slices_are_a_fault(tmp_path: Path, slices: DicomSeries, affine: NDArray[np.float64]) -> None:
    tilted = affine.copy()
    tilted[:3, 0] += affine[:3, 2]
    path = rtstruct(tmp_path / "rt.dcm", {"a": [(1, box(1, 1, 5, 2))]}, affine=tilted)
    with pytest.raises(UnreadableFileError, match="crosses several"):
        drawn(path, slices)["a"].voxels()


@pytest.fixture
def masks() -> Masks:
    found = {name: np.zeros(SHAPE) for name in ("a", "b")}
    found["a"][1:4, 2:9, 3:5] = 1
    found["b"][2:6, 4:6, 4] = 1  # overlaps with a
    return found


@pytest.mark.parametrize("fractional", [False, True])
def test_segments_lie_where_their_frames_do(
    tmp_path: Path, slices: DicomSeries, masks: Masks, fractional: bool
) -> None:
    path = seg(tmp_path / "seg.dcm", slices.files, masks, fractional=fractional)
    for number, name in segments_of(path).items():
        mask = Segment(path, number, name, slices).voxels()
        # Files come from the top, the series lies from the bottom.
        in_files = mask[:, :, [slices.slices().index(file) for file in slices.files]]
        np.testing.assert_array_equal(in_files, masks[name])


def test_shares_count_from_a_half(tmp_path: Path, slices: DicomSeries) -> None:
    shares = np.zeros(SHAPE)
    shares[1:4, 2, 3] = 0.4, 0.6, 1
    path = seg(tmp_path / "seg.dcm", slices.files, {"a": shares}, fractional=True)
    assert Segment(path, 1, "a", slices).voxels().sum() == 2


def test_segments_of_another_grid_are_a_fault(tmp_path: Path, slices: DicomSeries, masks: Masks) -> None:
    other = series(tmp_path / "other", affine=AFFINE @ np.diag([1.4, 1.4, 1, 1]))
    path = seg(tmp_path / "seg.dcm", other, masks)
    with pytest.raises(UnreadableFileError, match=r"seg\.dcm \(a\) cannot be put onto the grid"):
        Segment(path, 1, "a", slices).voxels()


@pytest.mark.parametrize("point", [b"  nan", b"xxxxx", b"1\\1\\1"])
def test_contours_that_make_no_sense_are_a_fault(tmp_path: Path, point: bytes) -> None:
    path = rtstruct(tmp_path / "rt.dcm", {"a": [(1, box(1, 1, 2, 2))]})
    content = path.read_bytes()
    assert b"-29.6" in content
    path.write_bytes(content.replace(b"-29.6", point, 1))
    with pytest.raises(UnreadableFileError, match=r"rt\.dcm cannot be read"):
        regions_of(path)
