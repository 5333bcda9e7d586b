"""Another tool's label maps say where to click."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import Volume, write_volume
from sammoe_pipeline.inference.wanted import PromptSource
from tests.inference.conftest import LEFT, RIGHT, MakeMixture, member, predict, read_labels, write_image

CORE = np.zeros(LEFT.shape, dtype=np.bool_)
CORE[4:8, 5:8, 4:7] = True


def write_mask(
    folder: Path,
    data: NDArray[Any],
    labels: Mapping[str, object],
    *,
    affine: NDArray[np.float64] | None = None,
    name: str = "a.nii.gz",
) -> PromptSource:
    write_volume(folder / name, Volume(data=data.astype(np.uint8), affine=np.eye(4) if affine is None else affine))
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return PromptSource("mask", folder)


def test_coarse_masks_become_those_of_the_mixture(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    masks = write_mask(tmp_path / "coarse", 3 * CORE + 5 * RIGHT, {"background": 0, "right": [5, 6], "left": 3})
    (case,) = predict(make_mixture([member({"left": 1, "right": 2})]), tmp_path, prompts=masks).cases
    np.testing.assert_array_equal(read_labels(tmp_path), 1 * LEFT + 2 * RIGHT)
    assert [target.prompt for target in case.targets] == ["mask", "mask"]
    (left,) = case.targets[0].clicks_voxel
    assert CORE[tuple(int(value) for value in left)]


def test_a_class_of_components_is_clicked_on_in_each(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    masks = write_mask(tmp_path / "coarse", CORE | RIGHT, {"thing": 1})
    predict(make_mixture([member({"thing": 1}, components=["thing"])]), tmp_path, prompts=masks)
    np.testing.assert_array_equal(read_labels(tmp_path), LEFT | RIGHT)


def test_a_mask_may_lie_on_a_grid_of_its_own(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [28.0, 0.5, 0.5]
    coarse = RIGHT[28::-2, ::2, ::2]
    masks = write_mask(tmp_path / "coarse", coarse, {"right": 1}, affine=affine)
    predict(make_mixture([member({"right": 1})]), tmp_path, prompts=masks)
    np.testing.assert_array_equal(read_labels(tmp_path), RIGHT)


def test_what_the_mask_lacks_or_has_elsewhere_is_said(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    away = np.eye(4)
    away[:3, 3] = 500.0
    masks = write_mask(tmp_path / "coarse", CORE, {"left": 1, "right": 2}, affine=away)
    (case,) = predict(make_mixture([member({"left": 1, "right": 2})]), tmp_path, prompts=masks).cases
    assert [target.warnings for target in case.targets] == [
        ("1 of 1 parts of the mask lie outside the image",),
        ("not in the mask",),
    ]
    assert not read_labels(tmp_path).any()


def test_a_case_without_a_mask_fails_alone(make_mixture: MakeMixture, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    masks = write_mask(tmp_path / "coarse", CORE, {"left": 1})
    with_mask, without = predict(make_mixture([member({"left": 1})]), tmp_path, prompts=masks).cases
    assert with_mask.error is None
    assert without.error is not None and "there is no b.nii.gz" in without.error


@pytest.mark.parametrize("content", [None, "{", "{}", '{"labels": {"left": "one"}}'])
def test_masks_whose_values_nobody_explains_are_refused(
    content: str | None, make_mixture: MakeMixture, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    masks = write_mask(tmp_path / "coarse", CORE, {"left": 1})
    description = tmp_path / "coarse" / "dataset.json"
    description.unlink() if content is None else description.write_text(content)
    with pytest.raises(UsageError, match="does not say what the values mean"):
        predict(make_mixture([member({"left": 1})]), tmp_path, prompts=masks)
    assert not (tmp_path / "out").exists()


def test_masks_of_other_classes_are_refused(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    masks = write_mask(tmp_path / "coarse", CORE, {"Links": 1})
    with pytest.raises(UsageError, match="it names Links, and the mixture left"):
        predict(make_mixture([member({"left": 1})]), tmp_path, prompts=masks)
