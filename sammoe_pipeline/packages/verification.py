"""Whether weights are still those that their cards and mixtures name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sammoe_pipeline.artefacts import MixtureCard, sha256_of
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.packages.contents import CARDS
from sammoe_pipeline.packages.inventory import CARD_BESIDE, weights_of_mixture
from sammoe_pipeline.paths import FOUNDATION_JSON, Results


@dataclass(frozen=True)
class Finding:
    """One file that was checked.

    Attributes:
        file: which.
        named_by: the card that says what it should be.
        fault: what is wrong; None where nothing is.
    """

    file: Path
    named_by: Path
    fault: str | None


def verify_cards(cards: Sequence[Path], foundation: Foundation, places: Results) -> Iterator[Finding]:
    """Computes the hashes of weights anew: the foundation's, then what each card names.

    Args:
        cards: of experts, locators and mixtures. A mixture's card names gates, experts and locators.
        foundation: that all belong to.
        places: where results lie.
    """
    hash_of = cache(sha256_of)

    def compare(file: Path, named_by: Path, sha256: str) -> Finding:
        if not file.is_file():
            return Finding(file, named_by, "is missing")
        found = hash_of(file)
        if found != sha256:
            return Finding(file, named_by, f"has SHA-256 {found[:12]}..., and should have {sha256[:12]}...")
        return Finding(file, named_by, None)

    yield compare(foundation.weights, foundation.folder / FOUNDATION_JSON, foundation.card.sha256)
    weights_beside = {card: weights for weights, card in CARD_BESIDE.items()}
    for path in cards:
        try:
            card = CARDS[path.name].load(path)
            named = (
                weights_of_mixture(card, places)
                if isinstance(card, MixtureCard)
                else [(path.with_name(weights_beside[path.name]), card.sha256)]
            )
        except ArtefactError as error:
            yield Finding(path, path, f"cannot be read: {error}")
            continue
        if card.foundation_sha256 != foundation.card.sha256:
            yield Finding(path, path, f"belongs to other foundation weights, {card.foundation_sha256[:12]}...")
        for file, sha256 in named:
            yield compare(file, path, sha256)
