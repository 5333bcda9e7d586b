from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from dataset_conversion import conversion, preparation
from dataset_conversion.conversion import convert
from dataset_conversion.formats.msd import read_source
from dataset_conversion.preparation import Options
from dataset_conversion.source import LabelFile
from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.image_io import Volume, read_header, read_volume, write_volume
from sammoe_pipeline.verify import verify_raw_dataset

MakeTask = Callable[..., Path]


def run(task: Path, target: Path, **options: Any) -> None:
    convert(read_source(task), target, converter="a test", options=Options(**options))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "Dataset004_Boxes"


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.*")}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_result_is_a_sound_dataset(
    make_task: MakeTask, target: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (conversion, preparation):  # so little work would not be shared out
        monkeypatch.setattr(module, "worthwhile", lambda *_: workers)
    run(make_task(channels=2, tests=1, label_type="float32"), target, workers=workers)
    verify_raw_dataset(target)
    assert sorted(path.name for path in (target / "imagesTr").iterdir())[:2] == [
        "box_2_0000.nii.gz",
        "box_2_0001.nii.gz",
    ]
    assert sorted(path.name for path in (target / "imagesTs").iterdir()) == ["box_5_0000.nii.gz", "box_5_0001.nii.gz"]


def test_files_that_need_no_change_are_copied_byte_for_byte(make_task: MakeTask, target: Path) -> None:
    task = make_task()
    run(task, target)
    for ours, theirs in (
        ("imagesTr/box_2_0000.nii.gz", "imagesTr/box_2.nii.gz"),
        ("labelsTr/box_2.nii.gz", "labelsTr/box_2.nii.gz"),
        ("imagesTs/box_5_0000.nii.gz", "imagesTs/box_5.nii.gz"),
    ):
        assert (target / ours).read_bytes() == (task / theirs).read_bytes()


def test_a_4d_image_becomes_a_file_a_channel_on_the_same_grid(make_task: MakeTask, target: Path) -> None:
    task = make_task(channels=3)
    run(task, target)
    image = nibabel.load(task / "imagesTr" / "box_3.nii.gz")
    for channel in range(3):
        volume = read_volume(target / "imagesTr" / f"box_3_{channel:04d}.nii.gz")
        np.testing.assert_array_equal(volume.data, np.asanyarray(image.dataobj)[..., channel])
        np.testing.assert_allclose(volume.affine, image.affine, atol=1e-6)


def test_whole_numbers_stored_as_float_become_integers(make_task: MakeTask, target: Path) -> None:
    task = make_task(label_type="float32")
    run(task, target)
    label = read_volume(target / "labelsTr" / "box_2.nii.gz")
    assert label.data.dtype == np.uint8
    np.testing.assert_array_equal(label.data, read_volume(task / "labelsTr" / "box_2.nii.gz").data)


def test_gaps_between_label_values_are_closed(make_task: MakeTask, target: Path) -> None:
    task = make_task()
    label = read_volume(task / "labelsTr" / "box_2.nii.gz")
    for path in (task / "labelsTr").glob("box*"):
        write_volume(path, Volume(data=label.data * 10, affine=label.affine))
    source = read_source(task)
    cases = [
        replace(case, labels=tuple(LabelFile(file.path, {20: "core", 10: "rim"}) for file in case.labels))
        for case in source.cases
    ]
    source = replace(source, classes=("rim", "core"), cases=tuple(cases))
    convert(source, target, converter="a test", options=Options())
    labels = json.loads((target / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "rim": 1, "core": 2}
    np.testing.assert_array_equal(read_volume(target / "labelsTr" / "box_2.nii.gz").data, label.data)


def test_a_label_with_a_noisy_header_gets_the_grid_of_its_image(make_task: MakeTask, target: Path) -> None:
    task = make_task()
    path = task / "labelsTr" / "box_2.nii.gz"
    label = read_volume(path)
    affine = label.affine.copy()
    affine[:3, 3] += 0.005
    write_volume(path, Volume(data=label.data, affine=affine))
    run(task, target)
    image, result = (
        read_header(target / name / f"box_2{c}.nii.gz") for name, c in (("imagesTr", "_0000"), ("labelsTr", ""))
    )
    np.testing.assert_allclose(result.affine, image.affine, atol=1e-6)


def test_files_of_other_formats_are_rewritten(make_task: MakeTask, target: Path) -> None:
    task = make_task(tests=0)
    source = read_source(task)
    cases = []
    for case in source.cases:
        files = (case.images[0], case.labels[0].path)
        image, label = (path.with_name(path.name.replace(".nii.gz", ".mha")) for path in files)
        write_volume(image, read_volume(files[0]))
        write_volume(label, read_volume(files[1]))
        cases.append(replace(case, images=(image,), labels=(LabelFile(label, case.labels[0].meaning),)))
    convert(replace(source, cases=tuple(cases)), target, converter="a test", options=Options())
    verify_raw_dataset(target)


def test_dataset_json_says_where_it_comes_from(make_task: MakeTask, target: Path) -> None:
    run(make_task(cases=2, reference="Somewhere"), target)
    content = json.loads((target / "dataset.json").read_text())
    assert content["name"] == "Dataset004_Boxes"
    assert content["numTraining"] == 2
    assert content["channel_names"] == {"0": "MR0"}
    assert [content[key] for key in ("licence", "reference", "release", "converted_by")] == [
        "CC0",
        "Somewhere",
        "1.0",
        "a test",
    ]


def test_converting_again_leaves_equal_files_alone(make_task: MakeTask, target: Path) -> None:
    task = make_task(channels=2, label_type="float32")
    run(task, target)
    before = times(target)
    run(task, target)
    assert times(target) == before


def test_what_is_missing_or_broken_is_written_again(make_task: MakeTask, target: Path) -> None:
    task = make_task(channels=2)
    run(task, target)
    before = {path: path.read_bytes() for path in target.rglob("*.nii.gz")}
    kept = (target / "imagesTr" / "box_4_0001.nii.gz").stat().st_mtime_ns
    (target / "imagesTr" / "box_2_0001.nii.gz").unlink()
    (target / "labelsTr" / "box_3.nii.gz").write_bytes(b"half a fi")
    run(task, target)
    verify_raw_dataset(target)
    assert {path: path.read_bytes() for path in target.rglob("*.nii.gz")} == before
    assert (target / "imagesTr" / "box_4_0001.nii.gz").stat().st_mtime_ns == kept


def test_a_change_of_the_source_is_followed(make_task: MakeTask, target: Path) -> None:
    task = make_task(label_type="float32")
    run(task, target)
    before = times(target)
    path = task / "labelsTr" / "box_3.nii.gz"
    label = read_volume(path)
    write_volume(path, Volume(data=label.data * (label.data != 2), affine=label.affine))
    run(task, target)
    assert {name for name, time in times(target).items() if before[name] != time} == {
        "labelsTr/box_3.nii.gz",
        "conversion_report.json",
        "dataset.json",
    }
    assert read_volume(target / "labelsTr" / "box_3.nii.gz").data.max() == 1


def test_an_interrupted_update_does_not_look_finished(
    make_task: MakeTask, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()
    run(task, target)
    (target / "labelsTr" / "box_4.nii.gz").unlink()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "write_description", stop)
        with pytest.raises(KeyboardInterrupt):
            run(task, target)
    assert not (target / "dataset.json").exists()
    run(task, target)
    verify_raw_dataset(target)


def test_all_faults_are_named_and_nothing_is_written(make_task: MakeTask, target: Path) -> None:
    task = make_task(cases=5)
    (task / "labelsTr" / "box_2.nii.gz").unlink()
    (task / "imagesTr" / "box_3.nii.gz").write_bytes(b"no image")
    label = read_volume(task / "labelsTr" / "box_4.nii.gz")
    write_volume(task / "labelsTr" / "box_4.nii.gz", Volume(data=label.data + 7, affine=label.affine))
    (task / "imagesTs" / "box_7.nii.gz").write_bytes(b"no image either")
    with pytest.raises(DatasetFaultsError) as caught:
        run(task, target)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    assert "box_2.nii.gz has no label map" in faults
    assert "box_3.nii.gz cannot be read" in faults
    assert "box_4.nii.gz has values that are no label: 7, 8, 9" in faults
    assert "box_7.nii.gz cannot be read" in faults
    assert not target.exists()


def test_a_source_without_labels_is_a_fault(make_task: MakeTask, target: Path) -> None:
    with pytest.raises(DatasetFaultsError, match="no case with a label map"):
        run(make_task(cases=0), target)


def test_a_folder_with_other_cases_is_not_mixed_with_new_ones(make_task: MakeTask, target: Path) -> None:
    task = make_task()
    run(task, target)
    (target / "imagesTr" / "stranger_0000.nii.gz").write_bytes(b"")
    with pytest.raises(
        DatasetFaultsError, match=r"1 file\(s\) that this source does not have, such as .*stranger_0000"
    ):
        run(task, target)


def test_read_only_sources_give_writable_copies(make_task: MakeTask, target: Path) -> None:
    task = make_task()
    for path in (task / "imagesTr").iterdir():
        path.chmod(0o444)
    run(task, target)
    assert (target / "imagesTr" / "box_2_0000.nii.gz").stat().st_mode & 0o200


@pytest.mark.parametrize(("amount", "workers"), [(0, 1), (99, 1), (250, 2), (10_000, 4)])
def test_processes_are_started_where_they_pay(amount: int, workers: int) -> None:
    assert preparation.worthwhile(amount, 100, 4) == workers
