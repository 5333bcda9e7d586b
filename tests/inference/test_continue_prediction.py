"""A prediction that was stopped, failed in places, or is shared out among machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.encoder_options import EncoderOptions
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.predictions import PredictedCase, Predictions
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
    write_prompts,
)

Command = Callable[..., int]


@pytest.fixture
def command(nano_foundation: Foundation, tmp_path: Path) -> Command:
    """Returns a function that runs `sammoe_predict` on a folder's `in` with one click, and further flags."""
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    flags = ["--foundation", str(nano_foundation.folder), "--results", str(tmp_path / "results"), "-device", "cpu"]
    given = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--prompts", str(prompts)]
    return lambda *more: sammoe_predict([*given, *flags, *more])


def _record(folder: Path, name: str = "predictions.json") -> Predictions:
    return Predictions.load(folder / "out" / name)


def _written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.nii.gz")}


def test_failure_is_said_when_it_happens_and_again_at_the_end(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "c"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no image")
    assert command() == 1
    said = [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"]
    assert len(said) == 1 and said[0].startswith("b failed: ") and "b.nii.gz" in said[0]
    shown = capsys.readouterr()
    assert "2 of 3 cases written" in shown.out
    assert "These cases failed:\n  - b: " in shown.err
    assert set(_written(tmp_path)) == {"a.nii.gz", "c.nii.gz"}


def test_fault_of_the_program_in_one_case_does_not_stop_the_others(
    make_mixture: MakeMixture, bright_thing: BrightThing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    encode, calls = bright_thing.encode, []

    def fails_first(image: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("unforeseen")
        return encode(image)

    monkeypatch.setattr(bright_thing, "encode", fails_first)
    first, second = predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT))).cases
    assert first.error is not None and "RuntimeError: unforeseen" in first.error and "report it" in first.error
    assert second.error is None


def test_command_continues_with_what_is_missing(command: Command, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    image = (tmp_path / "in" / "b.nii.gz").read_bytes()
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no image")
    assert command() == 1
    (tmp_path / "in" / "b.nii.gz").write_bytes(image)
    (tmp_path / "out" / "c.nii.gz").unlink()
    before = _written(tmp_path)
    assert command("--continue_prediction") == 0
    after = _written(tmp_path)
    assert set(after) == {"a.nii.gz", "b.nii.gz", "c.nii.gz"}
    assert after["a.nii.gz"] == before["a.nii.gz"]
    assert [(case.case, case.error) for case in _record(tmp_path).cases] == [("a", None), ("b", None), ("c", None)]


def test_folders_that_prediction_does_not_use_are_not_made(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("sammoe_home", "sammoe_raw", "sammoe_preprocessed", "sammoe_results", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    assert command() == 0
    assert not (tmp_path / "home").exists()


def test_without_the_flag_every_case_is_predicted_again(command: Command, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    assert command() == 0
    before = _written(tmp_path)
    assert command() == 0
    assert _written(tmp_path)["a.nii.gz"] > before["a.nii.gz"]


def test_record_holds_every_finished_case_when_the_process_is_stopped(
    make_mixture: MakeMixture, bright_thing: BrightThing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    encode = bright_thing.encode

    def stops(image: torch.Tensor) -> torch.Tensor:
        if bright_thing.encoded:
            raise KeyboardInterrupt
        return encode(image)

    monkeypatch.setattr(bright_thing, "encode", stops)
    with pytest.raises(KeyboardInterrupt):
        predict(make_mixture(), tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT)))
    assert [case.case for case in _record(tmp_path).cases] == ["a"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"save_probabilities": True}, "save_probabilities was False, and is True now"),
        ({"one_file_per_class": True}, "one_file_per_class"),
        ({"dataset": "Dataset007_Boxes"}, "dataset was None, and is Dataset007_Boxes now"),
    ],
)
def test_other_options_are_a_contradiction(
    make_mixture: MakeMixture, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, ("left", IN_LEFT))
    mixture = make_mixture([member({"left": 1})])
    predict(mixture, tmp_path, prompts=prompts)
    with pytest.raises(UsageError, match=named):
        predict(mixture, tmp_path, prompts=prompts, resume=True, **changes)


def test_another_mixture_and_another_precision_are_a_contradiction(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, ("left", IN_LEFT))
    predict(make_mixture([member({"left": 1})]), tmp_path, prompts=prompts)
    other = make_mixture([member({"left": 1, "right": 2})])
    other.encoder = EncoderOptions(precision="bfloat16")
    with pytest.raises(UsageError, match=r"(?s)mixture_sha256 was .*precision was float32, and is bfloat16 now"):
        predict(other, tmp_path, prompts=prompts, resume=True)


def test_other_prompts_of_a_finished_case_are_a_contradiction(make_mixture: MakeMixture, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT | RIGHT)
    folder = tmp_path / "prompts"
    folder.mkdir()
    write_prompts(tmp_path, (None, IN_LEFT)).rename(folder / "a.json")
    predict(make_mixture(), tmp_path, prompts=folder)
    # The case that failed for want of prompts may be given some.
    write_prompts(tmp_path, (None, IN_RIGHT)).rename(folder / "b.json")
    cases = predict(make_mixture(), tmp_path, prompts=folder, resume=True).cases
    assert [case.error for case in cases] == [None, None]
    write_prompts(tmp_path, (None, IN_RIGHT)).rename(folder / "a.json")
    with pytest.raises(UsageError, match="other prompts than they have now: a"):
        predict(make_mixture(), tmp_path, prompts=folder, resume=True)


def test_broken_record_is_named_where_a_prediction_is_continued_and_replaced_otherwise(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"(?s)predictions\.json.*Give another folder"):
        predict(make_mixture(), tmp_path, prompts=prompts, resume=True)
    predict(make_mixture(), tmp_path, prompts=prompts)
    assert [case.case for case in _record(tmp_path).cases] == ["a"]


def test_commands_of_two_parts_share_the_cases_and_keep_a_record_each(command: Command, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    assert command("-num_parts", "2", "-part_id", "1") == 0
    assert set(_written(tmp_path)) == {"b.nii.gz"}
    assert command("-num_parts", "2", "-part_id", "0") == 0
    assert set(_written(tmp_path)) == {"a.nii.gz", "b.nii.gz", "c.nii.gz"}
    parts = [_record(tmp_path, f"predictions_part_{part}_of_2.json") for part in (0, 1)]
    assert [[case.case for case in part.cases] for part in parts] == [["a", "c"], ["b"]]
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_parts_are_continued_as_one(make_mixture: MakeMixture, bright_thing: BrightThing, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    for part in (0, 1):
        predict(make_mixture(), tmp_path, prompts=prompts, num_parts=2, part_id=part)
    encoded = bright_thing.encoded
    whole = predict(make_mixture(), tmp_path, prompts=prompts, resume=True)
    assert [case.case for case in whole.cases] == ["a", "b"] and bright_thing.encoded == encoded


def test_whole_prediction_takes_the_place_of_its_parts(make_mixture: MakeMixture, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT | RIGHT)
    for part in (0, 1):
        prompts = write_prompts(tmp_path, (None, IN_LEFT))
        predict(make_mixture(), tmp_path, prompts=prompts, num_parts=2, part_id=part)
    prompts = write_prompts(tmp_path, (None, IN_RIGHT))
    predict(make_mixture(), tmp_path, prompts=prompts)
    assert [path.name for path in sorted((tmp_path / "out").glob("predictions*"))] == ["predictions.json"]
    predict(make_mixture(), tmp_path, prompts=prompts, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_other_cases_of_the_folder_keep_their_record(make_mixture: MakeMixture, tmp_path: Path, resume: bool) -> None:
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    for name in ("b", "a"):
        write_image(tmp_path / name / f"{name}.nii.gz", LEFT)
        done = predict(make_mixture(), tmp_path, source=tmp_path / name, prompts=prompts, resume=resume)
        assert [case.case for case in done.cases] == [name]
    assert [case.case for case in _record(tmp_path).cases] == ["b", "a"]


def test_cases_made_in_another_way_are_not_mixed_in(make_mixture: MakeMixture, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    for name in ("a", "b"):
        write_image(tmp_path / name / f"{name}.nii.gz", LEFT)
    predict(make_mixture([member({"left": 1})]), tmp_path, source=tmp_path / "a", prompts=prompts)
    with pytest.raises(UsageError, match=r"predictions\.json were made in another way"):
        predict(make_mixture([member({"right": 7})]), tmp_path, source=tmp_path / "b", prompts=prompts)


def test_part_of_another_prediction_is_refused(make_mixture: MakeMixture, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT)
    prompts = write_prompts(tmp_path, (None, IN_LEFT))
    predict(make_mixture(), tmp_path, prompts=prompts, num_parts=2, part_id=0)
    with pytest.raises(UsageError, match=r"predictions_part_0_of_2\.json were made in another way"):
        predict(make_mixture(), tmp_path, prompts=prompts, num_parts=2, part_id=1, one_file_per_class=True)


def test_targets_that_stand_for_themselves_have_one_value_in_all_parts(
    make_mixture: MakeMixture, tmp_path: Path
) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    for name, targets in (("a", ["liver"]), ("b", ["spleen", "liver"])):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT | RIGHT)
        clicks = [(target, IN_LEFT if target == "liver" else IN_RIGHT) for target in targets]
        write_prompts(tmp_path, *clicks).rename(folder / f"{name}.json")
    for part in (1, 0):
        labels = predict(make_mixture(), tmp_path, prompts=folder, num_parts=2, part_id=part).labels
        assert labels == {"background": 0, "liver": 1, "spleen": 2}
    np.testing.assert_array_equal(read_labels(tmp_path, "b.nii.gz"), 1 * LEFT + 2 * RIGHT)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"] == labels


def test_value_that_a_part_has_given_out_is_kept_when_prompts_change(make_mixture: MakeMixture, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.nii.gz", LEFT | RIGHT)
    prompts = write_prompts(tmp_path, ("liver", IN_LEFT))
    predict(make_mixture(), tmp_path, prompts=prompts, num_parts=2, part_id=0)
    prompts = write_prompts(tmp_path, ("spleen", IN_RIGHT), ("liver", IN_LEFT))
    labels = predict(make_mixture(), tmp_path, prompts=prompts, num_parts=2, part_id=1).labels
    assert labels == {"background": 0, "liver": 1, "spleen": 2}


def _predict_on_card(
    make_mixture: MakeMixture,
    bright_thing: BrightThing,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    encode: Callable[[torch.Tensor], torch.Tensor],
    move: Callable[[str], None],
) -> PredictedCase:
    """Predicts the one image of a folder as if on a card, with other ways to encode and to move to a device."""
    mixture = make_mixture()
    monkeypatch.setattr(bright_thing, "encode", encode)
    monkeypatch.setattr(mixture, "to", lambda device: move(str(device)))
    monkeypatch.setattr(type(mixture), "device", torch.device("cuda"))
    (case,) = predict(mixture, folder, prompts=write_prompts(folder, (None, IN_LEFT))).cases
    return case


@pytest.mark.parametrize(
    ("shortages", "device", "moves"), [(1, "cuda", []), (2, "cpu", ["cpu", "cuda"])], ids=["smaller", "processor"]
)
def test_case_for_which_the_memory_of_the_card_does_not_do_is_repeated(
    shortages: int,
    device: str,
    moves: list[str],
    make_mixture: MakeMixture,
    bright_thing: BrightThing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    encode, calls = bright_thing.encode, []

    def runs_out_at_first(image: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) <= shortages:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return encode(image)

    moved = list[str]()
    case = _predict_on_card(make_mixture, bright_thing, tmp_path, monkeypatch, runs_out_at_first, moved.append)
    assert (case.error, case.device, moved) == (None, device, moves)
    assert [warning.partition(" (")[0] for warning in case.warnings] == [
        "the card's memory ran out",
        "the card's memory ran out again",
    ][:shortages]
    assert all(f"a: {warning}" in caplog.messages for warning in case.warnings)
    np.testing.assert_array_equal(read_labels(tmp_path) > 0, LEFT)


def test_card_that_is_full_when_it_is_returned_to_costs_no_answer(
    make_mixture: MakeMixture,
    bright_thing: BrightThing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    encode, moved = bright_thing.encode, list[str]()

    def runs_out_on_the_card(image: torch.Tensor) -> torch.Tensor:
        if "cpu" not in moved:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return encode(image)

    def move(device: str) -> None:
        moved.append(device)
        if device == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    case = _predict_on_card(make_mixture, bright_thing, tmp_path, monkeypatch, runs_out_on_the_card, move)
    assert (case.error, moved) == (None, ["cpu", "cuda", "cpu"])
    assert "later cases are segmented on the processor" in caplog.text


def test_precision_that_a_processor_lacks_is_the_reason_why_a_case_fails(
    make_mixture: MakeMixture, bright_thing: BrightThing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs_out(image: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    write_image(tmp_path / "in" / "a.nii.gz", LEFT)
    monkeypatch.setattr(bright_thing, "encode", runs_out)
    mixture = make_mixture()
    mixture.encoder = EncoderOptions(precision="float16")
    (case,) = predict(mixture, tmp_path, prompts=write_prompts(tmp_path, (None, IN_LEFT))).cases
    assert case.error is not None and "memory ran out" in case.error
    assert "--precision float16: it needs a card" in case.error
