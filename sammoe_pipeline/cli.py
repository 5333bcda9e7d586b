"""The commands that live in the core. Each parses, imports what it needs, and calls one function."""

from __future__ import annotations

import argparse
import shlex
import sys

from sammoe_pipeline.command import add_folder_arguments, next_command, run_command


def pretrain(argv: list[str] | None = None) -> int:
    """`sammoe_pretrain`: trains a foundation."""
    parser = argparse.ArgumentParser(
        prog="sammoe_pretrain",
        description="Train a foundation (encoder, prompt encoder, general decoder) on raw datasets with simulated "
        "clicks. Datasets join in the order given: give the easiest first. The same command continues a stopped run.",
        epilog="example: sammoe_pretrain -d 801 802 803 --name mine --exclude_classes spinal_cord esophagus",
    )
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="datasets to train on, easiest first")
    parser.add_argument("--name", required=True, help="name of the new foundation")
    parser.add_argument("--builder", default="tiny", help="network to build (default: tiny)")
    parser.add_argument("--spacing", type=float, default=3.0, metavar="MM", help="native spacing (default: 3.0)")
    parser.add_argument("--iterations", type=int, default=12000, help="optimiser steps (default: 12000)")
    parser.add_argument("--batch_size", type=int, default=8, help="views a step (default: 8)")
    parser.add_argument("--targets_per_view", type=int, default=2, help="structures clicked on in a view (default: 2)")
    parser.add_argument("--learning_rate", type=float, default=5e-4, help="highest learning rate (default: 5e-4)")
    parser.add_argument(
        "--recolour_probability",
        type=float,
        default=0.4,
        help="share of views whose structures all get random intensities (default: 0.4)",
    )
    parser.add_argument(
        "--exclude_classes",
        nargs="*",
        default=[],
        metavar="CLASS",
        help="classes never clicked on, as CLASS or DatasetXXX_Name:CLASS: they stay new to the foundation",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    _add_execution_arguments(parser)
    add_folder_arguments(parser)
    arguments = parser.parse_args(argv)

    def body() -> None:
        from sammoe_pipeline.device import choose_device
        from sammoe_pipeline.paths import PreprocessedDataset, Results, find_dataset, find_folders
        from sammoe_pipeline.preprocessing import prepare_dataset
        from sammoe_pipeline.raw_dataset import read_raw_dataset
        from sammoe_pipeline.training import pretrain as training

        device = choose_device(arguments.device)
        folders = find_folders(raw=arguments.raw, preprocessed=arguments.preprocessed, results=arguments.results)
        settings = training.PretrainSettings(
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
        sources = []
        for dataset in arguments.d:
            raw = read_raw_dataset(folders.raw / find_dataset(folders.raw, dataset))
            target = PreprocessedDataset(root=folders.preprocessed, dataset=raw.name, foundation=settings.name)
            configuration = training.pretraining_configuration(settings)
            prepare_dataset(raw, target, [configuration], workers=arguments.np)
            names = [case.name for case in raw.training_cases]
            sources.append(training.open_source(target, names, raw.labels, settings.excluded_classes))
        folder = training.pretrain(
            sources,
            settings,
            Results(root=folders.results, foundation=settings.name).foundation_folder,
            device=device,
            command=shlex.join(["sammoe_pretrain", *(sys.argv[1:] if argv is None else argv)]),
        )
        sys.stdout.write(f"Foundation '{settings.name}' lies in {folder}\n")
        next_command(f"sammoe_plan_and_preprocess -d {' '.join(arguments.d)} --foundation {settings.name}")

    return run_command(body)


def _add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-device", choices=("cuda", "cpu"), help="default: cuda where there is one, else cpu")
    parser.add_argument("-np", type=int, default=2, metavar="N", help="processes for preparing cases (default: 2)")
