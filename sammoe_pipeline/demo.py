"""The command `sammoe_demo`: every stage on made-up scans, run as a user would run them."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path

from sammoe_pipeline.commands.command import run_command
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
from sammoe_pipeline.run_stages import duration, run_stage, say

DATASET_ID = 901
DATASET_NAME = "Torso"
NUM_CASES = 20
NUM_TEST = 2
SEED = 2026
NUM_FOLDS = 4
FOLD = "0"
EXPERT_THRESHOLD = 0.6
"""What `tiny` does at least this well counts as one of its general skills: experts for the rest fit into minutes."""
EFFORT = 0.6
"""For the same reason experts do not train as long as they usually do."""
FOUNDATION = "tiny"
MIXTURE = "default"
PREDICTIONS = "predictions"


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
        say(f"export {name}={shlex.quote(value)}")
    for stage in _stages(folder):
        run_stage(stage, settings, whole="demo")
    evaluation = Results(root=folder / RESULTS, foundation=FOUNDATION).mixture(MIXTURE) / EVALUATION
    say(f"\nThe table above with pictures: {evaluation / REPORT_HTML}")
    say(f"Label maps of scans that no stage had seen, made without prompts: {folder / PREDICTIONS}")
    say(f"Everything took {duration(time.perf_counter() - began)}.")


def _stages(folder: Path) -> list[list[str]]:
    """Returns the commands, in order."""
    dataset = str(DATASET_ID)
    images = folder / RAW / dataset_folder_name(DATASET_ID, DATASET_NAME) / IMAGES_TS
    phantoms = ["-n", DATASET_NAME, "--num_cases", str(NUM_CASES), "--num_test", str(NUM_TEST), "--seed", str(SEED)]
    wishes = ["--num_folds", str(NUM_FOLDS), "--expert_threshold", str(EXPERT_THRESHOLD), "--effort", str(EFFORT)]
    return [
        ["sammoe_convert_dataset", "phantom_torso", "-d", dataset, *phantoms],
        ["sammoe_plan_and_preprocess", "-d", dataset, *wishes],
        ["sammoe_train_expert", "-d", dataset, "-f", FOLD, "-np", "2"],
        ["sammoe_train_gate", "-d", dataset, "-f", FOLD],
        ["sammoe_predict", "-i", str(images), "-o", str(folder / PREDICTIONS), "-d", dataset],
        ["sammoe_evaluate", "--seeds", "1", "--forgetting", "1"],
    ]
