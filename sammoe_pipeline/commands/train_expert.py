"""The command `sammoe_train_expert`: finetunes the experts of a dataset and fits its locator."""

from __future__ import annotations

import argparse

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_foundation_argument,
    next_command,
    positive_int,
    run_command,
    same_flags,
)
from sammoe_pipeline.commands.shared import (
    add_device_argument,
    command_parser,
    fold_numbers,
    given_folders,
    given_foundation,
)


def main(argv: list[str] | None = None) -> int:
    """`sammoe_train_expert`: finetunes the experts of a dataset and fits its locator.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake.
    """
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "sammoe_train_expert",
        "Finetune one mask decoder for each task of a dataset's plan, and fit the locator that prompts for it. The "
        "foundation stays as it is. A stopped run goes on where it was; what is finished is skipped.",
        "sammoe_train_expert -d 4 -f 0 1",
    )
    parser.add_argument("-d", required=True, metavar="ID", help="dataset, by ID or name")
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="folds, or all (default: all)")
    parser.add_argument("--task", nargs="+", metavar="NAME", help="tasks of the plan (default: all, and the locator)")
    parser.add_argument("--c", action="store_true", help="continue; an error if there is nothing to continue")
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=positive_int,
        metavar="N",
        help="experts to train at a time, each on a card of its own or on its share of the processor (default: one a "
        "card; on a processor one)",
    )
    parser.add_argument(
        "--train_prompted_from",
        metavar="START",
        help="finetune from general, from an expert (DatasetXXX_Name/task) or from scratch; written into the plan, "
        "which says otherwise what measured best",
    )
    parser.add_argument(
        "--unfreeze",
        choices=("neck", "all"),
        default="nothing",
        help="train the image encoder too, or its neck: plain finetuning to compare with. What comes of it is a "
        "foundation of its own and joins no mixture",
    )
    parser.add_argument(
        "--cache_gb",
        type=float,
        metavar="GB",
        help="keep embeddings of views on disk up to this size, for other folds and later runs (default: 8; 0 keeps "
        "none)",
    )
    add_foundation_argument(parser)
    add_device_argument(parser)
    add_folder_arguments(parser, only=("preprocessed", "results"))
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.device import choose_device
    from sammoe_pipeline.paths import Results
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.training.data_parallel import team
    from sammoe_pipeline.training.embedding_cache import CACHE_GB, GIGABYTE
    from sammoe_pipeline.training.start_from import start_from
    from sammoe_pipeline.training.train_dataset import train_dataset

    device = choose_device(arguments.device)
    folders = given_folders(arguments)
    foundation = given_foundation(arguments, folders)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    with team(device) as (together, own_device):
        if arguments.train_prompted_from:
            places = Results(root=folders.results, foundation=foundation.card.name)
            planned = start_from(planned, arguments.train_prompted_from, arguments.task, places)
        train_dataset(
            planned,
            folds=fold_numbers(arguments.f),
            tasks=arguments.task,
            must_continue=arguments.c,
            foundation=foundation,
            results=folders.results,
            device=own_device,
            workers=arguments.num_processes,
            cache_bytes=(CACHE_GB if arguments.cache_gb is None else arguments.cache_gb) * GIGABYTE,
            unfrozen=arguments.unfreeze,
            team=together,
        )
    if together.writes and arguments.unfreeze == "nothing":
        next_command(f"sammoe_train_gate{same_flags(arguments)}")
