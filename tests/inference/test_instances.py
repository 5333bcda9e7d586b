"""Each positive click on a thing of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.inference.wanted import PromptSource
from tests.inference.conftest import (
    IN_LEFT,
    IN_RIGHT,
    LEFT,
    RIGHT,
    BrightThing,
    MakeMixture,
    member,
    predict,
    read_labels,
    write_image,
)


def write_clicks(folder: Path, *clicks: tuple[list[float], bool], class_name: str | None = "thing") -> Path:
    given = [{"position": position, "positive": positive} for position, positive in clicks]
    path = folder / "prompts.json"
    path.write_text(json.dumps({"frame": "voxel", "targets": [{"class_name": class_name, "clicks": given}]}))
    return path


def test_clicks_on_several_things_segment_each(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    clicks = write_clicks(tmp_path, (IN_RIGHT, True), (IN_LEFT, True))
    prompts = PromptSource("file", clicks, instances=True)
    (case,) = predict(make_mixture([member({"thing": 3})]), tmp_path, prompts=prompts, dataset="Dataset007_Boxes").cases
    np.testing.assert_array_equal(read_labels(tmp_path), 3 * (LEFT | RIGHT))
    np.testing.assert_array_equal(read_labels(tmp_path, "instances/a.nii.gz"), 1 * RIGHT + 2 * LEFT)
    (target,) = case.targets
    assert target.instances_ml == pytest.approx({"1": RIGHT.sum() / 1000, "2": LEFT.sum() / 1000})
    assert "instances/a.nii.gz" in case.files


def test_negative_clicks_hold_for_every_thing(
    make_mixture: MakeMixture, bright_thing: BrightThing, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    clicks = write_clicks(tmp_path, ([9.0, 6.0, 5.0], False), (IN_LEFT, True), (IN_RIGHT, True))
    predict(make_mixture(), tmp_path, prompts=PromptSource("file", clicks, instances=True))
    longest = [prompt for prompt in bright_thing.prompts if len(prompt) == 2]
    assert len({prompt[0][0] for prompt in longest}) >= 1
    assert all([label for _, label in prompt] == [1, 0] for prompt in longest)


def test_without_it_all_clicks_are_on_one_thing(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT)
    (case,) = predict(make_mixture(), tmp_path, prompts=write_clicks(tmp_path, (IN_LEFT, True), class_name=None)).cases
    assert case.files == ("a.nii.gz",) and case.targets[0].instances_ml == {}


def test_it_needs_clicks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sammoe_predict(["-i", str(tmp_path), "-o", str(tmp_path / "out"), "--instances"]) == 1
    assert "--instances: it says what the clicks of --prompts are on" in capsys.readouterr().err
