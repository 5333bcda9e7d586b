"""The demo's plumbing; the stages themselves are tested where they live."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from sammoe_pipeline import demo
from sammoe_pipeline.errors import SammoeError
from sammoe_pipeline.run_stages import run_stage


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Command lines and environments of the processes that would have run; the third one fails."""
    seen: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        seen.append((command, env))
        return subprocess.CompletedProcess(command, returncode=3 if len(seen) == 3 else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_it_stops_at_the_command_that_fails(
    calls: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--folder", str(tmp_path)]) == 1
    assert len(calls) == 3
    assert "exit code 3: sammoe_train_expert -d 901" in capsys.readouterr().err


def test_each_command_is_shown_before_it_runs(
    calls: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.main(["--folder", str(tmp_path)])
    out = capsys.readouterr().out
    assert "$ sammoe_convert_dataset phantom_torso -d 901" in out
    assert f"export sammoe_raw={tmp_path}/sammoe_raw" in out


def test_stages_work_in_the_demo_folder_alone(
    calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("sammoe_results", "elsewhere")
    demo.main(["--folder", str(tmp_path)])
    assert {env["sammoe_results"] for _, env in calls} == {str(tmp_path / "sammoe_results")}


def test_a_failing_process_is_noticed() -> None:
    with pytest.raises(SammoeError, match="exit code 1: sammoe_convert_dataset nonsense"):
        run_stage(["sammoe_convert_dataset", "nonsense"], {}, whole="demo")
