from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_conversion.formats.msd import read_source
from dataset_conversion.preparation import Options, plan_conversion
from sammoe_pipeline.errors import DatasetFaultsError
from tests.dataset_conversion.miniatures import write_json
from tests.dataset_conversion.volumes import label_map, scan

MakeTask = Callable[..., Path]


def test_cases_pair_images_and_labels_of_one_name(make_task: MakeTask) -> None:
    source = read_source(make_task(cases=2, tests=2))
    assert [case.name for case in source.cases] == ["box_2", "box_3", "box_4", "box_5"]
    assert [case.is_training for case in source.cases] == [True, True, False, False]
    assert source.faults == ()


def test_labels_leave_out_background(make_task: MakeTask) -> None:
    source = read_source(make_task())
    assert source.classes == ("near", "far")
    assert source.cases[0].labels[0].meaning == {1: "near", 2: "far"}


def test_channels_come_in_the_order_of_their_numbers(make_task: MakeTask) -> None:
    modality = {"1": "T1w", "0": "FLAIR", "3": "T2w", "2": "t1gd"}
    assert read_source(make_task(channels=4, modality=modality)).channels == ("FLAIR", "T1w", "t1gd", "T2w")


def test_test_images_are_optional(make_task: MakeTask) -> None:
    assert all(case.labels for case in read_source(make_task(tests=0)).cases)


def test_a_folder_around_the_task_is_accepted(make_task: MakeTask) -> None:
    assert len(read_source(make_task(cases=3, tests=0).parent).cases) == 3


@pytest.mark.parametrize("key", ["release", "relase"])
def test_both_spellings_of_the_release_are_read(make_task: MakeTask, key: str) -> None:
    assert read_source(make_task(**{"relase": None, key: "2.0"})).release == "2.0"


def test_a_dataset_json_with_only_channels_and_labels_is_enough(make_task: MakeTask) -> None:
    task = make_task()
    (task / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, "labels": {"1": "liver"}}))
    source = read_source(task)
    assert (source.channels, source.classes, source.licence) == (("CT",), ("liver",), "not stated")


def test_another_number_of_cases_is_mentioned(make_task: MakeTask, caplog: pytest.LogCaptureFixture) -> None:
    read_source(make_task(cases=2, numTraining=260))
    assert "says 260 training cases, the folders hold 2" in caplog.text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds no JSON object"),
        ('{"labels": {"1": "liver"}}', 'modality=None; an object such as {"0": "CT"} is needed'),
        ('{"modality": {"0": "CT"}, "labels": {"liver": 1}}', "labels={'liver': 1}; an object such as"),
        ('{"modality": {"0": "CT"}, "labels": {}}', "labels={}"),
    ],
)
def test_a_dataset_json_that_does_not_name_channels_and_labels_is_a_fault(
    make_task: MakeTask, content: str, fault: str
) -> None:
    task = make_task()
    (task / "dataset.json").write_text(content)
    assert fault in "\n".join(found.text for found in read_source(task).faults)


def test_faults_of_dataset_json_and_of_the_folders_are_named_together(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    (task / "dataset.json").unlink()
    (task / "labelsTr" / "box_2.nii.gz").unlink()
    (task / "imagesTr" / "box_3.nii.gz").unlink()
    with pytest.raises(DatasetFaultsError) as caught:
        plan_conversion(read_source(task), tmp_path / "raw", Options())
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 3
    assert "dataset.json does not exist" in faults
    assert "box_2.nii.gz has no label map" in faults
    assert "box_3.nii.gz has no image" in faults


TASKS = {
    "Task01_BrainTumour": (
        "BRATS_001",
        ("FLAIR", "T1w", "t1gd", "T2w"),
        ("edema", "non-enhancing tumor", "enhancing tumour"),
    ),
    "Task02_Heart": ("la_003", ("MRI",), ("left atrium",)),
    "Task03_Liver": ("liver_0", ("CT",), ("liver", "cancer")),
    "Task04_Hippocampus": ("hippocampus_001", ("MRI",), ("Anterior", "Posterior")),
    "Task05_Prostate": ("prostate_00", ("T2", "ADC"), ("PZ", "TZ")),
    "Task06_Lung": ("lung_001", ("CT",), ("cancer",)),
    "Task07_Pancreas": ("pancreas_001", ("CT",), ("pancreas", "cancer")),
    "Task08_HepaticVessel": ("hepaticvessel_001", ("CT",), ("Vessel", "Tumour")),
    "Task09_Spleen": ("spleen_2", ("CT",), ("spleen",)),
    "Task10_Colon": ("colon_001", ("CT",), ("colon cancer primaries",)),
}


@pytest.mark.parametrize("task", TASKS)
def test_all_ten_tasks_are_read_and_fit(tmp_path: Path, task: str) -> None:
    name, channels, classes = TASKS[task]
    root = tmp_path / task
    scan(root / "imagesTr" / f"{name}.nii.gz", channels=len(channels))
    label_map(root / "labelsTr" / f"{name}.nii.gz", range(1, len(classes) + 1))
    description = {
        "modality": {str(number): channel for number, channel in enumerate(channels)},
        "labels": {"0": "background", **{str(number): of for number, of in enumerate(classes, start=1)}},
        "numTraining": 1,
    }
    write_json(root / "dataset.json", description)
    source = read_source(tmp_path)
    assert (source.channels, source.classes, [case.name for case in source.cases]) == (channels, classes, [name])
    assert plan_conversion(source, tmp_path / "raw", Options()).faults == ()
