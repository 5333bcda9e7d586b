"""The command `sammoe_train_gate`: joins experts into a mixture."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_foundation_argument,
    next_command,
    run_command,
    same_flags,
)
from sammoe_pipeline.commands.shared import (
    add_device_argument,
    command_parser,
    fold_numbers,
    given_folders,
    given_foundation,
    read_datasets,
)

if TYPE_CHECKING:
    from sammoe_pipeline.artefacts import MixtureCard

MAX_GENERAL_LOSS = 0.1
"""What general tasks may lose on the calibration cases, in Dice points of 100."""


def main(argv: list[str] | None = None) -> int:
    """`sammoe_train_gate`: joins experts into a mixture.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake.
    """
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "sammoe_train_gate",
        "Join experts into a mixture: fit the gate that decides which decoder answers a prompt, and measure the "
        "threshold below which the general expert answers alone. No expert is changed.",
        "sammoe_train_gate -d 4 901 -m mine -f 0 1",
    )
    parser.add_argument(
        "-d",
        nargs="+",
        metavar="ID",
        help="datasets to join (default: those of --experts, else all whose experts are finished in these folds)",
    )
    parser.add_argument(
        "--experts",
        nargs="+",
        metavar="DATASET/TASK",
        help="experts to join, as sammoe_experts list names them; the general expert serves the classes of the others "
        "(default: all of the datasets)",
    )
    parser.add_argument(
        "--from_packages",
        nargs="+",
        type=Path,
        metavar="ZIP",
        help="join the mixtures of these packages without their data: they are installed, and a gate is fitted to the "
        "routing sets that they bring",
    )
    parser.add_argument("-m", default="default", metavar="NAME", help="name of the mixture (default: default)")
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="mixture folds (default: all)")
    parser.add_argument(
        "--max_general_loss",
        type=float,
        metavar="POINTS",
        help="what general tasks may lose on the calibration cases, in Dice points of 100 (default: "
        f"{MAX_GENERAL_LOSS})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of clicks and initial weights (default: 0)")
    add_foundation_argument(parser)
    add_device_argument(parser)
    add_folder_arguments(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.run_stages import duration

    card = _join_packages(arguments) if arguments.from_packages else _fit_to_data(arguments)
    sys.stdout.write(
        f"Mixture '{card.name}': {len(card.experts)} experts; weights of the foundation and of every expert are the "
        f"same as before.\n"
    )
    for dataset, threshold in card.thresholds.items():
        sys.stdout.write(f"Experts of {dataset} answer from a confidence of {threshold:g} on.\n")
    if card.seconds_by_step:
        took = ", ".join(f"{step} {duration(seconds)}" for step, seconds in card.seconds_by_step.items())
        sys.stdout.write(f"It took {duration(card.seconds)}: {took}.\n")
    if card.general_loss is not None and card.calibration_patients:
        sys.stdout.write(_general_loss(card.general_loss, card.calibration_patients))
    mixture = "" if card.name == "default" else f" -m {shlex.quote(card.name)}"
    next_command(f"sammoe_evaluate{mixture}{same_flags(arguments)}")
    flags = same_flags(arguments, only=("foundation", "results"))
    next_command(f"sammoe_predict -i IMAGES -o OUTPUT{mixture}{flags}")


def _join_packages(arguments: argparse.Namespace) -> MixtureCard:
    from sammoe_pipeline.errors import UsageError
    from sammoe_pipeline.packages.joining import join_packages

    for flag, given in (("-d", arguments.d), ("--experts", arguments.experts), ("-f", arguments.f != ["all"])):
        if given:
            raise UsageError(f"{flag}: with --from_packages, a mixture is all that the packages hold.")
    if arguments.max_general_loss is not None:
        raise UsageError("--max_general_loss: with --from_packages, experts keep the thresholds that came with them.")
    folders = given_folders(arguments)
    return join_packages(
        arguments.from_packages,
        name=arguments.m,
        foundation=given_foundation(arguments, folders),
        results=folders.results,
        seed=arguments.seed,
    )


def _fit_to_data(arguments: argparse.Namespace) -> MixtureCard:
    from sammoe_pipeline.device import choose_device
    from sammoe_pipeline.training.mixture_members import choose_experts, finished_datasets
    from sammoe_pipeline.training.train_gate import train_gate

    device = choose_device(arguments.device)
    folders = given_folders(arguments)
    foundation = given_foundation(arguments, folders)
    folds = fold_numbers(arguments.f)
    experts = arguments.experts or []
    named = list(dict.fromkeys(expert.partition("/")[0] for expert in experts))
    planned, raw = read_datasets(
        arguments.d or named or finished_datasets(folders, foundation, folds), folders, foundation
    )
    if experts:
        planned = choose_experts(planned, experts)
    return train_gate(
        planned,
        raw,
        name=arguments.m,
        folds=folds,
        foundation=foundation,
        results=folders.results,
        max_general_loss=MAX_GENERAL_LOSS if arguments.max_general_loss is None else arguments.max_general_loss,
        seed=arguments.seed,
        device=device,
    )


def _general_loss(loss: float, patients: int) -> str:
    from sammoe_pipeline.training.thresholds import certifiable_loss

    return (
        f"On the calibration cases the general expert's targets lose {100 * loss:.2f} Dice points of 100. So few as "
        f"{patients} patients can certify no bound below {100 * certifiable_loss(loss, patients):.1f}.\n"
    )
