"""`sammoe_experts`: which experts and mixtures there are, and how they are shared, installed, removed and checked."""

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

if TYPE_CHECKING:
    from sammoe_pipeline.foundations import Foundation
    from sammoe_pipeline.paths import Results

_EXAMPLES = """examples:
  sammoe_experts show Dataset004_Hippocampus/hippocampus
  sammoe_experts export -m default -o default.zip --licence CC-BY-4.0
  sammoe_experts install default.zip
  sammoe_experts verify"""


def main(argv: list[str] | None = None) -> int:
    """Parses and runs one of `list`, `show`, `export`, `install`, `remove` and `verify`."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: arguments.body(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sammoe_experts",
        description="List experts and mixtures, share them as one file without case names or paths, install what "
        "others share, and check that weights are what they should be.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="experts and mixtures of the foundation in use")
    listing.set_defaults(body=_list)

    show = actions.add_parser("show", help="what an expert or mixture was trained on, how it does, and its hashes")
    _add_name(show)
    show.set_defaults(body=_show)

    export = actions.add_parser("export", help="write an expert, or a mixture with all it needs, as one .zip to share")
    _add_name(export)
    export.add_argument("-o", required=True, type=Path, metavar="FILE", help="the .zip; an existing one is replaced")
    export.add_argument(
        "--licence", metavar="TEXT", help="of the weights, such as CC-BY-4.0 (default: that of installed parts)"
    )
    export.set_defaults(body=_export)

    install = actions.add_parser("install", help="install a .zip; everything in it is checked first, nothing is run")
    install.add_argument("package", type=Path, metavar="FILE", help="what `export` wrote")
    taken = install.add_mutually_exclusive_group()
    taken.add_argument(
        "--as", dest="name", metavar="NAME", help="install under another name: DatasetXXX_Name/task, or a mixture's"
    )
    taken.add_argument(
        "--overwrite", action="store_true", help="replace another expert or mixture of the same name, with its logs"
    )
    install.set_defaults(body=_install)

    remove = actions.add_parser("remove", help="remove an expert or mixture; not an expert that a mixture uses")
    _add_name(remove)
    remove.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
    remove.set_defaults(body=_remove)

    verify = actions.add_parser("verify", help="compute hashes anew; exit code 1 if any is not what it should be")
    _add_name(verify, optional=" (default: everything)")
    verify.set_defaults(body=_verify)

    for action in (listing, show, export, install, remove, verify):
        add_foundation_argument(action)
        add_folder_arguments(action, only=("results",))
    return parser


def _add_name(parser: argparse.ArgumentParser, *, optional: str = "") -> None:
    which = parser.add_mutually_exclusive_group(required=not optional)
    which.add_argument("name", nargs="?", metavar="NAME", help=f"an expert: DatasetXXX_Name/task or ID/task{optional}")
    which.add_argument("-m", metavar="NAME", help="a mixture, in place of an expert")


def _places(arguments: argparse.Namespace) -> tuple[Foundation, Results]:
    from sammoe_pipeline.foundations import find_foundation
    from sammoe_pipeline.paths import Results, find_results

    root = find_results(arguments.results, create=False)
    foundation = find_foundation(arguments.foundation, root)
    return foundation, Results(root=root, foundation=foundation.card.name)


def _list(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.packages.inventory import list_experts, list_mixtures
    from sammoe_pipeline.packages.words import list_in_words

    foundation, places = _places(arguments)
    experts, mixtures = list_experts(places), list_mixtures(places)
    if not experts and not mixtures:
        sys.stdout.write(f"There are no experts of foundation '{foundation.card.name}' in {places.folder}\n")
        next_command(f"sammoe_train_expert -d ID{same_flags(arguments)}")
        return
    sys.stdout.write(list_in_words(experts, mixtures, places))


def _show(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.packages.inventory import find_expert, find_mixture
    from sammoe_pipeline.packages.words import expert_in_words, mixture_in_words

    _, places = _places(arguments)
    if arguments.m:
        sys.stdout.write(mixture_in_words(find_mixture(arguments.m, places), places))
    else:
        sys.stdout.write(expert_in_words(find_expert(arguments.name, places), places))


def _export(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.packages.export import export_expert, export_mixture
    from sammoe_pipeline.packages.inventory import find_expert, find_mixture
    from sammoe_pipeline.packages.words import megabytes, scores_in_words

    foundation, places = _places(arguments)
    if arguments.m:
        manifest = export_mixture(
            find_mixture(arguments.m, places),
            arguments.o,
            foundation=foundation,
            places=places,
            licence=arguments.licence,
        )
    else:
        manifest = export_expert(
            find_expert(arguments.name, places),
            arguments.o,
            foundation=foundation,
            places=places,
            licence=arguments.licence,
        )
    sys.stdout.write(
        f"{manifest.kind.capitalize()} {manifest.name} written to {arguments.o}: {len(manifest.files)} files, "
        f"{megabytes([arguments.o])}, licence {manifest.licence}. It names datasets, tasks and classes, no case and no "
        f"path.\n{scores_in_words(manifest.scores)}"
    )
    next_command(f"sammoe_experts install {shlex.quote(str(arguments.o))}{same_flags(arguments)}")


def _install(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.packages.install import install_package

    foundation, places = _places(arguments)
    installed = install_package(
        arguments.package,
        foundation=foundation,
        places=places,
        name=arguments.name,
        overwrite=arguments.overwrite,
    )
    manifest = installed.manifest
    what = f"{manifest.kind.capitalize()} {manifest.name}"
    if installed.placed:
        listed = "".join(f"  {places.folder / folder}\n" for folder in installed.placed)
        sys.stdout.write(f"{what} is installed, licence {manifest.licence}:\n{listed}")
    else:
        sys.stdout.write(f"{what} is there already, file by file the same. Nothing was changed.\n")
    if manifest.kind == "mixture":
        next_command(f"sammoe_predict -i IMAGES -o OUTPUT -m {shlex.quote(manifest.name)}{same_flags(arguments)}")
    else:
        next_command(f"sammoe_plan_and_preprocess -d ID{same_flags(arguments)}")


def _remove(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.errors import UsageError
    from sammoe_pipeline.packages.inventory import find_expert, find_mixture_folder
    from sammoe_pipeline.packages.removal import remove_folder, require_removable
    from sammoe_pipeline.packages.words import megabytes

    _, places = _places(arguments)
    if arguments.m:
        folder, what = find_mixture_folder(arguments.m, places), f"mixture {arguments.m}"
    else:
        expert = find_expert(arguments.name, places)
        folder, what = expert.folder, f"expert {expert.key}"
        require_removable(folder, places)
    size = megabytes(folder.rglob("*"))
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise UsageError(f"Removing {what} ({size}) cannot be undone. Say --yes where nobody can be asked.")
        if input(f"Remove {what} with {size} in {folder}? This cannot be undone. [y/N] ").strip().lower() != "y":
            sys.stdout.write("Nothing was removed.\n")
            return
    remove_folder(folder, places)
    sys.stdout.write(f"Removed {what} ({size}).\n")


def _verify(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.errors import SammoeError
    from sammoe_pipeline.packages.inventory import card_paths, find_expert, find_mixture_folder
    from sammoe_pipeline.packages.verification import verify_cards

    foundation, places = _places(arguments)
    cards = card_paths(places)
    if arguments.m or arguments.name:
        folder = find_mixture_folder(arguments.m, places) if arguments.m else find_expert(arguments.name, places).folder
        cards = [card for card in cards if folder in card.parents]
    findings = []
    for finding in verify_cards(cards, foundation, places):
        findings.append(finding)
        says = f"{finding.named_by.parent.name}/{finding.named_by.name}"
        sys.stdout.write(
            f"differs  {finding.file} {finding.fault} ({says})\n"
            if finding.fault
            else f"same     {finding.file} ({says})\n"
        )
    if wrong := sum(finding.fault is not None for finding in findings):
        raise SammoeError(
            f"{wrong} of {len(findings)} files are not what their cards say: they were changed or damaged. Install or "
            f"train them again, and fit the gate of mixtures that use them again with sammoe_train_gate."
        )
    sys.stdout.write(f"All {len(findings)} hashes are those that the cards name.\n")
