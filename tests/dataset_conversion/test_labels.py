from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_conversion.labels import distinct, has_foreground, paint, recode, split_sides, values_in
from dataset_conversion.selection import Selection, number_classes
from dataset_conversion.source import LabelFile
from sammoe_pipeline.image_io import Header
from tests.dataset_conversion.volumes import AFFINE, SHAPE, label_map, mask, save

GRID = Header(shape=SHAPE, affine=AFFINE, dtype="int16")


def test_masks_become_one_label_map(tmp_path: Path) -> None:
    files = [LabelFile(mask(tmp_path / f"{name}.nii.gz", index), name) for index, name in enumerate("ab")]
    painted = paint(files, number_classes("ab", Selection()), GRID)
    flat = painted.data.reshape(-1)
    assert flat[:3].tolist() == [1, 1, 1]
    assert flat[8:11].tolist() == [2, 2, 2]
    assert np.count_nonzero(flat) == 6
    assert (painted.data.dtype, painted.overlapping_voxels, painted.faults) == (np.uint8, 0, ())


@pytest.mark.parametrize(("order", "winner"), [("ab", 2), ("ba", 1)])
def test_the_later_mask_wins_and_the_overlap_is_counted(tmp_path: Path, order: str, winner: int) -> None:
    files = [LabelFile(mask(tmp_path / f"{name}.nii.gz", 0), name) for name in order]
    painted = paint(files, number_classes("ab", Selection()), GRID)
    assert painted.data.reshape(-1)[:3].tolist() == [winner] * 3
    assert painted.overlapping_voxels == 3


def test_masks_that_are_merged_do_not_overlap(tmp_path: Path) -> None:
    files = [LabelFile(mask(tmp_path / f"{name}.nii.gz", 0), name) for name in "ab"]
    assert paint(files, number_classes("ab", Selection(merge={"c": ("a", "b")})), GRID).overlapping_voxels == 0


def test_masks_that_are_not_wanted_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    files = [LabelFile(tmp_path / "a.nii.gz", "a"), LabelFile(mask(tmp_path / "b.nii.gz", 1), "b")]
    assert paint(files, number_classes("ab", Selection(classes=("b",))), GRID).faults == ()


def test_a_mask_may_have_any_one_value(tmp_path: Path) -> None:
    files = [LabelFile(label_map(tmp_path / "a.nii.gz", [255], dtype="float64"), "a")]
    painted = paint(files, number_classes("a", Selection()), GRID)
    assert np.unique(painted.data).tolist() == [0, 1]
    assert not painted.same


@pytest.mark.parametrize("values", [[1, 2], [7, 9]])
def test_a_mask_of_several_values_is_a_fault(tmp_path: Path, values: list[int]) -> None:
    files = [LabelFile(label_map(tmp_path / "a.nii.gz", values), "a")]
    assert "should be the mask of a alone" in paint(files, number_classes("a", Selection()), GRID).faults[0]


def test_values_without_a_name_are_a_fault(tmp_path: Path) -> None:
    files = [LabelFile(label_map(tmp_path / "a.nii.gz", [1, 14, -3], dtype="int16"), {1: "a"})]
    fault = paint(files, number_classes("a", Selection()), GRID).faults[0]
    assert "has values that are no label: -3, 14. The labels are 1." in fault


def test_values_that_are_no_whole_numbers_are_a_fault(tmp_path: Path) -> None:
    data = np.zeros(SHAPE, np.float32)
    data[0, 0, 0] = 0.5
    files = [LabelFile(save(tmp_path / "a.nii.gz", data), "a")]
    assert "no whole numbers: 0.5" in paint(files, number_classes("a", Selection()), GRID).faults[0]


def test_a_label_map_that_needs_no_change_is_told(tmp_path: Path) -> None:
    meaning = {1: "a", 2: "b"}
    files = [LabelFile(label_map(tmp_path / "a.nii.gz", [1, 2]), meaning)]
    assert paint(files, number_classes("ab", Selection()), GRID).same
    assert not paint(files, number_classes("ab", Selection(classes=("b",))), GRID).same


def test_more_classes_than_a_byte_holds(tmp_path: Path) -> None:
    classes = [f"c{number}" for number in range(300)]
    files = [LabelFile(mask(tmp_path / "a.nii.gz", 0), "c299")]
    painted = paint(files, number_classes(classes, Selection()), GRID)
    assert (painted.data.dtype, painted.data.max()) == (np.uint16, 300)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "int64"])
def test_values_are_found_and_replaced_in_any_number_type(dtype: str) -> None:
    data = np.zeros((3, 4, 5), dtype, order="F")
    data[1], data[2, 2] = 7, 3
    assert distinct(data).tolist() == [0, 3, 7]
    expected = np.where(data == 7, 1, np.where(data == 3, 2, 0))
    np.testing.assert_array_equal(recode(data, {0: 0, 7: 1, 3: 2}, np.dtype(np.uint8)), expected)


@pytest.mark.parametrize("values", [[0], [0, 1], [5], [4, 5], [-1, 0]])
def test_values_of_masks_are_found(values: list[int]) -> None:
    assert distinct(np.array([[values]], np.int16)).tolist() == values


def test_values_of_a_file_or_its_fault_are_told(tmp_path: Path) -> None:
    assert values_in(label_map(tmp_path / "a.nii.gz", [4, 9])) == [4, 9]
    (tmp_path / "b.nii.gz").write_bytes(b"no image")
    assert "b.nii.gz is damaged" in str(values_in(tmp_path / "b.nii.gz"))


def test_foreground_is_looked_for_in_every_file(tmp_path: Path) -> None:
    files = [LabelFile(mask(tmp_path / f"{index}.nii.gz", index), "a") for index in (-1, 3)]
    assert has_foreground(files)
    assert not has_foreground(files[:1])


@pytest.mark.parametrize(("sign", "right_first"), [(-1, True), (1, False)])
def test_sides_follow_the_patient_and_not_the_array(sign: int, right_first: bool) -> None:
    labels = np.zeros((20, 6, 6), np.uint8)
    labels[2:5, 2:4, 2:4] = labels[15:18, 2:4, 2:4] = 1
    split_sides(labels, np.diag([sign * 1.5, 1, 1, 1]), left=1, right=2)
    assert (labels[3, 3, 3], labels[16, 3, 3]) == ((2, 1) if right_first else (1, 2))


def test_a_component_goes_whole_to_its_side() -> None:
    labels = np.zeros((20, 6, 6), np.uint8)
    labels[9:19, 2:4, 2:4] = 1  # one slice of ten beyond the middle
    split_sides(labels, np.eye(4), left=1, right=2)
    assert np.unique(labels).tolist() == [0, 2]


def test_organs_that_touch_are_cut_in_the_middle() -> None:
    labels = np.zeros((20, 6, 6), np.uint8)
    labels[4:16, 2:4, 2:4] = 1
    split_sides(labels, np.eye(4), left=1, right=2)
    assert (labels[9, 3, 3], labels[10, 3, 3]) == (1, 2)
