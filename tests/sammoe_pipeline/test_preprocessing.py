from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sammoe_pipeline.artefacts import CaseProperties, Configuration
from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.geometry import Orientation, resample_labels
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.preprocessing import (
    open_array,
    prepare_dataset,
    save_array,
    to_configuration,
)
from sammoe_pipeline.raw_dataset import RawDataset, read_raw_dataset

MakeRaw = Callable[..., Path]
COARSE = Configuration(name="coarse", spacing_mm=2.0, patch_size=32)
FINE = Configuration(name="fine", spacing_mm=0.5, patch_size=32)


@pytest.mark.parametrize("shape", [(70, 65, 3), (1, 1, 1)])
def test_arrays_survive_and_can_be_read_in_parts(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    save_array(tmp_path / "case.b2nd", array)
    stored = open_array(tmp_path / "case.b2nd")
    np.testing.assert_array_equal(stored[:], array)
    np.testing.assert_array_equal(stored[0:1, 0:40, 0:2], array[0:1, 0:40, 0:2])
    assert [path.name for path in tmp_path.iterdir()] == ["case.b2nd"]


def test_an_image_is_turned_to_ras_and_made_isotropic() -> None:
    data = np.zeros((4, 6, 8), np.int16)
    data[0] = 100  # the file's first axis runs towards the left, 2 mm a step
    affine = np.diag([-2.0, 1.0, 0.5, 1.0])
    image = to_configuration(Volume(data=data, affine=affine), 1.0)
    assert image.shape == (8, 6, 4)
    assert image.dtype == torch.float32
    assert bool((image[-1] == 100).all())
    assert bool((image[:5] == 0).all())


def test_what_is_no_number_becomes_zero() -> None:
    data = np.full((4, 4, 4), np.nan, np.float32)
    assert bool((to_configuration(Volume(data=data, affine=np.eye(4)), 1.0) == 0).all())


@pytest.fixture
def target(tmp_path: Path) -> PreprocessedDataset:
    return PreprocessedDataset(root=tmp_path / "preprocessed", dataset="Dataset007_Boxes", foundation="tiny")


@pytest.fixture
def raw(make_raw: MakeRaw) -> RawDataset:
    return read_raw_dataset(make_raw(cases=3))


def times(target: PreprocessedDataset) -> dict[str, int]:
    files = (path for path in target.folder.rglob("*") if path.is_file())
    return {path.relative_to(target.folder).as_posix(): path.stat().st_mtime_ns for path in files}


def rewritten(before: dict[str, int], target: PreprocessedDataset) -> set[str]:
    return {name for name, time in times(target).items() if before.get(name) != time}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_case_is_written_in_every_configuration(
    raw: RawDataset, target: PreprocessedDataset, workers: int
) -> None:
    prepare_dataset(raw, target, [COARSE, FINE], workers=workers)
    names = [case.name for case in raw.training_cases]
    expected = {f"gt_segmentations/{name}.nii.gz" for name in names}
    for configuration in ("coarse", "fine"):
        expected |= {f"tiny/{configuration}/{name}{end}" for name in names for end in (".b2nd", "_seg.b2nd", ".json")}
    assert set(times(target)) == expected


def test_arrays_are_the_case_in_the_configuration(raw: RawDataset, target: PreprocessedDataset) -> None:
    prepare_dataset(raw, target, [FINE], workers=1)
    case = raw.training_cases[1]
    volume, label = read_volume(case.images[0]), read_volume(case.label)
    image = open_array(target.image("fine", case.name))[:]
    np.testing.assert_array_equal(image, to_configuration(volume, 0.5).numpy())
    canonical = Orientation.of(volume.affine).to_canonical(label.data)
    segmentation = open_array(target.segmentation("fine", case.name))[:]
    np.testing.assert_array_equal(segmentation, resample_labels(canonical, image.shape))
    properties = CaseProperties.load(target.properties("fine", case.name))
    assert properties.file_shape == (12, 10, 8)
    assert properties.shape == image.shape == (24, 20, 32)
    assert properties.class_voxels == {name: int((segmentation == v).sum()) for name, v in (("near", 1), ("far", 2))}
    np.testing.assert_allclose(np.array(properties.affine), volume.affine)


def test_the_truth_keeps_the_voxels_of_the_label_on_the_grid_of_the_image(
    raw: RawDataset, target: PreprocessedDataset
) -> None:
    case = raw.training_cases[0]
    label = read_volume(case.label)
    affine = label.affine.copy()
    affine[0, 3] += 0.005
    write_volume(case.label, Volume(data=label.data, affine=affine))
    prepare_dataset(raw, target, [COARSE], workers=1)
    truth = read_volume(target.ground_truth(case.name))
    np.testing.assert_array_equal(truth.data, label.data)
    np.testing.assert_allclose(truth.affine, read_volume(case.images[0]).affine, atol=1e-6)


def test_the_chosen_channel_is_prepared(make_raw: MakeRaw, target: PreprocessedDataset) -> None:
    raw = read_raw_dataset(make_raw(cases=1, channels=2))
    second = Configuration(name="second", spacing_mm=1.0, patch_size=32, channel=1)
    prepare_dataset(raw, target, [second], workers=1)
    expected = to_configuration(read_volume(raw.training_cases[0].images[1]), 1.0).numpy()
    np.testing.assert_array_equal(open_array(target.image("second", "case_0"))[:], expected)


def test_preparing_again_changes_nothing(raw: RawDataset, target: PreprocessedDataset) -> None:
    prepare_dataset(raw, target, [COARSE, FINE], workers=1)
    before = times(target)
    prepare_dataset(raw, target, [COARSE, FINE], workers=1)
    assert not rewritten(before, target)


def test_a_stopped_run_is_completed(raw: RawDataset, target: PreprocessedDataset) -> None:
    prepare_dataset(raw, target, [COARSE], workers=1)
    before = times(target)
    target.properties("coarse", "case_1").unlink()  # written last
    target.segmentation("coarse", "case_2").unlink()
    prepare_dataset(raw, target, [COARSE], workers=1)
    assert {name for name in rewritten(before, target) if name.startswith("tiny")} == {
        f"tiny/coarse/case_{number}{end}" for number in (1, 2) for end in (".b2nd", "_seg.b2nd", ".json")
    }


@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
def test_a_case_whose_files_changed_is_prepared_again(
    raw: RawDataset, target: PreprocessedDataset, folder: str
) -> None:
    prepare_dataset(raw, target, [COARSE], workers=1)
    before = times(target)
    path = next((raw.folder / folder).glob("case_1*"))
    os.utime(path, ns=(1, 1))
    prepare_dataset(raw, target, [COARSE], workers=1)
    assert {Path(name).name.split(".")[0] for name in rewritten(before, target)} == {"case_1", "case_1_seg"}


def test_another_configuration_of_the_same_name_is_prepared_again(raw: RawDataset, target: PreprocessedDataset) -> None:
    prepare_dataset(raw, target, [COARSE], workers=1)
    prepare_dataset(raw, target, [COARSE.model_copy(update={"spacing_mm": 4.0})], workers=1)
    assert open_array(target.image("coarse", "case_0")).shape == (3, 2, 4)


def test_other_classes_are_counted_again(raw: RawDataset, target: PreprocessedDataset) -> None:
    prepare_dataset(raw, target, [COARSE], workers=1)
    prepare_dataset(replace(raw, labels={"both": (1, 2), "far": (2,)}), target, [COARSE], workers=1)
    counts = CaseProperties.load(target.properties("coarse", "case_0")).class_voxels
    assert counts["both"] > counts["far"] > 0


def test_a_region_counts_the_voxels_of_all_its_values(make_raw: MakeRaw, target: PreprocessedDataset) -> None:
    labels = {"background": 0, "both": [1, 2], "far": 2}
    raw = read_raw_dataset(make_raw(cases=1, labels=labels, regions_class_order=[1, 2]))
    prepare_dataset(raw, target, [COARSE], workers=1)
    segmentation = open_array(target.segmentation("coarse", "case_0"))[:]
    assert CaseProperties.load(target.properties("coarse", "case_0")).class_voxels == {
        "both": int((segmentation > 0).sum()),
        "far": int((segmentation == 2).sum()),
    }


def test_a_broken_case_is_named_and_the_others_are_prepared(raw: RawDataset, target: PreprocessedDataset) -> None:
    raw.training_cases[1].images[0].write_bytes(b"no image")
    with pytest.raises(DatasetFaultsError) as caught:
        prepare_dataset(raw, target, [COARSE], workers=1)
    (fault,) = caught.value.faults
    assert fault.startswith("case case_1: ")
    assert "case_1_0000.nii.gz cannot be read" in fault
    assert {path.name for path in (target.folder / "tiny" / "coarse").glob("*.json")} == {"case_0.json", "case_2.json"}


def test_broken_properties_are_made_again(raw: RawDataset, target: PreprocessedDataset) -> None:
    prepare_dataset(raw, target, [COARSE], workers=1)
    path = target.properties("coarse", "case_0")
    path.write_text(json.dumps({"case": "case_0"}))
    prepare_dataset(raw, target, [COARSE], workers=1)
    assert CaseProperties.load(path).case == "case_0"


def test_disk_that_may_be_too_small_is_named_before_the_work(
    raw: RawDataset, target: PreprocessedDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    prepare_dataset(raw, target, [FINE], workers=1)
    assert "has 0.0 GB free; the arrays of" in caplog.text
    caplog.clear()
    prepare_dataset(raw, target, [FINE], workers=1)
    assert "GB free" not in caplog.text  # There is nothing left to make.
