from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammoe_pipeline.errors import ArtefactError, DatasetFaultsError
from sammoe_pipeline.raw_dataset import read_dataset_json, read_raw_dataset

SOUND: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "liver": 1, "spleen": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**SOUND, **changes}))
    return path


def test_classes_leave_out_background_and_ignore(tmp_path: Path) -> None:
    labels = {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    description = read_dataset_json(write(tmp_path, labels=labels))
    assert description.labels == {"liver": (1,), "spleen": (2,)}
    assert description.ignore == 3


def test_channels_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = {str(number): f"echo{number}" for number in (10, 2, 1, 0, 9, 3, 4, 5, 6, 7, 8)}
    assert read_dataset_json(write(tmp_path, channel_names=names)).channels == tuple(f"echo{n}" for n in range(11))


def test_classes_are_ordered_by_value(tmp_path: Path) -> None:
    labels = {"background": 0, "spleen": 2, "liver": 1}
    assert read_dataset_json(write(tmp_path, labels=labels)).class_order == ("liver", "spleen")


def test_regions_keep_the_order_in_which_they_are_written(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    description = read_dataset_json(write(tmp_path, labels=labels, regions_class_order=[1, 2, 3]))
    assert description.labels == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert description.class_order == ("whole", "core", "enhancing")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"labels": {"background": 0}}, "no class beside background"),
        ({"labels": {"background": 0, "liver": "1"}}, "labels.liver is '1': a whole number"),
        ({"labels": {"background": 0, "liver": True}}, "labels.liver is True: a whole number"),
        ({"labels": {"background": 0, "liver": []}}, r"labels.liver is \[\]"),
        ({"labels": {"background": 1, "liver": 2}}, "labels.background is 1: 0 is the value of background"),
        ({"labels": {"background": 0, "liver": 0}}, "labels.liver is 0: 0 is the value of background"),
        ({"labels": ["background", "liver"]}, r"labels is \['background', 'liver'\]: a JSON object is needed"),
        ({"labels": {"background": 0, "all": [1, 2], "core": 2}}, "regions_class_order is needed"),
        (
            {"labels": {"background": 0, "all": [1, 2], "core": 2}, "regions_class_order": [1]},
            r"regions_class_order is \[1\]: one value is needed for each of all, core",
        ),
        (
            {"labels": {"background": 0, "all": [1, 2], "core": 2}, "regions_class_order": [1, "2"]},
            r"regions_class_order is \[1, '2'\]: one value is needed for each of all, core",
        ),
        ({"channel_names": {"1": "T1"}}, r"channel_names has the keys \['1'\]"),
        ({"channel_names": {}}, "channel_names has the keys"),
        ({"channel_names": ["T1"]}, "a JSON object is needed"),
        ({"file_ending": ".png"}, "file_ending is '.png': one of .nii.gz"),
        ({"file_ending": 3}, "file_ending is 3: a JSON string is needed"),
    ],
)
def test_a_broken_field_is_named_with_its_value(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(DatasetFaultsError, match=fault):
        read_dataset_json(write(tmp_path, **changes))


def test_all_missing_fields_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DatasetFaultsError) as caught:
        read_dataset_json(tmp_path / "dataset.json")
    assert [fault.split("'")[1] for fault in caught.value.faults] == ["channel_names", "labels", "file_ending"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00"])
def test_broken_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"dataset\.json is not valid JSON"):
        read_dataset_json(tmp_path / "dataset.json")


def test_a_missing_dataset_json_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"dataset\.json does not exist.*sammoe_convert_dataset"):
        read_raw_dataset(tmp_path)


def test_cases_have_their_channels_in_order(make_raw: Callable[..., Path]) -> None:
    raw = read_raw_dataset(make_raw(cases=2, channels=2))
    assert raw.name == "Dataset007_Boxes"
    assert [case.name for case in raw.training_cases] == ["case_0", "case_1"]
    assert [path.name for path in raw.training_cases[1].images] == ["case_1_0000.nii.gz", "case_1_0001.nii.gz"]
    assert raw.training_cases[1].label.name == "case_1.nii.gz"


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"background": 0, "a": 1, "high": 32768}},
        {"labels": {"background": 0, "a": 1, "ignore": 32768}},
        {"labels": {"background": 0, "a": [1, 32768], "high": 2}, "regions_class_order": [1, 2]},
        {"labels": {"background": 0, "a": [1, 2], "high": 2}, "regions_class_order": [1, 32768]},
    ],
)
def test_a_value_that_label_maps_cannot_keep_is_named_with_the_remedy(
    make_raw: Callable[..., Path], changes: dict[str, Any]
) -> None:
    folder = make_raw()
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**content, **changes}))
    with pytest.raises(DatasetFaultsError, match=r"has the value 32768, but .*32767.*sammoe_convert_dataset") as caught:
        read_raw_dataset(folder)
    assert len(caught.value.faults) == 1


def test_hidden_files_are_passed_over(make_raw: Callable[..., Path]) -> None:
    folder = make_raw(cases=2)
    for name in ("._case_0.nii.gz", ".123-case_9.nii.gz", "__MACOSX.nii.gz"):
        (folder / "labelsTr" / name).write_bytes(b"")
        (folder / "imagesTr" / name).write_bytes(b"")
    assert len(read_raw_dataset(folder).training_cases) == 2


def test_every_pairing_fault_is_named(make_raw: Callable[..., Path]) -> None:
    folder = make_raw(cases=6, channels=2)
    (folder / "imagesTr" / "case_0_0001.nii.gz").unlink()
    (folder / "labelsTr" / "case_1.nii.gz").unlink()
    (folder / "imagesTr" / "case_2_0000.nii.gz").rename(folder / "imagesTr" / "case_2_0002.nii.gz")
    (folder / "imagesTr" / "case_3_0000.nii.gz").rename(folder / "imagesTr" / "case_3.nii.gz")
    (folder / "labelsTr" / "case_4.nii.gz").rename(folder / "labelsTr" / "case_4.nrrd")
    with pytest.raises(DatasetFaultsError) as caught:
        read_raw_dataset(folder)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 10
    assert "case_0_0001.nii.gz is missing; the label" in faults
    assert "case_1_0000.nii.gz has no label" in faults
    assert "case_2_0002.nii.gz is one channel too many: dataset.json names 2" in faults
    assert "case_2_0000.nii.gz is missing" in faults
    assert "case_3.nii.gz does not end in a channel's number. Rename it to case_3_0000.nii.gz" in faults
    assert "case_4.nrrd does not end in .nii.gz" in faults
    assert "case_5" not in faults


def test_a_dataset_without_labels_says_where_they_belong(make_raw: Callable[..., Path]) -> None:
    with pytest.raises(DatasetFaultsError, match=r"labelsTr has no file ending in \.nii\.gz"):
        read_raw_dataset(make_raw(cases=0))


def test_patients_group_cases_and_default_to_the_case(make_raw: Callable[..., Path]) -> None:
    folder = make_raw(cases=3)
    (folder / "patients.json").write_text(json.dumps({"case_0": "anna", "case_1": "anna"}))
    assert read_raw_dataset(folder).patients == {"case_0": "anna", "case_1": "anna", "case_2": "case_2"}


def test_a_broken_patients_file_is_named(make_raw: Callable[..., Path]) -> None:
    folder = make_raw()
    (folder / "patients.json").write_text("anna")
    with pytest.raises(ArtefactError, match=r"patients\.json is not valid JSON"):
        read_raw_dataset(folder)


def test_regions_are_given_out_with_the_values_of_their_order(tmp_path: Path) -> None:
    labels = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumour": 2}
    description = read_dataset_json(write(tmp_path, labels=labels, regions_class_order=[1, 3, 2]))
    assert description.output_values == {"kidney": 1, "masses": 3, "tumour": 2}
    assert description.nested
