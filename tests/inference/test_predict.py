import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.inference.wanted import PromptSource
from tests.inference.conftest import (
    DATASET,
    IN_LEFT,
    IN_RIGHT,
    LEFT,
    RIGHT,
    FixedGate,
    MakeMixture,
    member,
    predict,
    read_labels,
    write_image,
    write_prompts,
)

OBLIQUE = np.array(
    [[-0.8, 0.6, 0.0, 11.0], [-0.6, -0.8, 0.0, -4.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]], dtype=np.float64
)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0]), OBLIQUE])
def test_label_map_lies_on_the_grid_of_the_image(
    make_mixture: MakeMixture, tmp_path: Path, affine: NDArray[np.float64]
) -> None:
    image = write_image(tmp_path / "in" / "a_0000.nii.gz", LEFT, affine)
    predictions = predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT)))
    written = read_volume(tmp_path / "out" / "a.nii.gz")
    np.testing.assert_allclose(written.affine, read_volume(image).affine, atol=1e-6)
    assert set(np.unique(written.data)) == {0, 1}
    # At 2 mm along z the mask comes back interpolated: right but for its border.
    both = (written.data > 0) & LEFT
    assert 2 * both.sum() / ((written.data > 0).sum() + LEFT.sum()) > (0.99 if affine[2, 2] == 1 else 0.85)
    (target,) = predictions.cases[0].targets
    assert target.clicks_voxel[0] == pytest.approx(IN_LEFT, abs=1e-4)
    assert target.volume_ml == pytest.approx((written.data > 0).sum() * abs(np.linalg.det(affine)) / 1000)


def test_higher_logit_wins_a_voxel_whatever_the_order_of_classes(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, ("weak", IN_LEFT), ("strong", IN_LEFT))
    for names in (("weak", "strong"), ("strong", "weak")):
        entry = member({name: number for number, name in enumerate(names, start=1)})
        mixture = make_mixture([entry], served={"weak": 1.0, "strong": 2.0})
        predictions = predict(mixture, tmp_path, prompts=prompts)
        assert set(np.unique(read_labels(tmp_path))) == {0, predictions.labels["strong"]}
        weak = next(target for target in predictions.cases[0].targets if target.name == "weak")
        assert any("other classes took all of it" in warning for warning in weak.warnings)


def test_nested_regions_are_written_one_over_another(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    prompts = write_prompts(tmp_path, ("core", IN_LEFT), ("whole", IN_LEFT), ("whole", IN_RIGHT))
    mixture = make_mixture([member({"whole": 1, "core": 2}, nested=True)], served={"whole": 2.0, "core": 1.0})
    predict(mixture, tmp_path, prompts=prompts)
    np.testing.assert_array_equal(read_labels(tmp_path), 2 * LEFT + 1 * RIGHT)


def test_output_for_one_dataset_has_its_values_in_a_type_that_holds_them(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    for values, dtype in (({"left": 7, "right": 200}, np.uint8), ({"left": 7, "right": 300}, np.uint16)):
        prompts = write_prompts(tmp_path, ("left", IN_LEFT), ("right", IN_RIGHT))
        predictions = predict(make_mixture([member(values)]), tmp_path, dataset=DATASET, prompts=prompts)
        labels = read_labels(tmp_path)
        assert labels.dtype == dtype
        np.testing.assert_array_equal(labels, values["left"] * LEFT + values["right"] * RIGHT)
        assert predictions.labels == {"background": 0, **values}
        assert json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"] == predictions.labels


def test_classes_of_all_datasets_get_the_mixtures_values_and_unique_names(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    other = "Dataset008_Others"
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    mixture = make_mixture([member({"left": 5, "thing": 6}), member({"thing": 5}, name=other)])
    prompts = write_prompts(tmp_path, ("left", IN_LEFT), (f"{other}:thing", IN_RIGHT))
    predictions = predict(mixture, tmp_path, prompts=prompts)
    assert predictions.labels == {"background": 0, "left": 1, f"{DATASET}:thing": 2, f"{other}:thing": 3}
    np.testing.assert_array_equal(read_labels(tmp_path), 1 * LEFT + 3 * RIGHT)


def test_free_standing_targets_get_new_values(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    prompts = write_prompts(tmp_path, ("left", IN_LEFT), (None, IN_RIGHT))
    predictions = predict(make_mixture([member({"left": 1})]), tmp_path, prompts=prompts)
    assert predictions.labels == {"background": 0, "left": 1, "target_2": 2}
    np.testing.assert_array_equal(read_labels(tmp_path), 1 * LEFT + 2 * RIGHT)


def test_unknown_class_in_a_prompt_fails_the_case_with_the_nearest_name(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, ("lefft", IN_LEFT))
    (case,) = predict(make_mixture([member({"left": 1})]), tmp_path, prompts=prompts).cases
    assert case.error is not None and "Did you mean 'left'?" in case.error
    assert not (tmp_path / "out" / "a.nii.gz").exists()


def test_each_image_has_its_own_prompts_in_a_folder_of_them(make_mixture: MakeMixture, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT | RIGHT)
    folder = tmp_path / "prompts"
    folder.mkdir()
    write_prompts(tmp_path, (None, IN_LEFT)).rename(folder / "a.json")
    markup = {"coordinateSystem": "RAS", "controlPoints": [{"label": "F-1", "position": IN_RIGHT}]}
    (folder / "b.mrk.json").write_text(json.dumps({"markups": [markup]}))
    predictions = predict(make_mixture(), tmp_path, prompts=folder)
    np.testing.assert_array_equal(read_labels(tmp_path, "a.nii.gz") > 0, LEFT)
    np.testing.assert_array_equal(read_labels(tmp_path, "b.nii.gz") > 0, RIGHT)
    error = predictions.cases[2].error
    assert error is not None and "neither c.json nor c.mrk.json" in error


def _on_bright(embedding: Tensor, places: Tensor) -> Tensor:
    """Locates a first class where the image is bright, a second hardly anywhere."""
    bright = torch.where(embedding > 0, 4.0, -4.0)
    return torch.cat([bright, torch.full_like(bright, -1.0)], dim=1)


def test_locator_prompts_where_nobody_does_and_what_it_does_not_find_is_absent(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    predictions = predict(make_mixture([member({"bright": 1, "absent": 2})], locator=_on_bright), tmp_path)
    np.testing.assert_array_equal(read_labels(tmp_path), 1 * LEFT)
    bright, absent = predictions.cases[0].targets
    assert (bright.prompt, bright.chosen, bright.warnings) == ("locator", "general", ())
    assert absent.chosen == "none" and absent.clicks_voxel == () and absent.volume_ml == 0
    assert "not found (peak 0.27 below 0.50)" in absent.warnings


@pytest.mark.parametrize(("components", "expected"), [(["bright"], LEFT | RIGHT), ([], LEFT)])
def test_locator_prompts_every_component_of_a_class_of_components(
    make_mixture: MakeMixture, tmp_path: Path, components: list[str], expected: NDArray[np.bool_]
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    entry = member({"bright": 1, "absent": 2}, components=components)
    predict(make_mixture([entry], locator=_on_bright), tmp_path)
    np.testing.assert_array_equal(read_labels(tmp_path) > 0, expected)


def test_class_whose_located_prompt_the_gate_refuses_is_left_out(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    settings = {"served": {"bright": 1.0}, "gate": FixedGate(0.9, 0.1), "locator": _on_bright}
    mixture = make_mixture([member({"bright": 1, "absent": 2})], **settings)
    target = predict(mixture, tmp_path).cases[0].targets[0]
    assert target.chosen == "none" and any("gate refused" in warning for warning in target.warnings)
    assert not read_labels(tmp_path).any()


def test_click_that_the_gate_refuses_is_answered_by_the_general_expert(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    mixture = make_mixture([member({"left": 1})], served={"left": 1.0}, gate=FixedGate(0.9, 0.1))
    target = predict(mixture, tmp_path, prompts=write_prompts(tmp_path, ("left", IN_LEFT))).cases[0].targets[0]
    assert target.chosen == "general"
    assert target.confidences == pytest.approx({"general": 0.9, expert_key(DATASET, "left"): 0.1})
    np.testing.assert_array_equal(read_labels(tmp_path) > 0, LEFT)


def test_locator_does_not_look_through_images_of_another_kind(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    small = member({"bright": 1, "absent": 2}).model_copy(update={"locator_longest_mm": 5.0})
    targets = predict(make_mixture([small], locator=_on_bright), tmp_path).cases[0].targets
    assert {target.chosen for target in targets} == {"none"}
    assert all("knows images of up to 5 mm" in target.warnings[0] for target in targets)


def test_classes_that_no_locator_looks_for_are_listed(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    entries = [member({"bright": 1, "absent": 2}), member({"other": 1}, name="Dataset008_Others", located=False)]
    assert predict(make_mixture(entries, locator=_on_bright), tmp_path).not_attempted == ("other",)


def test_nothing_that_says_where_to_look_is_an_error(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    with pytest.raises(UsageError, match="--prompts"):
        predict(make_mixture([member({"left": 1})]), tmp_path)


def test_unreadable_image_is_reported_and_the_others_go_on(
    nano_foundation: Foundation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "c"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no image")
    flags = ["--foundation", str(nano_foundation.folder), "--results", str(tmp_path / "results"), "-device", "cpu"]
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    code = sammoe_predict(["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--prompts", str(prompts), *flags])
    assert code == 1
    shown = capsys.readouterr()
    assert "b: " in shown.err and "b.nii.gz" in shown.err
    assert "2 of 3 cases" in shown.out
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
    cases = json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"]
    assert [case["error"] is None for case in cases] == [True, False, True]


def test_channels_of_a_case_are_read_together(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a_0000.nii.gz", LEFT)
    write_image(tmp_path / "in" / "a_0001.nii.gz", RIGHT)
    prompts = write_prompts(tmp_path, ("second", IN_RIGHT))
    entry = member({"second": 1})
    second = entry.configurations["second"].model_copy(update={"channel": 1})
    entry = entry.model_copy(update={"configurations": {"second": second}})
    predict(make_mixture([entry]), tmp_path, prompts=prompts)
    np.testing.assert_array_equal(read_labels(tmp_path) > 0, RIGHT)


@pytest.mark.parametrize("names", [["a_0001"], ["a_0000", "a_0002"], ["a", "a_0000"]])
def test_case_without_all_its_channels_fails_and_the_others_go_on(
    make_mixture: MakeMixture, tmp_path: Path, names: list[str]
) -> None:
    for name in (*names, "b_0000"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    first, second = predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT))).cases
    assert first.error is not None and f"{names[-1]}.nii.gz" in first.error and "a_0000" in first.error
    assert second.error is None
    assert not (tmp_path / "out" / "a.nii.gz").exists()


def test_label_maps_do_not_go_where_the_images_are(make_mixture: MakeMixture, tmp_path: Path) -> None:
    image = write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    content = image.read_bytes()
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    for source in (tmp_path / "in", image):
        with pytest.raises(UsageError, match="folder of the images"):
            predict(make_mixture(), tmp_path, source=source, target=tmp_path / "in", prompts=prompts)
    assert image.read_bytes() == content


def test_label_maps_do_not_go_where_the_masks_are_that_prompt(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    mask = write_image(tmp_path / "masks" / "a.nii.gz", LEFT)
    before = mask.read_bytes()
    prompts = PromptSource("mask", tmp_path / "masks")
    with pytest.raises(UsageError, match="folder of the masks that prompt"):
        predict(make_mixture([member({"left": 1})]), tmp_path, target=tmp_path / "masks", prompts=prompts)
    assert mask.read_bytes() == before


@pytest.mark.parametrize("name", ["dataset.json", "a.nii.gz"])
def test_files_that_no_prediction_has_written_stay(make_mixture: MakeMixture, tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "in" / "a_0000.nii.gz", LEFT)
    theirs = tmp_path / "out" / name
    theirs.parent.mkdir()
    theirs.write_text("{}")
    with pytest.raises(UsageError, match=rf"{name} would be overwritten, and no record"):
        predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT)))
    assert [path.name for path in theirs.parent.iterdir()] == [name] and theirs.read_text() == "{}"
