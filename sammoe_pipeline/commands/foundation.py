"""`sammoe_foundation`: which foundations there are, how others get in, and whether they are whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.commands.command import (
    add_folder_arguments,
    next_command,
    positive_float,
    run_command,
    same_flags,
)

if TYPE_CHECKING:
    from sammoe_pipeline.artefacts import FoundationCard
    from sammoe_pipeline.foundations import Foundation
    from sammoe_pipeline.model import SamMed3D

_EXAMPLES = """examples:
  sammoe_foundation download sam_med3d_turbo
  sammoe_foundation convert --from sam_model_latest.pth --name mine --trained_on Dataset004_Hippocampus
  sammoe_foundation verify sam_med3d_turbo --against_medim"""
_SHOWN_DATASETS = 3


def main(argv: list[str] | None = None) -> int:
    """Parses and runs one of `list`, `download`, `convert` and `verify`."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: arguments.body(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sammoe_foundation",
        description="List foundations, install published or own weights as one, and check them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="show bundled, installed and downloadable foundations")
    listing.set_defaults(body=_list)

    download = actions.add_parser("download", help="install a published foundation from the Hugging Face hub")
    download.add_argument("name", metavar="NAME", help="as `list` shows it, such as sam_med3d_turbo")
    download.set_defaults(body=_download)

    convert = actions.add_parser("convert", help="install a .pth, published or your own; nothing in it is run")
    convert.add_argument("--from", dest="source", required=True, type=Path, metavar="FILE", help="the .pth")
    convert.add_argument("--name", help="of the new foundation (default: the file's)")
    convert.add_argument("--builder", default="vit_b", help="network: vit_b (SAM-Med3D) or tiny (default: vit_b)")
    convert.add_argument(
        "--spacing", type=positive_float, default=1.5, metavar="MM", help="native spacing (default: 1.5)"
    )
    convert.add_argument(
        "--normalisation",
        choices=("positive", "equalised"),
        default="positive",
        help="of each window; SAM-Med3D was trained with positive (default)",
    )
    convert.add_argument(
        "--trained_on",
        nargs="+",
        default=[],
        metavar="DATASET",
        help="datasets whose cases it has seen, as DatasetXXX_Name: evaluation marks them",
    )
    convert.add_argument("--licence", default="unknown", help="of the weights (default: unknown)")
    convert.set_defaults(body=_convert)

    verify = actions.add_parser("verify", help="check hash, keys and values of a foundation")
    verify.add_argument("name", nargs="?", metavar="NAME", help="name or folder (default: as in every command)")
    verify.add_argument(
        "--against_medim",
        action="store_true",
        help="also segment with the public network (package medim) and ask for the same masks; takes a minute or two",
    )
    verify.add_argument("-i", type=Path, metavar="IMAGE", help="image to segment (default: one that is made up)")
    verify.set_defaults(body=_verify)

    for action in (listing, download, convert, verify):
        add_folder_arguments(action, only=("results",))
    return parser


def _results(arguments: argparse.Namespace) -> Path:
    from sammoe_pipeline.paths import find_results

    return find_results(arguments.results, create=False)


def _list(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.artefacts import FoundationCard
    from sammoe_pipeline.errors import ArtefactError
    from sammoe_pipeline.foundations import Foundation, default_foundation, foundation_folders
    from sammoe_pipeline.paths import FOUNDATION_JSON
    from sammoe_pipeline.published_foundations import PUBLISHED

    results = _results(arguments)
    folders = foundation_folders(results)
    for folder in folders:
        place = "installed" if results in folder.parents else "bundled"
        default = ", the default" if folder.name == default_foundation() else ""
        sys.stdout.write(f"{folder.name} ({place}{default})\n")
        try:
            foundation = Foundation(card=FoundationCard.load(folder / FOUNDATION_JSON), folder=folder)
        except ArtefactError as error:
            sys.stdout.write(f"  broken       {error}\n\n")
            continue
        card = foundation.card
        there = foundation.weights.is_file()
        size = f"{foundation.weights.stat().st_size / 1e6:.0f} MB" if there else "missing"
        _write_lines(
            network=f"{card.builder}, {card.patch_size} voxels a side at {card.spacing_mm:g} mm",
            weights=f"{size}, SHA-256 {card.sha256}",
            licence=card.licence,
            source=card.source,
            trained_on=_shortened(card.trained_on),
        )
    there_already = {folder.name for folder in folders}
    for name, published in PUBLISHED.items():
        if name not in there_already:
            sys.stdout.write(f"{name} (to download: sammoe_foundation download {name})\n")
            _write_lines(
                network=f"{published.builder}, {published.patch_size} voxels a side at {published.spacing_mm:g} mm",
                weights=f"{published.megabytes} MB, checked against the hub's SHA-256",
                licence=published.licence,
                source=f"{published.repository}, {published.file}",
                trained_on=_shortened(published.trained_on),
            )


def _write_lines(**lines: str) -> None:
    for title, text in lines.items():
        sys.stdout.write(f"  {title.replace('_', ' '):<11}{text}\n")
    sys.stdout.write("\n")


def _shortened(datasets: Iterable[str]) -> str:
    names = [entry.partition(":")[0] for entry in datasets]
    more = f" and {len(names) - _SHOWN_DATASETS} more" if len(names) > _SHOWN_DATASETS else ""
    return ", ".join(names[:_SHOWN_DATASETS]) + more or "not known"


def _download(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.download_foundation import download_foundation

    _report_installed(download_foundation(arguments.name, _results(arguments)), arguments)


def _convert(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.artefacts import sha256_of
    from sammoe_pipeline.convert_checkpoint import convert_checkpoint
    from sammoe_pipeline.foundations import new_foundation_folder
    from sammoe_pipeline.paths import safe_name

    path: Path = arguments.source
    folder = new_foundation_folder(arguments.name or safe_name(path.stem), _results(arguments))
    foundation = convert_checkpoint(
        path,
        folder,
        builder=arguments.builder,
        spacing_mm=arguments.spacing,
        normalisation=arguments.normalisation,
        trained_on=tuple(arguments.trained_on),
        licence=arguments.licence,
        source=f"{path.name}, SHA-256 {sha256_of(path)}" if path.is_file() else path.name,
    )
    _report_installed(foundation, arguments)


def _report_installed(foundation: Foundation, arguments: argparse.Namespace) -> None:
    name = foundation.card.name
    sys.stdout.write(f"Foundation '{name}' lies in {foundation.folder}\n")
    flags = same_flags(arguments)
    next_command(f"sammoe_foundation verify {name}{flags}")
    next_command(f"sammoe_plan_and_preprocess -d ID --foundation {name}{flags}")


def _verify(arguments: argparse.Namespace) -> None:
    from sammoe_pipeline.errors import UsageError
    from sammoe_pipeline.foundations import find_foundation

    if arguments.i and not arguments.against_medim:
        raise UsageError(f"-i {arguments.i}: an image is segmented only with --against_medim.")
    foundation = find_foundation(arguments.name, _results(arguments))
    model = foundation.verify()
    number = sum(value.numel() for value in model.state_dict().values())
    sys.stdout.write(
        f"Foundation '{foundation.card.name}' is whole: SHA-256 {foundation.card.sha256}, "
        f"{len(model.state_dict())} weights with {number / 1e6:.1f} million finite values.\n"
    )
    if arguments.against_medim:
        _compare_with_medim(foundation.card, model, arguments.i)


def _compare_with_medim(card: FoundationCard, model: SamMed3D, path: Path | None) -> None:
    from sammoe_pipeline.errors import SammoeError, UsageError
    from sammoe_pipeline.image_io import read_volume
    from sammoe_pipeline.preprocessing import to_configuration
    from sammoe_pipeline.protocol_parity import PUBLIC_BUILDER, compare, made_up_volume, public_network, usual_clicks

    if card.builder != PUBLIC_BUILDER:
        raise UsageError(f"--against_medim: '{card.name}' is a {card.builder}; medim has only {PUBLIC_BUILDER}.")
    theirs = public_network({name: value.clone() for name, value in model.state_dict().items()})
    image = to_configuration(read_volume(path) if path else made_up_volume(), card.spacing_mm)
    x, y, z = image.shape
    clicks = usual_clicks((x, y, z), card.patch_size)
    differing = 0
    for agreement in compare(model, theirs, image, clicks, normalisation=card.normalisation):
        differing += agreement.differing
        sys.stdout.write(
            f"{agreement.precision}, click at {agreement.click.position}: {int(agreement.theirs.sum())} voxels by "
            f"medim, {agreement.differing} differ, logits by at most {agreement.largest_difference:.1e}\n"
        )
    if differing:
        raise SammoeError(f"The masks of '{card.name}' differ from those of medim in {differing} voxels.")
    sys.stdout.write("The masks are those of medim.\n")
