"""What several commands use: their parser, flags that they share, and what these flags stand for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sammoe_pipeline.encoder_options import PRECISIONS, EncoderOptions

if TYPE_CHECKING:
    from sammoe_pipeline.foundations import Foundation
    from sammoe_pipeline.paths import Folders
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.raw_dataset import RawDataset


def command_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Returns a parser without flags.

    Args:
        name: what a user types.
        description: what the command does.
        example: the command with its usual flags.
    """
    return argparse.ArgumentParser(prog=name, description=description, epilog=f"example: {example}")


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag `-device`."""
    parser.add_argument("-device", choices=("cuda", "cpu"), help="default: cuda where there is one, else cpu")


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags `--precision` and `--compile`, that change how the image encoder computes."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=EncoderOptions.precision,
        help="in which the image encoder computes: less than float32 is faster and rounds (default: float32)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="translate the encoder first, which takes a minute or more; gains nothing on a processor",
    )


def encoder_options(arguments: argparse.Namespace, device: str) -> EncoderOptions:
    """Reads `--precision` and `--compile`.

    Args:
        arguments: as parsed.
        device: "cuda" or "cpu".

    Raises:
        UsageError: the device cannot do what is asked.
    """
    encoder = EncoderOptions(precision=arguments.precision, compiled=arguments.compile)
    encoder.require(device)
    return encoder


def given_folders(arguments: argparse.Namespace) -> Folders:
    """Returns the three roots, from those of the flags that the command has or else from the environment.

    Raises:
        UsageError: a root is an existing file.
    """
    from sammoe_pipeline.paths import find_folders

    return find_folders(
        raw=getattr(arguments, "raw", None),
        preprocessed=getattr(arguments, "preprocessed", None),
        results=arguments.results,
    )


def given_foundation(arguments: argparse.Namespace, folders: Folders) -> Foundation:
    """Returns the foundation that `--foundation` names, or the default.

    Raises:
        SammoeError: there is none, or it is broken.
    """
    from sammoe_pipeline.foundations import find_foundation

    return find_foundation(arguments.foundation, folders.results)


def fold_numbers(given: Sequence[str]) -> list[int] | None:
    """Reads `-f`: None for all folds.

    Raises:
        UsageError: it is neither "all" nor whole numbers.

    Example:
        >>> fold_numbers(["1", "0"])
        [0, 1]
    """
    from sammoe_pipeline.errors import UsageError

    if list(given) == ["all"]:
        return None
    if not all(fold.isdigit() for fold in given):
        raise UsageError(f"-f {' '.join(given)}: give fold numbers such as 0 1, or all.")
    return sorted({int(fold) for fold in given})


def read_datasets(
    names: Sequence[str], folders: Folders, foundation: Foundation
) -> tuple[list[PlannedDataset], list[RawDataset]]:
    """Reads datasets as they were planned, and their raw files.

    Args:
        names: by ID or name.
        folders: where they lie.
        foundation: that they were planned for.

    Returns:
        Both in the order of `names`.

    Raises:
        SammoeError: one is not there, was not planned, or is faulty.
    """
    from sammoe_pipeline.paths import find_dataset
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.raw_dataset import read_raw_dataset

    planned = [PlannedDataset.load(folders, name, foundation) for name in names]
    raw = [read_raw_dataset(folders.raw / find_dataset(folders.raw, dataset.name)) for dataset in planned]
    return planned, raw
