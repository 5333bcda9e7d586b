"""A package that came from somewhere: everything about it checked against itself and a foundation, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sammoe_pipeline.artefacts import Artefact, ExpertCard, LocatorCard, MixtureCard
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.packages.archive import LARGEST_JSON_BYTES, Package
from sammoe_pipeline.packages.contents import (
    CARDS,
    PARTS,
    Card,
    Shapes,
    card_content,
    describe_content,
    name_in_package,
    place_of,
)
from sammoe_pipeline.packages.inventory import CARD_BESIDE, weights_of_mixture
from sammoe_pipeline.packages.manifest import PackageFile, PackageFoundation, PackageManifest
from sammoe_pipeline.packages.weights import largest_size_bytes
from sammoe_pipeline.paths import EXPERT_WEIGHTS, MANIFEST_JSON, Results, is_dataset_folder, safe_name


@dataclass(frozen=True)
class Received:
    """What of a package is to be installed.

    Attributes:
        manifest: of the files as they are to lie below the foundation's results.
        cards: by the path that each is to have.
        weights: by the path that each is to have, the file in the package that they are taken from.
    """

    manifest: PackageManifest
    cards: dict[str, Card]
    weights: dict[str, PackageFile]

    @classmethod
    def of(cls, manifest: PackageManifest, cards: dict[str, Card], weights: dict[str, PackageFile]) -> Received:
        """Describes the files as they are to lie, in a manifest that is otherwise the one given."""
        files = [describe_content(path, card_content(card)) for path, card in cards.items()]
        files += [file.model_copy(update={"path": path}) for path, file in weights.items()]
        files.sort(key=lambda file: file.path)
        return cls(manifest=manifest.model_copy(update={"files": tuple(files)}), cards=cards, weights=weights)


def check_package(package: Package, foundation: Foundation, places: Results) -> Received:
    """Checks every file of a package: size, hash, schema, where it says it lies, and whether its weights fit.

    Args:
        package: an open one.
        foundation: the one in use.
        places: where its parts would lie.

    Raises:
        ArtefactError: the package is for another foundation, or anything in it is not as it says.
    """
    manifest = package.manifest
    _require_printable(package, MANIFEST_JSON, manifest)
    _require_foundation(package, foundation)
    cards: dict[str, Card] = {}
    weights: dict[str, PackageFile] = {}
    for file in manifest.files:
        kind = PurePosixPath(file.path).name
        if kind in CARDS:
            content = package.read(file, at_most=LARGEST_JSON_BYTES)
            cards[file.path] = CARDS[kind].parse(content, origin=f"{package.path}: {file.path}")
            _require_printable(package, file.path, cards[file.path])
        elif kind in PARTS:
            weights[file.path] = file
        else:
            raise package.refused(f"{file.path} is neither a card nor weights in safetensors format")
    _require_own_places(package, cards, foundation, places)
    _require_named_weights(package, cards, weights)
    _require_kind(package, cards, weights, places)
    shapes = Shapes(foundation, cards)
    for name, file in weights.items():
        content = package.read(file, at_most=largest_size_bytes(shapes.of(name)))
        shapes.require(name, content, origin=f"{package.path}: {name}")
    return Received.of(manifest, cards, weights)


def _require_printable(package: Package, name: str, artefact: Artefact) -> None:
    """Refuses texts that would do something to a terminal in which they are shown."""
    if strange := next((text for text in _texts(artefact.model_dump()) if not text.isprintable()), None):
        raise package.refused(f"{name} holds characters that are not for printing, in {strange!r}")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *_texts(item))
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)


def _require_foundation(package: Package, foundation: Foundation) -> None:
    wanted, here = package.manifest.foundation, PackageFoundation.of(foundation.card)
    if wanted.sha256 != here.sha256:
        raise ArtefactError(
            f"{package.path} belongs to foundation '{wanted.name}' ({wanted.sha256[:12]}...), and the one in use is "
            f"'{here.name}' ({here.sha256[:12]}...). Choose its own with --foundation; sammoe_foundation list shows "
            f"those there are."
        )
    differing = [
        f"{field} is {getattr(wanted, field)} there and {getattr(here, field)} here"
        for field in ("spacing_mm", "patch_size", "normalisation")
        if getattr(wanted, field) != getattr(here, field)
    ]
    if differing:
        raise ArtefactError(
            f"{package.path} belongs to the weights of '{here.name}', but shows them images in another way: "
            f"{', '.join(differing)}. Install the foundation again as the package's maker did, under a name of its own."
        )


def _require_own_places(package: Package, cards: dict[str, Card], foundation: Foundation, places: Results) -> None:
    """Refuses cards that name another foundation, or another place than the one where they lie."""
    for name, card in cards.items():
        if card.foundation_sha256 != foundation.card.sha256:
            raise package.refused(f"{name} belongs to another foundation than its manifest says")
        named_well = isinstance(card, MixtureCard) or is_dataset_folder(card.dataset)
        if isinstance(card, ExpertCard):
            named_well = named_well and "/" not in card.task
        if not named_well or name_in_package(place_of(card, places), places) != name:
            raise package.refused(f"{name} does not lie where it says")


def _require_kind(package: Package, cards: dict[str, Card], weights: dict[str, PackageFile], places: Results) -> None:
    """Refuses anything but the folds of one expert, or one mixture with just what it needs."""
    name, kind = package.manifest.name, package.manifest.kind
    if kind == "expert":
        keys = {expert_key(c.dataset, c.task) if isinstance(c, ExpertCard) else "" for c in cards.values()}
        if keys != {name} or {PurePosixPath(path).name for path in weights} != {EXPERT_WEIGHTS}:
            raise package.refused(f"it says it is the expert {name}, and holds something else")
        return
    mixtures = [card for card in cards.values() if isinstance(card, MixtureCard)]
    if len(mixtures) != 1 or safe_name(mixtures[0].name) != name:
        raise package.refused(f"it says it is the mixture {name}, and holds something else")
    datasets = {*(one.dataset for one in mixtures[0].datasets), *(one.dataset for one in mixtures[0].experts)}
    if not all(map(is_dataset_folder, datasets)):
        raise package.refused(f"the mixture {name} names a dataset that is no DatasetXXX_Name")
    needed = set(weights_of_mixture(mixtures[0], places))
    if needed != {(places.folder / path, file.sha256) for path, file in weights.items()}:
        raise package.refused(f"its weights are not those that the mixture {name} is made of")
    classes = {member.dataset: len(member.configurations) for member in mixtures[0].datasets}
    for card in cards.values():
        if isinstance(card, LocatorCard) and len(card.classes) != classes[card.dataset]:
            raise package.refused(f"the locator of {card.dataset} looks for other classes than the mixture {name}")


def _require_named_weights(package: Package, cards: dict[str, Card], weights: dict[str, PackageFile]) -> None:
    """Refuses weights without their card, cards without their weights, and weights that their card does not name."""
    beside = {
        str(PurePosixPath(name).with_name(CARD_BESIDE[PurePosixPath(name).name])): file
        for name, file in weights.items()
        if PurePosixPath(name).name in CARD_BESIDE
    }
    own = {name: card for name, card in cards.items() if not isinstance(card, MixtureCard)}
    if lonely := sorted(beside.keys() ^ own.keys()):
        raise package.refused(f"{lonely[0]} or its weights are missing")
    for name, card in own.items():
        if card.sha256 != beside[name].sha256:
            raise package.refused(f"{name} names other weights than those beside it")
