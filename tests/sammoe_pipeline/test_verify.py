from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.verify import CaseFiles, find_faults, verify_raw_dataset

MakeRaw = Callable[..., Path]


def faults_of(folder: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(DatasetFaultsError) as caught:
        verify_raw_dataset(folder, **options)
    return caught.value.faults


def change(path: Path, *, data: NDArray[Any] | None = None, affine: NDArray[np.float64] | None = None) -> None:
    """Rewrites a file with other voxels, or with its affine multiplied from the left."""
    volume = read_volume(path)
    write_volume(
        path,
        Volume(
            data=volume.data if data is None else data,
            affine=volume.affine if affine is None else affine @ volume.affine,
        ),
    )


def shift(mm: float) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[0, 3] = mm
    return affine


def turn(degrees: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return affine


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_dataset_passes(make_raw: MakeRaw, workers: int) -> None:
    verify_raw_dataset(make_raw(channels=2), workers=workers)


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    assert "there is no such folder" in faults_of(tmp_path / "Dataset001_None")[0]


def test_an_empty_folder_lacks_its_dataset_json(tmp_path: Path) -> None:
    assert re.search(r"dataset\.json does not exist.*sammoe_convert_dataset", faults_of(tmp_path)[0])


def test_a_dataset_json_alone_lacks_its_labels(make_raw: MakeRaw) -> None:
    (fault,) = faults_of(make_raw(cases=0))
    assert "labelsTr has no file ending in .nii.gz" in fault


@pytest.mark.parametrize("number", [4, None, "3"])
def test_another_number_of_cases_is_a_fault(make_raw: MakeRaw, number: object) -> None:
    (fault,) = faults_of(make_raw(cases=3, numTraining=number))
    assert f"numTraining in dataset.json is {number}, but labelsTr has 3 label maps. Set it to 3" in fault


@pytest.mark.parametrize("file", ["imagesTr/case_1_0001.nii.gz", "labelsTr/case_1.nii.gz"])
@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([1.0, 1.0, 1.01, 1.0]), "spacing 1 x 1 x 2.02 mm instead of 1 x 1 x 2 mm"),
        (shift(0.02), "origin 0.02 mm away"),
        (turn(1), "axes turned by 1 degrees"),
        (turn(180), "axes turned by 180 degrees"),
    ],
)
def test_another_grid_is_a_fault(make_raw: MakeRaw, file: str, affine: NDArray[np.float64], words: str) -> None:
    folder = make_raw(channels=2)
    change(folder / file, affine=affine)
    (fault,) = faults_of(folder, voxels=False)
    assert fault.startswith(f"{folder / file} is not on the grid of case_1_0000.nii.gz: {words}. Resample it")


def test_another_shape_is_a_fault(make_raw: MakeRaw) -> None:
    folder = make_raw()
    change(folder / "labelsTr" / "case_0.nii.gz", data=np.ones((12, 10, 9), np.uint8))
    (fault,) = faults_of(folder, voxels=False)
    assert "case_0.nii.gz is not on the grid of case_0_0000.nii.gz: shape 12 x 10 x 9 instead of 12 x 10 x 8." in fault


@pytest.mark.parametrize("affine", [np.diag([1.0, 1.0, 1.0005, 1.0]), shift(0.005), turn(0.03)])
def test_the_noise_of_headers_is_tolerated(make_raw: MakeRaw, affine: NDArray[np.float64]) -> None:
    folder = make_raw()
    change(folder / "labelsTr" / "case_0.nii.gz", affine=affine)
    verify_raw_dataset(folder)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (np.uint8, 7, "values that are no label: 7. The labels are 0, 1, 2."),
        (np.int16, -1, "values that are no label: -1."),
        (np.float32, 1.5, "values that are no whole numbers: 1.5."),
        (np.float32, np.nan, "values that are no whole numbers: nan."),
        (np.float64, np.inf, "values that are no whole numbers: inf."),
    ],
)
def test_a_value_that_is_no_label_is_named(make_raw: MakeRaw, dtype: type, value: float, words: str) -> None:
    folder = make_raw(ending=".nrrd")
    path = folder / "labelsTr" / "case_1.nrrd"
    data: NDArray[Any] = read_volume(path).data.astype(dtype)
    data[0, 0, 0] = value
    change(path, data=data)
    (fault,) = faults_of(folder)
    assert fault.startswith(f"{path} has {words}")


def test_whole_numbers_stored_as_float_are_labels(make_raw: MakeRaw) -> None:
    folder = make_raw()
    path = folder / "labelsTr" / "case_1.nii.gz"
    change(path, data=read_volume(path).data.astype(np.float32))
    verify_raw_dataset(folder)


def test_the_ignore_value_is_a_label(make_raw: MakeRaw) -> None:
    folder = make_raw(labels={"background": 0, "near": 1, "far": 2, "ignore": 3})
    change(folder / "labelsTr" / "case_1.nii.gz", data=np.full((12, 10, 8), 3, np.uint8))
    verify_raw_dataset(folder)


def test_many_strange_values_are_counted(make_raw: MakeRaw) -> None:
    folder = make_raw()
    data: NDArray[np.int16] = np.arange(960, dtype=np.int16).reshape(12, 10, 8)
    change(folder / "labelsTr" / "case_1.nii.gz", data=data)
    assert "no label: 3, 4, 5, 6, 7, 8, 9, 10, ... (957 in all)." in faults_of(folder)[0]


def test_a_case_without_foreground_is_allowed(make_raw: MakeRaw) -> None:
    folder = make_raw()
    change(folder / "labelsTr" / "case_1.nii.gz", data=np.zeros((12, 10, 8), np.uint8))
    verify_raw_dataset(folder)


def test_a_dataset_without_foreground_is_a_fault(make_raw: MakeRaw) -> None:
    folder = make_raw()
    for path in (folder / "labelsTr").iterdir():
        change(path, data=np.zeros((12, 10, 8), np.uint8))
    (fault,) = faults_of(folder)
    assert "all label maps are empty" in fault


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_images_hold_numbers(make_raw: MakeRaw, value: float) -> None:
    folder = make_raw(ending=".nrrd")
    path = folder / "imagesTr" / "case_2_0000.nrrd"
    data = read_volume(path).data.copy()
    data[:2, 0, 0] = value
    change(path, data=data)
    (fault,) = faults_of(folder)
    assert fault == f"{path} has 2 voxels that are NaN or infinite. Replace them by plain numbers."


def test_voxels_are_read_only_where_asked(make_raw: MakeRaw) -> None:
    folder = make_raw()
    change(folder / "labelsTr" / "case_1.nii.gz", data=np.full((12, 10, 8), 9, np.uint8))
    verify_raw_dataset(folder, voxels=False)


def test_one_broken_file_does_not_hide_the_others(make_raw: MakeRaw) -> None:
    folder = make_raw(cases=6, channels=2, numTraining=7)
    labels, images = folder / "labelsTr", folder / "imagesTr"
    (images / "case_0_0001.nii.gz").unlink()
    (images / "case_1_0000.nii.gz").write_bytes(b"no image")
    change(labels / "case_2.nii.gz", affine=shift(5))
    change(labels / "case_3.nii.gz", data=np.full((12, 10, 8), 9, np.uint8))
    corrupted = bytearray((labels / "case_4.nii.gz").read_bytes())
    corrupted[-8] ^= 1
    (labels / "case_4.nii.gz").write_bytes(corrupted)
    faults = faults_of(folder)
    wanted = ["case_0_0001", "numTraining", "case_1_0000", "case_2.nii.gz is not on", "case_4", "case_3.nii.gz has"]
    assert len(faults) == len(wanted)
    for fault, words in zip(faults, wanted, strict=True):
        assert words in fault


def test_channels_in_one_4d_file_are_compared_with_the_label(tmp_path: Path) -> None:
    image, label = tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 4, 3), np.float32), np.eye(4)), image)
    write_volume(label, Volume(data=np.ones((6, 5, 4), np.uint8), affine=shift(1)))
    faults = find_faults(
        [CaseFiles(name="scan", images=(image,), label=label)],
        channels=3,
        label_values={0, 1},
        workers=1,
        label_voxels=True,
        image_voxels=True,
    )
    assert len(faults) == 1
    assert "label.nii.gz is not on the grid of scan.nii.gz: origin 1 mm away" in faults[0]


def test_an_unlabelled_case_needs_readable_images(tmp_path: Path) -> None:
    faults = find_faults(
        [CaseFiles(name="scan", images=(tmp_path / "scan.nii.gz",), label=None)],
        channels=1,
        label_values={0, 1},
        workers=1,
        label_voxels=True,
        image_voxels=True,
    )
    assert faults == [f"{tmp_path / 'scan.nii.gz'} does not exist."]
