from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from sammoe_pipeline.commands.evaluate import main as sammoe_evaluate
from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.commands.shared import command_parser, fold_numbers, given_folders
from sammoe_pipeline.errors import UsageError


def test_help_ends_with_an_example() -> None:
    text = command_parser("sammoe_x", "Does x.", "sammoe_x -d 4").format_help()
    assert text.startswith("usage: sammoe_x ")
    assert text.endswith("example: sammoe_x -d 4\n")


@pytest.mark.parametrize(("given", "folds"), [(["all"], None), (["1", "0", "1"], [0, 1]), (["10"], [10])])
def test_folds_are_all_or_numbers(given: list[str], folds: list[int] | None) -> None:
    assert fold_numbers(given) == folds


@pytest.mark.parametrize("given", [["first"], ["all", "1"], ["-1"], ["1.5"]])
def test_folds_that_are_no_numbers_are_refused(given: list[str]) -> None:
    with pytest.raises(UsageError, match=f"-f {' '.join(given)}: give fold numbers such as 0 1, or all"):
        fold_numbers(given)


def test_folders_without_a_flag_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("sammoe_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("sammoe_preprocessed", str(tmp_path / "preprocessed"))
    folders = given_folders(argparse.Namespace(results=str(tmp_path / "results")))
    assert folders.raw == tmp_path / "raw"
    assert folders.preprocessed == tmp_path / "preprocessed"
    assert folders.results == tmp_path / "results"


@pytest.mark.parametrize(("run", "given"), [(sammoe_predict, ["-i", ".", "-o", "out"]), (sammoe_evaluate, [])])
def test_commands_refuse_what_the_device_cannot_do(
    run: Callable[[list[str]], int], given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*given, "-device", "cpu", "--precision", "float16", f"--results={tmp_path}"]) == 1
    assert "--precision float16: it needs a card" in capsys.readouterr().err
