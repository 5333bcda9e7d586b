"""The command `sammoe_demo`: every stage on made-up scans, run as a user would run them."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from sammoe_pipeline.command import run_command
from sammoe_pipeline.errors import SammoeError
from sammoe_pipeline.paths import (
    EVALUATION,
    IMAGES_TS,
    PREPROCESSED,
    RAW,
    REPORT_HTML,
    RESULTS,
    Results,
    dataset_folder_name,
)

DATASET_ID = 901
DATASET_NAME = "Torso"
NUM_CASES = 20
NUM_TEST = 2
SEED = 2026
NUM_FOLDS = 4
FOLD = "0"
EXPERT_THRESHOLD = 0.6
"""What `tiny` does at least this well counts as one of its general skills: experts for the rest fit into minutes."""
FOUNDATION = "tiny"
MIXTURE = "default"
PREDICTIONS = "predictions"

COMMANDS = {
    "sammoe_convert_dataset": "dataset_conversion.cli:main",
    "sammoe_plan_and_preprocess": "planning.cli:main",
    "sammoe_train_expert": "sammoe_pipeline.cli:train_expert",
    "sammoe_train_gate": "sammoe_pipeline.cli:train_gate",
    "sammoe_predict": "sammoe_pipeline.cli:predict",
    "sammoe_evaluate": "sammoe_pipeline.cli:evaluate",
}
"""Function behind each command. They run as processes of their own, so the core imports no other package."""


def main(argv: list[str] | None = None) -> int:
    """`sammoe_demo`: runs all stages and shows what they found.

    Returns:
        The exit code: 0 when done, 1 when a stage failed.
    """
    parser = argparse.ArgumentParser(
        prog="sammoe_demo",
        description="Make scans of phantoms, train experts and a gate on them, predict, and compare: every stage, in "
        "minutes on two CPU cores. Each command is printed before it runs. Run again, it goes on where it stopped.",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("sammoe_demo"), metavar="DIR", help="where to work (default: ./sammoe_demo)"
    )
    arguments = parser.parse_args(argv)
    return run_command(lambda: _run(arguments.folder))


def _run(folder: Path) -> None:
    from sammoe_pipeline.foundations import DEFAULT_VARIABLE

    began = time.perf_counter()
    settings = {name: str(folder / name) for name in (RAW, PREPROCESSED, RESULTS)} | {DEFAULT_VARIABLE: FOUNDATION}
    for name, value in settings.items():
        _say(f"export {name}={shlex.quote(value)}")
    for stage in _stages(folder):
        _run_stage(stage, settings)
    evaluation = Results(root=folder / RESULTS, foundation=FOUNDATION).mixture(MIXTURE) / EVALUATION
    _say(f"\nThe table above with pictures: {evaluation / REPORT_HTML}")
    _say(f"Label maps of scans that no stage had seen, made without prompts: {folder / PREDICTIONS}")
    _say(f"Everything took {_duration(time.perf_counter() - began)}.")


def _stages(folder: Path) -> list[list[str]]:
    """Returns the commands, in order."""
    dataset = str(DATASET_ID)
    images = folder / RAW / dataset_folder_name(DATASET_ID, DATASET_NAME) / IMAGES_TS
    phantoms = ["-n", DATASET_NAME, "--num_cases", str(NUM_CASES), "--num_test", str(NUM_TEST), "--seed", str(SEED)]
    threshold = ["--expert_threshold", str(EXPERT_THRESHOLD)]
    return [
        ["sammoe_convert_dataset", "phantom_torso", "-d", dataset, *phantoms],
        ["sammoe_plan_and_preprocess", "-d", dataset, "--num_folds", str(NUM_FOLDS), *threshold],
        ["sammoe_train_expert", "-d", dataset, "-f", FOLD, "-np", "2"],
        ["sammoe_train_gate", "-d", dataset, "-f", FOLD],
        ["sammoe_predict", "-i", str(images), "-o", str(folder / PREDICTIONS), "-d", dataset],
        ["sammoe_evaluate", "--seeds", "1", "--forgetting"],
    ]


def _run_stage(stage: list[str], settings: dict[str, str]) -> None:
    """Runs one command in a process of its own.

    Raises:
        SammoeError: it failed.
    """
    began = time.perf_counter()
    _say(f"\n$ {shlex.join(stage)}")
    module, function = COMMANDS[stage[0]].split(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    done = subprocess.run([sys.executable, "-c", code, *stage[1:]], env={**os.environ, **settings}, check=False)
    if done.returncode:
        raise SammoeError(
            f"the demo stopped at this command, which ended with exit code {done.returncode}: {shlex.join(stage)}. "
            f"It says why above. Run the demo again to go on from here."
        )
    _say(f"({_duration(time.perf_counter() - began)})")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _say(text: str) -> None:
    """Prints at once, so that lines stay in order with those of the commands."""
    print(text, flush=True)
