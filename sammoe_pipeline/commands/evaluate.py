"""The command `sammoe_evaluate`: judges a mixture on the cases that its folds hold out, or any tool's label maps."""

from __future__ import annotations

import argparse
import sys

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_foundation_argument,
    positive_int,
    run_command,
)
from sammoe_pipeline.commands.judge import add_judge_arguments, is_judging, judge_label_maps, read_tolerances
from sammoe_pipeline.commands.shared import (
    add_device_argument,
    add_encoder_arguments,
    command_parser,
    encoder_options,
    fold_numbers,
    given_folders,
    given_foundation,
    read_datasets,
)


def main(argv: list[str] | None = None) -> int:
    """`sammoe_evaluate`: judges a mixture on the cases that its folds hold out, or any tool's label maps.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    return run_command(lambda: judge_label_maps(arguments) if is_judging(parser, argv) else _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "sammoe_evaluate",
        "Judge a mixture on the cases that each fold holds out: general expert, each class's own expert, and the "
        "mixture, prompted alike. Writes cases.csv, routing.csv, summary.json and report.html, and prints the table. "
        "Interrupted, the same command goes on. With --predictions, judge any tool's label maps.",
        "sammoe_evaluate -m default --clicks 0 1 3 5 10",
    )
    parser.add_argument("-m", default="default", metavar="NAME", help="mixture (default: default)")
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="mixture folds (default: all)")
    parser.add_argument(
        "--clicks",
        nargs="+",
        type=int,
        default=[1],
        metavar="N",
        help="numbers of clicks to report; 0 is the locator's prompt (default: 1)",
    )
    parser.add_argument("--seeds", type=positive_int, default=3, metavar="N", help="draws of the clicks (default: 3)")
    parser.add_argument(
        "--cases",
        type=positive_int,
        metavar="N",
        help="ask in at most so many of the cases that a fold of a dataset holds out, drawn by chance: a first look at "
        "large data (default: all of them)",
    )
    parser.add_argument(
        "--forgetting",
        nargs="?",
        type=positive_int,
        const=sys.maxsize,
        metavar="CASES",
        help="also ask every expert about everybody's classes at one click, to see what each alone would forget; in at "
        "most so many held-out cases of each dataset and fold (default: all of them)",
    )
    add_foundation_argument(parser)
    add_device_argument(parser)
    add_encoder_arguments(parser)
    add_folder_arguments(parser)
    add_judge_arguments(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.artefacts import MixtureCard
    from sammoe_pipeline.device import choose_device
    from sammoe_pipeline.errors import UsageError
    from sammoe_pipeline.evaluation.evaluate import evaluate
    from sammoe_pipeline.evaluation.markdown import markdown_table
    from sammoe_pipeline.paths import EVALUATION, MIXTURE_JSON, REPORT_HTML, Results

    everywhere_mm, by_class_mm = read_tolerances(arguments.tolerance or [])
    if min(arguments.clicks) < 0:
        raise UsageError(f"--clicks {min(arguments.clicks)}: numbers of clicks are 0 (the locator) or more.")
    device = choose_device(arguments.device)
    encoder = encoder_options(arguments, device)
    folders = given_folders(arguments)
    foundation = given_foundation(arguments, folders)
    folder = Results(root=folders.results, foundation=foundation.card.name).mixture(arguments.m)
    members = MixtureCard.load(folder / MIXTURE_JSON).datasets
    planned, raw = read_datasets([member.dataset for member in members], folders, foundation)
    summary = evaluate(
        planned,
        raw,
        name=arguments.m,
        folds=fold_numbers(arguments.f),
        foundation=foundation,
        results=folders.results,
        clicks=sorted(set(arguments.clicks)),
        num_seeds=arguments.seeds,
        device=device,
        encoder=encoder,
        cases_of_fold=arguments.cases,
        forgetting=arguments.forgetting,
        tolerance_mm=everywhere_mm,
        class_tolerances_mm=by_class_mm,
    )
    sys.stdout.write(f"{markdown_table(summary)}\nReport: {folder / EVALUATION / REPORT_HTML}\n")
