from __future__ import annotations

import argparse
import errno
import logging
import os
import shlex
from pathlib import Path

import pytest

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_foundation_argument,
    add_workers_argument,
    next_command,
    positive_float,
    run_command,
    same_flags,
)
from sammoe_pipeline.errors import UsageError


def test_a_finished_command_exits_with_zero() -> None:
    assert run_command(lambda: None) == 0


def test_a_users_mistake_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        raise UsageError("-d 1000: dataset IDs go from 1 to 999.")

    assert run_command(body) == 1
    assert capsys.readouterr().err == "error: -d 1000: dataset IDs go from 1 to 999.\n"


def test_an_interrupt_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        raise KeyboardInterrupt

    assert run_command(body) == 130
    assert "same command" in capsys.readouterr().err


def test_a_file_that_the_system_refuses_is_named_with_what_it_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run_command((tmp_path / "file" / "folder").mkdir) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file' / 'folder'}: Not a directory. The same ")


def test_a_full_disk_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert run_command(body, continued_by="--more") == 1
    said = "error: No space left on device. The same command with --more works once that is mended.\n"
    assert capsys.readouterr().err == said


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    def body() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(body)


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan"])
def test_a_length_is_a_finite_number_above_zero(value: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"{value} is no finite number above 0"):
        positive_float(value)


def test_the_pipeline_logs_progress_and_libraries_only_warnings(caplog: pytest.LogCaptureFixture) -> None:
    def body() -> None:
        logging.getLogger("sammoe_pipeline.some_stage").info("reads this")
        logging.getLogger("some_library").info("chatter")

    run_command(body)
    assert caplog.messages == ["reads this"]


def test_folder_flags_default_to_none_so_that_the_environment_decides() -> None:
    parser = argparse.ArgumentParser()
    add_folder_arguments(parser)
    arguments = parser.parse_args(["--results", "r"])
    assert (arguments.raw, arguments.preprocessed, arguments.results) == (None, None, "r")


def test_a_command_offers_only_the_folders_it_touches() -> None:
    parser = argparse.ArgumentParser()
    add_folder_arguments(parser, only=("raw",))
    assert vars(parser.parse_args([])) == {"raw": None}


def test_processes_default_to_the_cores() -> None:
    parser = argparse.ArgumentParser()
    add_workers_argument(parser)
    assert 1 <= parser.parse_args([]).num_processes <= 8
    assert parser.parse_args(["-np", "'3'"]).num_processes == 3


@pytest.mark.parametrize("value", ["0", "-2", "many"])
def test_processes_are_a_number_above_zero(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_workers_argument(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["-np", value])
    assert "argument -np" in capsys.readouterr().err


def test_the_next_step_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    next_command("sammoe_plan_and_preprocess -d 4")
    assert "\n  sammoe_plan_and_preprocess -d 4\n" in capsys.readouterr().out


def test_the_next_step_finds_the_same_foundation_and_folders() -> None:
    parser = argparse.ArgumentParser()
    add_foundation_argument(parser)
    add_folder_arguments(parser)
    given = ["--raw", "/my data", "--results", "r", "--foundation", "it's mine"]
    assert shlex.split(same_flags(parser.parse_args(given))) == [*given[-2:], *given[:-2]]
    assert same_flags(parser.parse_args([])) == ""


def test_the_next_step_is_given_no_flag_that_it_does_not_have() -> None:
    parser = argparse.ArgumentParser()
    add_folder_arguments(parser, only=("raw", "results"))
    arguments = parser.parse_args(["--raw", "data", "--results", "r"])
    assert same_flags(arguments, only=("foundation", "results")) == " --results r"
