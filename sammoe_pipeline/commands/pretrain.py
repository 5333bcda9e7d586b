"""The command `sammoe_pretrain`: trains a foundation."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_workers_argument,
    next_command,
    positive_float,
    positive_int,
    run_command,
    same_flags,
)
from sammoe_pipeline.commands.shared import add_device_argument, command_parser, given_folders

if TYPE_CHECKING:
    from sammoe_pipeline.paths import Folders
    from sammoe_pipeline.training.pretraining_views import PretrainSettings, TrainingSource


def main(argv: list[str] | None = None) -> int:
    """`sammoe_pretrain`: trains a foundation.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    return run_command(lambda: _run(arguments, words))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "sammoe_pretrain",
        "Train a foundation (encoder, prompt encoder, general decoder) on raw datasets with simulated clicks. "
        "Datasets join in the order given: give the easiest first. The same command continues a stopped run.",
        "sammoe_pretrain -d 801 802 803 --name mine --exclude_classes spinal_cord esophagus",
    )
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="datasets to train on, easiest first")
    parser.add_argument("--name", required=True, help="name of the new foundation")
    parser.add_argument("--builder", default="tiny", help="network to build: tiny or vit_b (default: tiny)")
    parser.add_argument(
        "--spacing", type=positive_float, default=3.0, metavar="MM", help="native spacing (default: 3.0)"
    )
    parser.add_argument("--iterations", type=positive_int, default=4000, help="optimiser steps (default: 4000)")
    parser.add_argument("--batch_size", type=positive_int, default=8, help="views a step (default: 8)")
    parser.add_argument("--targets_per_view", type=positive_int, default=2, help="clicked structures (default: 2)")
    parser.add_argument("--learning_rate", type=float, default=6e-4, help="highest learning rate (default: 6e-4)")
    parser.add_argument(
        "--recolour_probability",
        type=float,
        default=0.4,
        metavar="P",
        help="share of views whose structures all get random intensities (default: 0.4)",
    )
    parser.add_argument(
        "--exclude_classes",
        nargs="*",
        default=[],
        metavar="CLASS",
        help="classes never clicked on, as CLASS or DatasetXXX_Name:CLASS: they stay new to the foundation",
    )
    parser.add_argument(
        "--shapes",
        nargs="*",
        default=[],
        metavar="ID",
        help="those of the datasets whose classes are shapes, not anatomy: clicked on, but not to be recognised",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="translate encoder and decoder first: needs a C++ compiler, then faster",
    )
    add_device_argument(parser)
    add_workers_argument(parser)
    add_folder_arguments(parser)
    return parser


def _run(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    from sammoe_pipeline.device import choose_device
    from sammoe_pipeline.paths import Results
    from sammoe_pipeline.training.pretrain import pretrain

    device = choose_device(arguments.device)
    folders = given_folders(arguments)
    settings = _settings(arguments)
    folder = pretrain(
        _sources(arguments, folders, settings),
        settings,
        Results(root=folders.results, foundation=settings.name).foundation_folder,
        device=device,
        compiled=arguments.compile,
        command=shlex.join(["sammoe_pretrain", *words]),
    )
    sys.stdout.write(f"Foundation '{settings.name}' lies in {folder}\n")
    planned = shlex.join(["sammoe_plan_and_preprocess", "-d", *arguments.d, "--foundation", settings.name])
    next_command(f"{planned}{same_flags(arguments)}")


def _settings(arguments: argparse.Namespace) -> PretrainSettings:
    from sammoe_pipeline.training.pretraining_views import PretrainSettings

    return PretrainSettings(
        name=arguments.name,
        builder=arguments.builder,
        spacing_mm=arguments.spacing,
        normalisation="equalised",
        iterations=arguments.iterations,
        batch_size=arguments.batch_size,
        targets_per_view=arguments.targets_per_view,
        learning_rate=arguments.learning_rate,
        recolour_probability=arguments.recolour_probability,
        excluded_classes=tuple(arguments.exclude_classes),
        seed=arguments.seed,
    )


def _sources(arguments: argparse.Namespace, folders: Folders, settings: PretrainSettings) -> list[TrainingSource]:
    """Prepares the datasets, in the order given."""
    from sammoe_pipeline.errors import UsageError
    from sammoe_pipeline.paths import PreprocessedDataset, find_dataset
    from sammoe_pipeline.preprocessing import prepare_dataset
    from sammoe_pipeline.raw_dataset import read_raw_dataset
    from sammoe_pipeline.training.pretrain import pretraining_configuration, require_known_classes
    from sammoe_pipeline.training.pretraining_views import open_source

    datasets = [read_raw_dataset(folders.raw / find_dataset(folders.raw, name)) for name in arguments.d]
    shapes = {find_dataset(folders.raw, name) for name in arguments.shapes}
    if strange := shapes - {raw.name for raw in datasets}:
        raise UsageError(f"--shapes {', '.join(sorted(strange))}: name it among the datasets of -d too.")
    require_known_classes(settings.excluded_classes, {raw.name: raw.labels for raw in datasets})
    configuration = pretraining_configuration(settings)
    sources = []
    for raw in datasets:
        target = PreprocessedDataset(root=folders.preprocessed, dataset=raw.name, foundation=settings.name)
        prepare_dataset(raw, target, [configuration], workers=arguments.num_processes)
        names = [case.name for case in raw.training_cases]
        sources.append(
            open_source(target, names, raw.labels, settings.excluded_classes, anatomy=raw.name not in shapes)
        )
    return sources
