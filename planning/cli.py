"""The command `sammoe_plan_and_preprocess`."""

from __future__ import annotations

import argparse
import re
import shlex
import sys

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_workers_argument,
    next_command,
    positive_float,
    positive_int,
    run_command,
    same_flags,
)
from sammoe_pipeline.errors import SammoeError, UsageError

_DESCRIPTION = """\
Check raw datasets, measure what they are like, split them into folds, decide which classes need an expert and in which
resolution, and prepare the arrays. Run again, the command does only what is missing and keeps what you edited in
splits_final.json and sammoe_plan.json."""

_EXAMPLES = """\
examples:
  sammoe_plan_and_preprocess -d 4
  sammoe_plan_and_preprocess -d 4 901 --foundation tiny -np 4
  sammoe_plan_and_preprocess -d 7 --patients '^sub-[0-9]+'
  sammoe_plan_and_preprocess -d 4 --show"""


def main(argv: list[str] | None = None) -> int:
    """`sammoe_plan_and_preprocess`: plans and prepares datasets.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake; with several datasets, after all others were done.
    """
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _show(arguments) if arguments.show else _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sammoe_plan_and_preprocess",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="datasets, by ID or name")
    parser.add_argument(
        "--foundation",
        metavar="NAME",
        help="foundation, by name or folder (default: $sammoe_default_foundation or tiny)",
    )
    parser.add_argument(
        "--num_folds", type=positive_int, metavar="N", help="folds (default: 5, fewer for few patients)"
    )
    parser.add_argument(
        "--patients",
        type=_pattern,
        metavar="PATTERN",
        help="regular expression that finds the patient in a case's name, such as '^sub-[0-9]+': cases of one patient "
        "share a fold (default: patients.json, else every case is a patient)",
    )
    parser.add_argument(
        "--expert_threshold",
        type=_dice,
        metavar="X",
        help="mean Dice from which the general expert, in native, or a finished one serves a class (default: 0.8)",
    )
    grouping = parser.add_mutually_exclusive_group()
    grouping.add_argument(
        "--one_expert_per_class",
        dest="grouping",
        action="store_const",
        const="one_each",
        help="no two classes share a new expert (default: those of one configuration and similar thickness do)",
    )
    grouping.add_argument(
        "--one_expert",
        dest="grouping",
        action="store_const",
        const="one",
        help="all classes share one new expert, in the configuration that suits most of them",
    )
    parser.add_argument(
        "--effort",
        type=positive_float,
        metavar="X",
        help="how long experts and the locator train: 0.5 is half as long as usual, for a first look; 2 twice as long, "
        "which finds a point or two more (default: 1)",
    )
    parser.add_argument(
        "-gpu_memory_target",
        dest="memory_target_gb",
        type=positive_float,
        metavar="GB",
        help="what finetuning may take of a card's memory; bounds windows and batches (default: 8, or what a smaller "
        "card has)",
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="of splits, chosen cases and clicks (default: 0)")
    parser.add_argument("--replan", action="store_true", help="make fingerprint and plan anew; splits are kept")
    parser.add_argument(
        "--show",
        action="store_true",
        help="do nothing but print the plan that is there, and draw it with its evidence as a page beside it",
    )
    parser.add_argument("-device", choices=("cuda", "cpu"), help="default: cuda where there is one, else cpu")
    add_workers_argument(parser)
    add_folder_arguments(parser)
    return parser


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def _dice(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value:g} is not between 0 and 1")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def _run(arguments: argparse.Namespace) -> None:
    from planning.stages import Wishes, plan_and_preprocess
    from planning.table import plan_table
    from sammoe_pipeline.device import choose_device
    from sammoe_pipeline.foundations import find_foundation
    from sammoe_pipeline.paths import find_dataset, find_folders

    folders = find_folders(raw=arguments.raw, preprocessed=arguments.preprocessed, results=arguments.results)
    foundation = find_foundation(arguments.foundation, folders.results)
    device = choose_device(arguments.device)
    wishes = Wishes(
        num_folds=arguments.num_folds,
        expert_threshold=arguments.expert_threshold,
        grouping=arguments.grouping,
        effort=arguments.effort,
        seed=arguments.seed,
        memory_target_gb=arguments.memory_target_gb,
        patients=arguments.patients,
    )
    planned: list[str] = []
    failures: list[SammoeError] = []
    for dataset in arguments.d:
        try:
            plan = plan_and_preprocess(
                folders.raw / find_dataset(folders.raw, dataset),
                folders,
                foundation,
                wishes,
                replan=arguments.replan,
                device=device,
                workers=arguments.num_processes,
            )
        except SammoeError as error:
            failures.append(error)
            continue
        sys.stdout.write(f"\n{plan_table(plan)}")
        planned.append(dataset)
    if planned:
        # Also where no class needs an expert: the command fits the locator.
        flags = same_flags(arguments, only=("foundation", "preprocessed", "results"))
        next_command("\n  ".join(f"sammoe_train_expert -d {shlex.quote(dataset)}{flags}" for dataset in planned))
    if len(arguments.d) == 1 and failures:
        raise failures[0]
    if failures:
        listed = "\n".join(str(error) for error in failures)
        raise SammoeError(f"{len(failures)} of {len(arguments.d)} datasets failed, the others are done.\n{listed}")


def _show(arguments: argparse.Namespace) -> None:
    from planning.page import write_plan_page
    from planning.table import plan_table
    from sammoe_pipeline.artefacts import DatasetFingerprint, Plan, Splits
    from sammoe_pipeline.foundations import find_foundation
    from sammoe_pipeline.paths import PreprocessedDataset, find_dataset, find_folders

    wishes = ("num_folds", "expert_threshold", "grouping", "effort", "memory_target_gb", "seed", "replan")
    if any(getattr(arguments, name) not in (None, False) for name in wishes):
        raise UsageError("--show: it plans nothing. Leave out the flags that say how to plan, or leave out --show.")
    folders = find_folders(preprocessed=arguments.preprocessed, results=arguments.results)
    foundation = find_foundation(arguments.foundation, folders.results)
    for dataset in arguments.d:
        name = find_dataset(folders.preprocessed, dataset)
        planned = PreprocessedDataset(root=folders.preprocessed, dataset=name, foundation=foundation.card.name)
        if not planned.plan.is_file():
            raise UsageError(
                f"{planned.plan} is not there: the dataset was not planned for foundation '{foundation.card.name}'. "
                f"Plan it with sammoe_plan_and_preprocess -d {shlex.quote(dataset)}{same_flags(arguments)}"
            )
        plan = Plan.load(planned.plan)
        sys.stdout.write(f"\n{plan_table(plan)}")
        write_plan_page(
            planned.plan_page,
            plan,
            DatasetFingerprint.load(planned.fingerprint),
            Splits.load(planned.splits),
            foundation,
        )
        sys.stdout.write(f"The plan as a page, with its evidence: {planned.plan_page}\n")
