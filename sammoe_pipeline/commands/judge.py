"""The flags of `sammoe_evaluate` that judge label maps of any tool, in place of a mixture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sammoe_pipeline.commands.command import add_workers_argument
from sammoe_pipeline.errors import UsageError

_NEEDED = ("references", "o")
_JUDGING = (*_NEEDED, "labels", "patients", "num_processes")
"""Flags that go with `--predictions`, by where they are stored."""
_TYPED = {"num_processes": "-np", "device": "-device"}
"""Flags that are not typed as they are stored."""


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that judge label maps."""
    parser.add_argument(
        "--tolerance",
        nargs="+",
        metavar="MM",
        help="of surface Dice, as MM for all classes or CLASS=MM for one (default: a voxel's edge)",
    )
    group = parser.add_argument_group(
        "any tool's label maps", "With --predictions, folders of label maps are judged, and no mixture is needed."
    )
    group.add_argument(
        "--predictions",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folders of label maps; the first is what the others are compared with",
    )
    group.add_argument("--references", type=Path, metavar="DIR", help="folder of reference label maps, named alike")
    group.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="dataset.json with the classes (default: each value above 0 is a class)",
    )
    group.add_argument(
        "--patients",
        type=Path,
        metavar="FILE",
        help='{"CASE": "PATIENT"}: intervals and tests are over patients (default: patients.json beside the folder of '
        "references, else each case is a patient)",
    )
    group.add_argument("-o", type=Path, metavar="OUT", help="folder for summary.json and cases.csv")
    add_workers_argument(parser)


def is_judging(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> bool:
    """Tells whether label maps are to be judged rather than a mixture.

    Raises:
        UsageError: flags of both are given, or one that judging needs is missing.
    """
    given = _given(parser, argv)
    others = [_flag(name) for name in _JUDGING if name in given]
    if "predictions" not in given:
        if others:
            raise UsageError(f"{', '.join(others)}: only with --predictions, the label maps to judge. Add it.")
        return False
    if strange := sorted(given - {"predictions", "tolerance", *_JUDGING}):
        flags = ", ".join(_flag(name) for name in strange)
        raise UsageError(f"{flags}: only for a mixture, but --predictions judges label maps. Leave one of them out.")
    if missing := [_flag(name) for name in _NEEDED if name not in given]:
        raise UsageError(f"--predictions also needs {' and '.join(missing)}. Add it.")
    return True


def judge_label_maps(arguments: argparse.Namespace) -> None:
    """Judges label maps and prints the table.

    Raises:
        SammoeError: files or flags cannot be used.
    """
    everywhere_mm, by_class_mm = read_tolerances(arguments.tolerance or [])

    from sammoe_pipeline.evaluation.judge import judge
    from sammoe_pipeline.evaluation.judgement_table import judgement_table

    judgement = judge(
        arguments.predictions,
        arguments.references,
        output=arguments.o,
        labels=arguments.labels,
        tolerance_mm=everywhere_mm,
        class_tolerances_mm=by_class_mm,
        workers=arguments.num_processes,
        patients=arguments.patients,
    )
    sys.stdout.write(judgement_table(judgement))


def read_tolerances(words: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """Reads `--tolerance`: the one of all classes, if given, and those of single classes, in mm.

    Raises:
        UsageError: a word is neither, or is given twice.

    Example:
        >>> read_tolerances(["2", "tumour=1.5"])
        (2.0, {'tumour': 1.5})
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            tolerance_mm = float(number)
        except ValueError:
            tolerance_mm = -1.0
        if not 0 <= tolerance_mm < float("inf"):
            raise UsageError(f"--tolerance {word}: give mm, as 2 for all classes or CLASS=2 for one.")
        if name in found:
            raise UsageError(f"--tolerance {' '.join(words)}: {name or 'all classes'} is given twice. Leave one out.")
        found[name] = tolerance_mm
    return found.pop("", None), found


def _given(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> set[str]:
    """Returns where the flags are stored that a user typed, those typed with their default value included."""
    untouched = object()
    namespace = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([])), untouched))
    return {name for name, value in vars(parser.parse_args(argv, namespace)).items() if value is not untouched}


def _flag(name: str) -> str:
    """Returns a flag as it is typed."""
    return _TYPED.get(name, f"-{name}" if len(name) == 1 else f"--{name}")
