"""The command `sammoe_predict`: segments images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_foundation_argument,
    positive_int,
    run_command,
)
from sammoe_pipeline.commands.shared import (
    add_device_argument,
    add_encoder_arguments,
    command_parser,
    encoder_options,
    fold_numbers,
)

if TYPE_CHECKING:
    from sammoe_pipeline.inference.predictions import Predictions
    from sammoe_pipeline.inference.wanted import PromptSource


def main(argv: list[str] | None = None) -> int:
    """`sammoe_predict`: segments images.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake or where cases failed.
    """
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _run(arguments), continued_by="--continue_prediction")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "sammoe_predict",
        "Segment images. Without --prompts the mixture's locators say where to look; with it, your prompts do. "
        "The label maps lie on exactly the grid of the images. For research, not a medical device.",
        "sammoe_predict -i imagesTs -o predictions -d 4",
    )
    parser.add_argument(
        "-i", required=True, type=Path, metavar="IN", help="an image or a DICOM series' folder, or a folder of these"
    )
    parser.add_argument(
        "-o", required=True, type=Path, metavar="OUT", help="folder for label maps and predictions.json"
    )
    parser.add_argument("-m", metavar="NAME", help="mixture (default: default; none of it: the foundation alone)")
    parser.add_argument("-d", metavar="ID", help="give out this dataset's classes with its own values")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--prompts",
        type=Path,
        metavar="PATH",
        help="clicks, boxes, masks: a .json, or a .mrk.json of 3D Slicer, or a folder with one for each case",
    )
    where.add_argument(
        "--prompts_from_masks",
        type=Path,
        metavar="DIR",
        help="another tool's label maps, CASE.nii.gz, with a dataset.json that names their values: a click well inside "
        "each class, or each of its parts, is drawn, and the answer stays near it",
    )
    parser.add_argument(
        "--instances",
        action="store_true",
        help="with --prompts: each positive click is on a thing of its own; numbers them in OUT/instances",
    )
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="folds to average (default: all)")
    parser.add_argument(
        "--save_probabilities", action="store_true", help="also write a probability map a class, in OUT/probabilities"
    )
    parser.add_argument(
        "--one_file_per_class", action="store_true", help="also write a mask a class, in OUT/masks; masks may overlap"
    )
    parser.add_argument(
        "--continue_prediction", action="store_true", help="leave out the cases that are finished in OUT"
    )
    parser.add_argument(
        "-num_parts",
        type=positive_int,
        default=1,
        metavar="N",
        help="share the cases out among N commands (default: 1)",
    )
    parser.add_argument(
        "-part_id", type=int, default=0, metavar="K", help="which of them this is, from 0 to N - 1 (default: 0)"
    )
    add_foundation_argument(parser)
    add_device_argument(parser)
    add_encoder_arguments(parser)
    add_folder_arguments(parser, only=("results",))
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.device import choose_device
    from sammoe_pipeline.foundations import find_foundation
    from sammoe_pipeline.inference.mixture import Mixture
    from sammoe_pipeline.inference.predict import predict_folder
    from sammoe_pipeline.paths import find_results

    prompts = _prompts(arguments)
    device = choose_device(arguments.device)
    encoder = encoder_options(arguments, device)
    results = find_results(arguments.results, create=False)
    foundation = find_foundation(arguments.foundation, results)
    mixture = Mixture.load_or_general(
        arguments.m,
        foundation=foundation,
        results=results,
        device=device,
        folds=fold_numbers(arguments.f),
        encoder=encoder,
    )
    predictions = predict_folder(
        mixture,
        source=arguments.i,
        target=arguments.o,
        dataset=mixture.dataset_named(arguments.d) if arguments.d else None,
        prompts=prompts,
        device=encoder.on(device),
        save_probabilities=arguments.save_probabilities,
        one_file_per_class=arguments.one_file_per_class,
        resume=arguments.continue_prediction,
        num_parts=arguments.num_parts,
        part_id=arguments.part_id,
    )
    _report(predictions, arguments.o)


def _prompts(arguments: argparse.Namespace) -> PromptSource:
    """Returns where the prompts come from.

    Raises:
        UsageError: flags contradict one another.
    """
    from sammoe_pipeline.errors import UsageError
    from sammoe_pipeline.inference.wanted import PromptSource

    if arguments.instances and arguments.prompts is None:
        raise UsageError("--instances: it says what the clicks of --prompts are on. Give them, or leave it out.")
    if arguments.prompts_from_masks is not None:
        return PromptSource("mask", arguments.prompts_from_masks)
    if arguments.prompts is not None:
        return PromptSource("file", arguments.prompts, instances=arguments.instances)
    return PromptSource("locator")


def _report(predictions: Predictions, folder: Path) -> None:
    """Says what was written and what to look at.

    Raises:
        SammoeError: cases failed.
    """
    from sammoe_pipeline.errors import SammoeError
    from sammoe_pipeline.inference.predictions import RESEARCH_ONLY

    for case in predictions.cases:
        for target in case.targets:
            for warning in target.warnings:
                sys.stderr.write(f"{case.case}, {target.name}: {warning}\n")
        if doubtful := [target.name for target in case.targets if target.review]:
            sys.stderr.write(f"{case.case}, to be looked at: {', '.join(doubtful)}\n")
    failed = [f"{case.case}: {case.error}".replace("\n", "\n    ") for case in predictions.cases if case.error]
    done = len(predictions.cases) - len(failed)
    sys.stdout.write(f"{done} of {len(predictions.cases)} cases written to {folder} ({RESEARCH_ONLY})\n")
    if failed:
        raise SammoeError("These cases failed:\n" + "\n".join(f"  - {line}" for line in failed))
