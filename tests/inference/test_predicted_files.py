"""What prediction writes: on exactly the grid of the image, in its format, whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.case_files import CaseFiles, remove_files
from tests.dataset_conversion.dicom_files import series
from tests.inference.conftest import (
    IN_LEFT,
    IN_RIGHT,
    LEFT,
    RIGHT,
    SHAPE,
    MakeMixture,
    box,
    member,
    predict,
    read_labels,
    write_image,
    write_prompts,
)


def _turned(*signs: float) -> NDArray[np.float64]:
    """An affine (4 x 4) of 1 mm, oblique about two axes, with flipped axes and an origin off zero."""
    a, b = np.radians(12), np.radians(-25)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag(signs)
    affine[:3, 3] = [-31.5, 12.25, 7.125]
    return affine


AFFINES = {"oblique": _turned(1, 1, 1), "oblique and flipped": _turned(-1, -1, 1), "left-handed": _turned(1, -1, 1)}


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz", ".mhd"])
@pytest.mark.parametrize("name", AFFINES)
def test_label_map_has_the_format_and_the_grid_of_the_image(
    make_mixture: MakeMixture, tmp_path: Path, ending: str, name: str
) -> None:
    image = write_image(tmp_path / "in" / f"a{ending}", LEFT, AFFINES[name])
    predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT)))
    given, made = SimpleITK.ReadImage(image), SimpleITK.ReadImage(tmp_path / "out" / f"a{ending}")
    assert made.GetSize() == given.GetSize()
    for of in (SimpleITK.Image.GetOrigin, SimpleITK.Image.GetSpacing, SimpleITK.Image.GetDirection):
        np.testing.assert_allclose(of(made), of(given), rtol=0, atol=1e-6 if ending == ".nii.gz" else 1e-12)
    np.testing.assert_array_equal(read_labels(tmp_path, f"a{ending}") > 0, LEFT)


@pytest.mark.parametrize("name", ["oblique", "oblique and flipped"])
def test_label_map_of_a_dicom_series_lies_on_its_grid(make_mixture: MakeMixture, tmp_path: Path, name: str) -> None:
    affine = AFFINES[name]
    series(tmp_path / "in" / "patient", data=np.where(LEFT, 10, 1), affine=affine)
    at = affine @ [*IN_LEFT, 1.0]
    predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, at[:3]), frame="RAS"))
    made = read_volume(tmp_path / "out" / "patient.nii.gz")
    np.testing.assert_allclose(made.affine, affine, atol=1e-5)
    np.testing.assert_array_equal(made.data > 0, LEFT)


def test_masks_of_classes_are_their_own_also_where_another_class_won(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nrrd", LEFT | RIGHT)
    prompts = write_prompts(tmp_path, ("weak", IN_LEFT), ("strong", IN_LEFT), ("weak", IN_RIGHT))
    mixture = make_mixture([member({"strong": 1, "weak": 2})], served={"weak": 1.0, "strong": 2.0})
    (case,) = predict(mixture, tmp_path, prompts=prompts, one_file_per_class=True).cases
    np.testing.assert_array_equal(read_labels(tmp_path, "a.nrrd"), 1 * LEFT + 2 * RIGHT)
    np.testing.assert_array_equal(read_labels(tmp_path, "masks/a/weak.nrrd"), LEFT | RIGHT)
    np.testing.assert_array_equal(read_labels(tmp_path, "masks/a/strong.nrrd"), LEFT)
    assert sorted(case.files) == ["a.nrrd", "masks/a/strong.nrrd", "masks/a/weak.nrrd"]


def test_mask_of_a_class_holds_all_its_targets_also_where_their_windows_overlap(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    near = box(SHAPE, (11, 15), (4, 9), (3, 8))
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | near)
    prompts = write_prompts(tmp_path, ("thing", IN_LEFT), ("thing", [13.0, 6.0, 5.0]))
    predict(make_mixture([member({"thing": 1})]), tmp_path, prompts=prompts, one_file_per_class=True)
    np.testing.assert_array_equal(read_labels(tmp_path, "masks/a/thing.nii.gz") > 0, LEFT | near)


def test_probabilities_are_those_of_the_logits_on_the_grid_of_the_image(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "in" / "a.nii.gz", LEFT, AFFINES["oblique and flipped"])
    mixture = make_mixture([member({"left": 1})], served={"left": 0.25})
    predict(mixture, tmp_path, prompts=write_prompts(tmp_path, ("left", IN_LEFT)), save_probabilities=True)
    made = read_volume(tmp_path / "out" / "probabilities" / "a" / "left.nii.gz")
    np.testing.assert_allclose(made.affine, read_volume(image).affine, atol=1e-6)
    # The stub's logits are 8 inside; its decoder takes a quarter of them.
    assert made.data[LEFT] == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-3)
    assert (made.data[~LEFT] < 0.5).all()


def test_class_that_nobody_answers_has_no_file(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, ("left", IN_LEFT))
    predict(make_mixture([member({"left": 1, "right": 2})]), tmp_path, prompts=prompts, one_file_per_class=True)
    assert [path.name for path in (tmp_path / "out" / "masks" / "a").iterdir()] == ["left.nii.gz"]


def test_classes_whose_names_make_one_file_name_have_two(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    prompts = write_prompts(tmp_path, ("lobe (1)", IN_LEFT), ("Lobe 1", IN_RIGHT))
    mixture = make_mixture([member({"lobe (1)": 1, "Lobe 1": 2})])
    predict(mixture, tmp_path, prompts=prompts, one_file_per_class=True)
    np.testing.assert_array_equal(read_labels(tmp_path, "masks/a/lobe_1.nii.gz") > 0, LEFT)
    np.testing.assert_array_equal(read_labels(tmp_path, "masks/a/Lobe_1_2.nii.gz") > 0, RIGHT)


def test_case_that_fails_while_it_is_written_leaves_nothing(
    make_mixture: MakeMixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    monkeypatch.setattr(CaseFiles, "write_label_map", fail)
    (case,) = predict(make_mixture(), tmp_path, prompts=prompts, one_file_per_class=True).cases
    assert case.error is not None and "no space left" in case.error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "predictions.json"]


def test_case_that_fails_does_not_keep_the_label_map_of_an_earlier_run(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    predict(make_mixture(), tmp_path, prompts=prompts, one_file_per_class=True)
    (tmp_path / "out" / "masks" / "a" / "notes.txt").write_text("not ours")
    image.write_bytes(b"no image")
    predict(make_mixture(), tmp_path, prompts=prompts)
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {"dataset.json", "predictions.json", "notes.txt"}


def test_record_that_names_files_elsewhere_removes_none(tmp_path: Path) -> None:
    for path in (tmp_path / "out" / "a.nii.gz", tmp_path / "other.nii.gz"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_files(tmp_path / "out", ["a.nii.gz", "../other.nii.gz"])
    assert not (tmp_path / "out" / "a.nii.gz").exists()
    assert (tmp_path / "other.nii.gz").exists()


def test_command_writes_masks_and_probabilities_of_a_dicom_series(
    nano_foundation: Foundation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path / "in" / "patient", data=np.where(LEFT, 10, 1), affine=np.eye(4))
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    flags = ["--foundation", str(nano_foundation.folder), "--results", str(tmp_path / "results"), "-device", "cpu"]
    flags += ["--one_file_per_class", "--save_probabilities", "--prompts", str(prompts)]
    assert sammoe_predict(["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *flags]) == 0
    assert "1 of 1 cases written" in capsys.readouterr().out
    mask = read_labels(tmp_path, "masks/patient/target_1.nii.gz")
    np.testing.assert_array_equal(mask, read_labels(tmp_path, "patient.nii.gz"))
    probability = read_labels(tmp_path, "probabilities/patient/target_1.nii.gz")
    # Rounding to float16 may bring what is nearest to 0.5 upon it.
    assert (probability[mask > 0] >= 0.5).all() and (probability[mask == 0] <= 0.5).all()
