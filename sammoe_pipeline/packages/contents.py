"""What the files of a package are: which card belongs to which weights, and which weights fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sammoe_pipeline.artefacts import ExpertCard, LocatorCard, MixtureCard
from sammoe_pipeline.packages.inventory import CARD_BESIDE
from sammoe_pipeline.packages.manifest import PackageFile
from sammoe_pipeline.packages.weights import network_without_weights, require_weights
from sammoe_pipeline.paths import (
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    GATE_WEIGHTS,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    MIXTURE_JSON,
    ROUTING_SET,
    Results,
)

if TYPE_CHECKING:
    from torch import Tensor

    from sammoe_pipeline.foundations import Foundation

Card = ExpertCard | LocatorCard | MixtureCard
CARDS: dict[str, type[Card]] = {EXPERT_JSON: ExpertCard, LOCATOR_JSON: LocatorCard, MIXTURE_JSON: MixtureCard}
"""What a card is, by the name of its file."""

PARTS = {
    EXPERT_WEIGHTS: "the mask decoder",
    LOCATOR_WEIGHTS: "a locator",
    GATE_WEIGHTS: "a gate",
    ROUTING_SET: "a routing set",
}


def name_in_package(path: Path, places: Results) -> str:
    """Returns where a file of the results lies in a package."""
    return path.relative_to(places.folder).as_posix()


def place_of(card: Card, places: Results) -> Path:
    """Returns where a card lies among results, by what it says of itself."""
    if isinstance(card, ExpertCard):
        return places.expert_fold(card.dataset, card.task, card.fold) / EXPERT_JSON
    if isinstance(card, LocatorCard):
        return places.locator_fold(card.dataset, card.fold) / LOCATOR_JSON
    return places.mixture(card.name) / MIXTURE_JSON


def card_content(card: Card) -> bytes:
    """Returns a card as the bytes of its file."""
    return (card.model_dump_json(indent=2) + "\n").encode()


def describe_content(name: str, content: bytes) -> PackageFile:
    """Returns the manifest's entry of a file."""
    return PackageFile(path=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


class Shapes:
    """Names and shapes of what a package's weights must hold to fit a foundation.

    Args:
        foundation: its decoder is every expert's shape, its embedding decides that of locators and gates.
        cards: of the package, by name in it.

    Raises:
        ArtefactError: the foundation has no such network.
    """

    def __init__(self, foundation: Foundation, cards: Mapping[str, Card]) -> None:
        self._foundation = foundation
        self._cards = cards
        self._network = network_without_weights(foundation.card)

    def require(self, name: str, content: bytes, *, origin: str) -> None:
        """Refuses a file of weights that is not exactly what its place says.

        Args:
            name: in the package.
            content: the file.
            origin: where it comes from, for the message.

        Raises:
            ArtefactError: as in `require_weights`.
        """
        part = f"{PARTS[PurePosixPath(name).name]} of foundation '{self._foundation.card.name}'"
        require_weights(content, self.of(name), origin=origin, part=part)

    def of(self, name: str) -> dict[str, Tensor]:
        """Returns what a file of weights must hold, tensors that only have shapes.

        Args:
            name: in the package; a card that says what it is lies beside it, or in a folder above.
        """
        import torch

        from sammoe_pipeline.inference.locate import new_locator
        from sammoe_pipeline.inference.prompt_description import new_gate
        from sammoe_pipeline.model import new_decoder
        from sammoe_pipeline.training.routing_set import empty_routing_set

        path = PurePosixPath(name)
        if path.name == EXPERT_WEIGHTS:
            expert = self._cards[str(path.with_name(EXPERT_JSON))]
            assert isinstance(expert, ExpertCard)
            return new_decoder(self._network, second_look=expert.second_look).state_dict()
        with torch.device("meta"):
            if path.name in CARD_BESIDE:
                card = self._cards[str(path.with_name(CARD_BESIDE[path.name]))]
                assert isinstance(card, LocatorCard)
                return new_locator(self._network, len(card.classes), second_look=card.second_look).state_dict()
            depth = 2 if path.name == ROUTING_SET else 1
            mixture = self._cards[str(path.parents[depth] / MIXTURE_JSON)]
            assert isinstance(mixture, MixtureCard)
            if path.name == ROUTING_SET:
                return empty_routing_set(self._foundation, self._network, mixture, path.parent.name)
            gate = new_gate(self._foundation, self._network, mixture.datasets, mixture.experts)
            return gate.state_dict()
