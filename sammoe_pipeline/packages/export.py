"""An expert or a mixture written as one file to share, without anything that tells of patients or of the machine.

Cards are strict models of counts, scores, hashes and names of datasets, tasks and classes; they hold no case and no
path. Logs, checkpoints, splits and tables of an evaluation stay behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from sammoe_pipeline.artefacts import sha256_of
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundations import Foundation, check_hash
from sammoe_pipeline.packages.archive import write_archive
from sammoe_pipeline.packages.contents import CARDS, Card, Shapes, card_content, describe_content, name_in_package
from sammoe_pipeline.packages.inventory import CARD_BESIDE, Expert, InstalledMixture
from sammoe_pipeline.packages.manifest import (
    UNKNOWN_LICENCE,
    PackageFile,
    PackageFoundation,
    PackageManifest,
    Scores,
    manifest_of,
)
from sammoe_pipeline.packages.scores import scores_of_expert, scores_of_mixture
from sammoe_pipeline.paths import MIXTURE_JSON, Results


def export_expert(
    expert: Expert, path: Path, *, foundation: Foundation, places: Results, licence: str | None
) -> PackageManifest:
    """Writes the finished folds of an expert as a package: weights and cards, no log and no checkpoint.

    Args:
        expert: what to share.
        path: of the zip file.
        foundation: that it belongs to.
        places: where results lie.
        licence: of the weights; None keeps that of the packages its parts were installed from.

    Raises:
        UsageError: `path` is a folder.
        ArtefactError: weights are missing or changed, do not fit the foundation, or belong to another.
    """
    scores = scores_of_expert(expert, places)
    return _export("expert", expert.key, expert.weights(places), (), scores, path, foundation, places, licence)


def export_mixture(
    mixture: InstalledMixture, path: Path, *, foundation: Foundation, places: Results, licence: str | None
) -> PackageManifest:
    """Writes a mixture as a package: its card and gates, and the experts and locators that serve its folds.

    Arguments and errors are those of `export_expert`.
    """
    name, card = mixture.folder.name, mixture.folder / MIXTURE_JSON
    scores = scores_of_mixture(mixture, places)
    return _export("mixture", name, mixture.weights(places), (card,), scores, path, foundation, places, licence)


def _export(
    kind: Literal["expert", "mixture"],
    name: str,
    weights: Sequence[tuple[Path, str]],
    cards: Sequence[Path],
    scores: Scores,
    path: Path,
    foundation: Foundation,
    places: Results,
    licence: str | None,
) -> PackageManifest:
    if path.is_dir():
        raise UsageError(f"-o {path}: that is a folder. Give the name of a file, such as {path / f'{kind}.zip'}.")
    beside = [file.with_name(CARD_BESIDE[file.name]) for file, _ in weights if file.name in CARD_BESIDE]
    loaded = {card: _load_card(card, foundation) for card in (*cards, *beside)}
    by_name = {name_in_package(card, places): content for card, content in loaded.items()}
    shapes = Shapes(foundation, by_name)
    for file, sha256 in weights:
        check_hash(file, sha256)
        shapes.require(name_in_package(file, places), file.read_bytes(), origin=str(file))
    contents: dict[str, bytes | Path] = {card: card_content(content) for card, content in by_name.items()}
    contents |= {name_in_package(file, places): file for file, _ in weights}
    manifest = PackageManifest(
        kind=kind,
        name=name,
        foundation=PackageFoundation.of(foundation.card),
        licence=licence or _licence(loaded, places),
        scores=scores,
        files=tuple(_describe(member, contents[member]) for member in sorted(contents)),
    )
    write_archive(path, manifest, contents)
    return manifest


def _load_card(path: Path, foundation: Foundation) -> Card:
    card = CARDS[path.name].load(path)
    if card.foundation_sha256 != foundation.card.sha256:
        raise ArtefactError(
            f"{path} belongs to foundation weights {card.foundation_sha256[:12]}..., not to '{foundation.card.name}' "
            f"({foundation.card.sha256[:12]}...). Choose its own with --foundation."
        )
    return card


def _licence(cards: Iterable[Path], places: Results) -> str:
    """Returns the licences of all parts, as SPDX joins them; parts that were trained here have none that is known."""
    manifests = [manifest_of(card.parent, card, places) for card in cards]
    return " AND ".join(sorted({manifest.licence if manifest else UNKNOWN_LICENCE for manifest in manifests}))


def _describe(name: str, content: bytes | Path) -> PackageFile:
    if isinstance(content, bytes):
        return describe_content(name, content)
    return PackageFile(path=name, size_bytes=content.stat().st_size, sha256=sha256_of(content))
