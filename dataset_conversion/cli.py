"""The command `sammoe_convert_dataset`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from dataset_conversion.format import Format
from dataset_conversion.registry import FORMATS, PHANTOMS
from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    add_workers_argument,
    next_command,
    positive_int,
    run_command,
    same_flags,
)
from sammoe_pipeline.errors import DatasetNotFoundError, UsageError, did_you_mean
from sammoe_pipeline.paths import dataset_folder_name, find_dataset, find_folders, safe_name

_PHANTOM = "phantom_"
_DESCRIPTION = """\
Turn a public dataset, as downloaded, into the raw format of nnU-Net v2, or make a dataset of phantoms.
The whole source is checked before anything is written. Run again, the command does only what is missing."""

FORMAT_FLAGS: dict[str, dict[str, Any]] = {
    "names": {"type": Path, "metavar": "FILE", "help": "table of values and names: CSV, TSV, JSON or ITK-SNAP's"},
    "image": {"nargs": "+", "metavar": "FILE", "help": "name of the image in each case's folder, one a channel"},
    "label": {"nargs": "+", "metavar": "FILE", "help": "name of the label map in each case's folder, or of masks"},
    "year": {"choices": ("2023", "2024"), "help": "of the challenge, where no folder's name says it"},
    "pipeline": {"metavar": "NAME", "help": "folder in derivatives, where there are several"},
    "suffix": {"metavar": "SUFFIX", "help": "of the images, such as T1w, where subjects have several"},
    "seg": {"metavar": "VALUE", "help": "of the entity seg, desc or atlas, where images have several label maps"},
    "modality": {"metavar": "NAME", "help": "of the images, such as CT or MR, where there are several"},
    "labels": {"metavar": "TEXT", "help": "words in the description of the label files, where series have several"},
    "dataset": {"metavar": "NAME", "help": "which dataset, such as ct_WORD"},
}
"""Flags that only some formats have, by name."""

_EXAMPLES = """\
examples:
  sammoe_convert_dataset msd -i downloads/Task04_Hippocampus -d 4
  sammoe_convert_dataset totalsegmentator_ct -i downloads/Totalsegmentator_dataset -d 5 --classes liver spleen
  sammoe_convert_dataset phantom_torso -d 901 --num_cases 20 --num_test 4

sammoe_convert_dataset FORMAT --help shows the flags of one format."""


def main(argv: list[str] | None = None) -> int:
    """`sammoe_convert_dataset`: converts a dataset, or makes one of phantoms.

    Returns:
        The exit code: 0 when done, 1 after a user's mistake.
    """
    words = sys.argv[1:] if argv is None else argv
    return run_command(lambda: _run(words))


def _run(words: list[str]) -> None:
    summaries = {**{name: entry.summary for name, entry in FORMATS.items()}, **PHANTOMS}
    if words and not words[0].startswith("-") and words[0] not in summaries:
        raise UsageError(
            f"FORMAT {words[0]!r} is none of {', '.join(summaries)}.{did_you_mean(words[0], summaries)} "
            f"sammoe_convert_dataset --list says what they are."
        )
    parser = _parser(summaries)
    arguments = parser.parse_args(words)
    if arguments.list:
        sys.stdout.write(_list())
        return
    if arguments.format is None:
        parser.error("FORMAT is missing; --list names them")
    raw = find_folders(raw=arguments.raw, create=False).raw
    act = _convert if arguments.format in FORMATS else _make_phantoms
    written = act(arguments, raw)
    if written:
        next_command(f"sammoe_plan_and_preprocess -d {arguments.d}{same_flags(arguments, only=('raw',))}")


def _convert(arguments: argparse.Namespace, raw: Path) -> bool:
    """Converts a dataset; returns whether anything was to be written."""
    from dataset_conversion.conversion import carry_out
    from dataset_conversion.preparation import Options, describe, plan_conversion
    from dataset_conversion.selection import Selection, parse_merges

    chosen = FORMATS[arguments.format]
    selection = Selection(
        classes=tuple(arguments.classes) if arguments.classes else None,
        merge=parse_merges(arguments.merge),
        split=tuple(arguments.split_sides),
    )
    options = Options(
        selection=selection,
        channels=tuple(arguments.channels) if arguments.channels else None,
        only_with_foreground=arguments.labels_only_where,
        link=arguments.link,
        skip_faulty=arguments.skip_faulty,
        workers=arguments.num_processes,
    )
    folder = _target(raw, arguments.d, arguments.n or _name_of(arguments.i))
    given = {flag: getattr(arguments, flag) for flag in chosen.flags if getattr(arguments, flag) is not None}
    source = chosen.source(arguments.i, **given)
    plan = plan_conversion(source, folder, options)
    if arguments.dry_run:
        sys.stdout.write(describe(plan))
        return False
    carry_out(plan, converter=f"sammoe_convert_dataset {arguments.format}, sammoe_pipeline {_version()}")
    return True


def _make_phantoms(arguments: argparse.Namespace, raw: Path) -> bool:
    from dataset_conversion.phantoms.writer import write_phantoms

    kind = arguments.format.removeprefix(_PHANTOM)
    write_phantoms(
        kind,
        _target(raw, arguments.d, arguments.n or f"Phantom{kind.capitalize()}"),
        num_cases=arguments.num_cases,
        seed=arguments.seed,
        workers=arguments.num_processes,
        num_test=arguments.num_test,
    )
    return True


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("sammoe_pipeline")
    except metadata.PackageNotFoundError:
        return "not installed"


def _parser(summaries: dict[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sammoe_convert_dataset",
        usage="sammoe_convert_dataset FORMAT [-i SRC] -d ID [-n NAME] [--raw DIR] [-np N]\n"
        "       sammoe_convert_dataset --list",
        description=f"{_DESCRIPTION}\n\nformats:\n{_table(summaries)}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="list the formats and end")
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", help="one of the formats above")
    for name, summary in summaries.items():
        chosen = formats.add_parser(name, prog=f"sammoe_convert_dataset {name}", description=summary)
        if name in FORMATS:
            _add_conversion_arguments(chosen, FORMATS[name])
        else:
            chosen.add_argument("--num_cases", type=positive_int, default=20, help="labelled cases (default: 20)")
            chosen.add_argument("--num_test", type=int, default=0, help="further cases without labels (default: 0)")
            chosen.add_argument("--seed", type=int, default=0, help="another seed makes other cases (default: 0)")
        chosen.add_argument("-d", type=positive_int, required=True, metavar="ID", help="new ID, from 1 to 999")
        chosen.add_argument("-n", metavar="NAME", help="new name (default: from the source)")
        add_folder_arguments(chosen, only=("raw",))
        add_workers_argument(chosen)
    return parser


def _add_conversion_arguments(parser: argparse.ArgumentParser, chosen: Format) -> None:
    parser.add_argument("-i", type=Path, required=True, metavar="SRC", help="the dataset, extracted")
    for flag in chosen.flags:
        parser.add_argument(f"--{flag}", **FORMAT_FLAGS[flag])
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="only these classes, numbered in this order")
    parser.add_argument(
        "--merge", nargs="+", action="extend", default=[], metavar="NEW=A,B", help="make one class of several"
    )
    parser.add_argument(
        "--split-sides", nargs="+", default=[], metavar="CLASS", help="make CLASS_left and CLASS_right of a class"
    )
    parser.add_argument(
        "--labels-only-where", action="store_true", help="leave out labelled cases in which no wanted class occurs"
    )
    parser.add_argument("--channels", nargs="+", metavar="NAME", help="names of the channels, such as CT")
    parser.add_argument("--link", action="store_true", help="link files that need no change, in place of copying them")
    parser.add_argument(
        "--skip-faulty", action="store_true", help="go on without faulty cases; conversion_report.json lists them"
    )
    parser.add_argument("--dry-run", action="store_true", help="check headers and say what would be written")


def _table(summaries: dict[str, str]) -> str:
    return "".join(f"  {name:<20} {summary}\n" for name, summary in summaries.items())


def _list() -> str:
    """Returns a line a format: name, modality, classes, licence, what it is, and where to get it."""
    rows = [
        (
            name,
            entry.modality,
            f"{len(entry.classes)} class{'es' * (len(entry.classes) > 1)}" if entry.classes else "its own classes",
            entry.licence,
            f"{entry.summary} ({entry.where})",
        )
        for name, entry in FORMATS.items()
    ]
    rows += [
        (name, name.removeprefix(_PHANTOM), "its own classes", "CC0", summary) for name, summary in PHANTOMS.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4])) + "\n"
        for row in rows
    )


def _name_of(source: Path) -> str:
    """Makes a dataset's name of its source's: `Task04_Hippocampus` becomes `Hippocampus`."""
    return safe_name(re.sub(r"^(Task|Dataset)\d+_", "", source.resolve().name))


def _target(raw: Path, dataset_id: int, name: str) -> Path:
    """Returns the folder of the new dataset, unless its ID is taken."""
    wanted = dataset_folder_name(dataset_id, name)
    try:
        there = find_dataset(raw, dataset_id)
    except DatasetNotFoundError:
        return raw / wanted
    if there != wanted:
        raise UsageError(
            f"-d {dataset_id}: {raw / there} has this ID already. Choose another ID; or remove that dataset; or, if it "
            f"is the one to complete, add -n {there.split('_', 1)[1]}."
        )
    return raw / wanted
