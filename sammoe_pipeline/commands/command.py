"""What every command does alike: log, fail with one readable message, name the next step. Imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable

from sammoe_pipeline.errors import SammoeError
from sammoe_pipeline.paths import HOME, NNUNET_RAW, PREPROCESSED, RAW, RESULTS

_FOLDERS = {
    "raw": f"folder of raw datasets (default: ${RAW}, then ${HOME}/{RAW}, then ${NNUNET_RAW})",
    "preprocessed": f"folder of preprocessed datasets (default: ${PREPROCESSED}, then ${HOME}/{PREPROCESSED})",
    "results": f"folder of trained models (default: ${RESULTS}, then ${HOME}/{RESULTS})",
}
_MOST_PROCESSES = 8


def add_folder_arguments(parser: argparse.ArgumentParser, *, only: tuple[str, ...] = tuple(_FOLDERS)) -> None:
    """Adds the flags `--raw`, `--preprocessed` and `--results`, which win over the environment.

    Args:
        parser: the command's parser.
        only: the folders that the command touches, where these are not all three.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_folder_arguments(parser)
        >>> parser.parse_args(["--raw", "/data/raw"]).raw
        '/data/raw'
    """
    for name in only:
        parser.add_argument(f"--{name}", metavar="DIR", help=_FOLDERS[name])


def add_foundation_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag `--foundation`."""
    parser.add_argument(
        "--foundation", metavar="NAME", help="by name or folder (default: $sammoe_default_foundation, then tiny)"
    )


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag `-np`, read as `num_processes`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=positive_int,
        default=min(_MOST_PROCESSES, cores),
        metavar="N",
        help="processes (default here: %(default)s); fewer need less memory",
    )


def positive_int(text: str) -> int:
    """Reads a flag's value as a whole number above 0, in quotes or not."""
    number = int(text.strip("'\""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def positive_float(text: str) -> float:
    """Reads a flag's value as a finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{number:g} is no finite number above 0")
    return number


def run_command(body: Callable[[], None], *, continued_by: str = "") -> int:
    """Runs a command's work, with logging on stderr, and turns what goes wrong into an exit code.

    Args:
        body: the work; what it returns is not used.
        continued_by: flag without which the same command would begin anew.

    Returns:
        0 when done; 1 after a `SammoeError` or where the system refuses a file, with one message on stderr and no
        traceback; 130 when interrupted. Any other exception is a fault of the program and is raised with its traceback.

    Example:
        >>> def main(argv: list[str] | None = None) -> int:
        ...     arguments = _parser().parse_args(argv)
        ...     return run_command(lambda: convert(arguments))
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    # Libraries speak only when something is wrong; the pipeline says what it reads and writes.
    for package in ("sammoe_pipeline", "dataset_conversion", "planning"):
        logging.getLogger(package).setLevel(logging.INFO)
    same_command = f"The same command{f' with {continued_by}' if continued_by else ''}"
    try:
        body()
    except SammoeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = error.strerror or error
        sys.stderr.write(f"error: {where}{said}. {same_command} works once that is mended.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"\nStopped. {same_command} goes on from here.\n")
        return 130
    return 0


def same_flags(arguments: argparse.Namespace, *, only: tuple[str, ...] = ("foundation", *_FOLDERS)) -> str:
    """Returns the flags for foundation and folders that a command was given, for another that is to find the same.

    Args:
        arguments: as parsed.
        only: the flags that the other command has, where these are not all four.

    Example:
        >>> same_flags(argparse.Namespace(raw=None, results="my results"))
        " --results 'my results'"
    """
    given = {name: getattr(arguments, name, None) for name in only}
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value)


def next_command(text: str) -> None:
    """Prints the command that follows, ready to paste, to stdout."""
    sys.stdout.write(f"\nNext:\n  {text}\n")
