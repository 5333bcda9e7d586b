from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sammoe_pipeline.run_stages import duration

STAGE = """
import os, pathlib, time
def main():
    pathlib.Path("stage.part").write_text(str(os.getpid()))
    os.replace("stage.part", "stage.pid")
    time.sleep(120)
"""
WHOLE = """
from sammoe_pipeline import run_stages
run_stages.COMMANDS["long_stage"] = "long_stage:main"
run_stages.run_stage(["long_stage"], {}, whole="test")
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_stage_ends_with_the_command_that_runs_it(tmp_path: Path) -> None:
    (tmp_path / "long_stage.py").write_text(STAGE)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", WHOLE], cwd=tmp_path, env=env) as whole:
        written = tmp_path / "stage.pid"
        _wait(written.is_file)
        stage = psutil.Process(int(written.read_text()))
        whole.send_signal(signal.SIGTERM)
        assert whole.wait(30) == 128 + signal.SIGTERM
        _wait(lambda: not stage.is_running())


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(("seconds", "words"), [(9.6, "10 s"), (60, "1 min 0 s"), (3725, "62 min 5 s")])
def test_durations_are_worded(seconds: float, words: str) -> None:
    assert duration(seconds) == words
