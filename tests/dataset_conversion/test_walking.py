from __future__ import annotations

from pathlib import Path

import pytest

from dataset_conversion.source import classes_of
from dataset_conversion.walking import files_by_id, find_root, is_visible, pair, unlabelled, without_role
from sammoe_pipeline.errors import UsageError


def test_the_root_may_be_wrapped_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "Task04" / "imagesTr").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "imagesTr").mkdir(parents=True)
    assert find_root(tmp_path / "Task04", "imagesTr") == tmp_path / "Task04"
    assert find_root(tmp_path, "imagesTr") == tmp_path / "Task04"


def test_several_datasets_in_a_folder_are_named(tmp_path: Path) -> None:
    for name in ("Task04", "Task05"):
        (tmp_path / name / "imagesTr").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds several datasets: Task04, Task05"):
        find_root(tmp_path, "imagesTr")


def test_another_folder_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no imagesTr, and no folder in it has"):
        find_root(tmp_path, "imagesTr")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone: there is no such folder"):
        find_root(tmp_path / "gone", "imagesTr")


def test_an_archive_must_be_extracted(tmp_path: Path) -> None:
    (tmp_path / "Task04.tar").touch()
    with pytest.raises(UsageError, match=r"Task04\.tar is a file\. Extract it"):
        find_root(tmp_path / "Task04.tar", "imagesTr")


@pytest.mark.parametrize(
    ("name", "visible"), [("a.nii.gz", True), ("._a.nii.gz", False), (".DS_Store", False), ("__MACOSX", False)]
)
def test_what_archives_leave_behind_is_invisible(name: str, visible: bool) -> None:
    assert is_visible(Path(name)) is visible


def test_pairs_are_made_by_id_and_not_by_position() -> None:
    images = {name: Path(f"images/{name}") for name in ("b", "c", "a")}
    labels = {name: Path(f"labels/{name}") for name in ("c", "b", "d")}
    cases, faults = pair(images, labels, {1: "liver"}, name="scan_{}")
    assert [(case.name, case.images, case.labels[0].path) for case in cases] == [
        ("scan_b", (Path("images/b"),), Path("labels/b")),
        ("scan_c", (Path("images/c"),), Path("labels/c")),
    ]
    assert [(fault.case, fault.text) for fault in faults] == [
        ("scan_a", "images/a has no label map. Add it, or remove the image."),
        ("scan_d", "labels/d has no image. Add it, or remove the label."),
    ]


def test_files_are_told_by_their_ids_in_natural_order(tmp_path: Path) -> None:
    for name in ("liver_10.nii.gz", "liver_2.nii.gz", "._liver_2.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    found, faults = files_by_id(tmp_path, r"liver_(\d+)\.nii\.gz")
    assert (list(found), faults) == (["2", "10"], [])
    assert [case.name for case in unlabelled(found, name="case_{}")] == ["case_2", "case_10"]


def test_two_files_of_one_id_are_a_fault(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).touch()
    _, faults = files_by_id(tmp_path, r"(.+?)\.nii(?:\.gz)?")
    assert "have the same ID" in faults[0].text


def test_a_missing_folder_has_no_files(tmp_path: Path) -> None:
    assert files_by_id(tmp_path / "imagesTs", "(.*)") == ({}, [])


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("image_7", "7"),
        ("label-7", "7"),
        ("patient_7_mask", "patient_7"),
        ("segmentation", "segmentation"),
        ("imaging_study_4", "imaging_study_4"),
    ],
)
def test_words_for_image_and_label_are_no_part_of_an_id(name: str, bare: str) -> None:
    assert without_role(name) == bare


def test_values_of_one_class_are_joined_in_the_order_of_values() -> None:
    assert classes_of({20: "kidney", 3: "liver", 21: "kidney", 30: "cyst"}) == ("liver", "kidney", "cyst")
