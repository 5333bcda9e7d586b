from __future__ import annotations

from pathlib import Path

import pytest

from dataset_conversion.source import find_root, is_visible, pair_by_name
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


def test_pairs_are_made_by_name_and_not_by_position() -> None:
    images = {name: Path(f"images/{name}") for name in ("b", "c", "a")}
    labels = {name: Path(f"labels/{name}") for name in ("c", "b", "d")}
    cases, faults = pair_by_name(images, labels)
    assert [(case.name, case.images, case.label) for case in cases] == [
        ("b", (Path("images/b"),), Path("labels/b")),
        ("c", (Path("images/c"),), Path("labels/c")),
    ]
    assert faults == [
        "images/a has no label map. Add it, or remove the image.",
        "labels/d has no image. Add it, or remove the label.",
    ]
