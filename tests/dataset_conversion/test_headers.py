from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dataset_conversion.headers import CaseHeaders, check_headers
from dataset_conversion.source import Case, LabelFile
from tests.dataset_conversion.volumes import AFFINE, label_map, save, scan


@pytest.fixture
def case(tmp_path: Path) -> Case:
    image = scan(tmp_path / "image.nii.gz")
    return Case(name="a", images=(image,), labels=(LabelFile(label_map(tmp_path / "label.nii.gz", [1]), {1: "x"}),))


def moved(millimetres: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[0, 3] += millimetres
    return affine


def with_label(case: Case, path: Path) -> CaseHeaders:
    return check_headers((replace(case, labels=(LabelFile(path, {1: "x"}),)), 1))


def test_files_in_order_are_taken_over(case: Case) -> None:
    found = check_headers((case, 1))
    assert (found.faults, found.notes, found.ready, found.label_ready) == ((), (), (True,), True)
    assert found.bytes_needed >= case.images[0].stat().st_size


def test_noise_in_a_header_is_repaired_and_told(case: Case, tmp_path: Path) -> None:
    found = with_label(case, label_map(tmp_path / "other.nii.gz", [1], affine=moved(0.04)))
    assert (found.faults, found.label_ready) == ((), False)
    assert "other.nii.gz: header off by 0.05 voxels, put onto the grid of image.nii.gz" in found.notes[0]


def test_a_header_that_is_farther_off_is_a_fault(case: Case, tmp_path: Path) -> None:
    found = with_label(case, label_map(tmp_path / "other.nii.gz", [1], affine=moved(0.8)))
    assert "is not on the grid of image.nii.gz: its farthest corner is 1 voxels away" in found.faults[0]


def test_another_spacing_is_said(case: Case, tmp_path: Path) -> None:
    found = with_label(case, label_map(tmp_path / "other.nii.gz", [1], affine=AFFINE @ np.diag([2.0, 1, 1, 1])))
    assert "spacing 1.6 x 0.8 x 2.5 mm instead of 0.8 x 0.8 x 2.5 mm" in found.faults[0]


def test_another_shape_is_said(case: Case, tmp_path: Path) -> None:
    found = with_label(case, save(tmp_path / "other.nii.gz", np.zeros((12, 10, 9), np.uint8)))
    assert "shape 12 x 10 x 9 instead of 12 x 10 x 8" in found.faults[0]


def test_a_label_stored_as_float_is_rewritten(case: Case, tmp_path: Path) -> None:
    assert not with_label(case, label_map(tmp_path / "other.nii.gz", [1], dtype="float32")).label_ready


@pytest.mark.parametrize("name", ["image.nii", "image.mha", "image.nrrd"])
def test_other_formats_are_rewritten(case: Case, tmp_path: Path, name: str) -> None:
    found = check_headers((replace(case, images=(scan(tmp_path / name),)), 1))
    assert (found.faults, found.ready) == ((), (False,))


def test_a_4d_image_is_split(case: Case, tmp_path: Path) -> None:
    image = scan(tmp_path / "series.nii.gz", channels=3)
    assert check_headers((replace(case, images=(image,)), 3)).ready == (False,)
    assert "holds 12 x 10 x 8 x 3" in check_headers((replace(case, images=(image,)), 2)).faults[0]


def test_axes_off_their_right_angles_are_told(case: Case, tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 1] = 2e-3
    found = check_headers((Case(name="a", images=(scan(tmp_path / "s.nii.gz", affine=affine),)), 1))
    assert (found.faults, found.ready) == ((), (False,))
    assert "s.nii.gz: axes not at right angles, squared (0.0" in found.notes[0]


def test_all_unreadable_files_are_named(case: Case) -> None:
    for path in (case.images[0], case.labels[0].path):
        path.write_bytes(b"no image")
    assert len(check_headers((case, 1)).faults) == 2


def test_a_wrong_number_of_images_is_a_fault(case: Case) -> None:
    assert "a has 2 images; 3 are needed" in check_headers((replace(case, images=case.images * 2), 3)).faults[0]
