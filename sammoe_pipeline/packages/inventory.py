"""Which experts and mixtures lie under the results of a foundation, and what a mixture is made of."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.artefacts import ExpertCard, MixtureCard
from sammoe_pipeline.errors import ArtefactError, UsageError, did_you_mean
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.paths import (
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    GATE_WEIGHTS,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    MIXTURE_JSON,
    MIXTURES,
    Results,
)

logger = logging.getLogger(__name__)

CARD_BESIDE = {EXPERT_WEIGHTS: EXPERT_JSON, LOCATOR_WEIGHTS: LOCATOR_JSON}
"""Name of the card that lies beside a file of weights; gates have theirs in the mixture's card."""


@dataclass(frozen=True)
class Expert:
    """An expert with its finished folds.

    Attributes:
        folder: where its folds lie.
        cards: one a finished fold, in their order; at least one.
    """

    folder: Path
    cards: tuple[ExpertCard, ...]

    @property
    def key(self) -> str:
        """`DatasetXXX_Name/task`."""
        return expert_key(self.cards[0].dataset, self.cards[0].task)

    @property
    def folds(self) -> tuple[int, ...]:
        """Numbers of the finished folds."""
        return tuple(card.fold for card in self.cards)

    def weights(self, places: Results) -> list[tuple[Path, str]]:
        """Returns each fold's weights and the SHA-256 that its card names."""
        return [
            (places.expert_fold(card.dataset, card.task, card.fold) / EXPERT_WEIGHTS, card.sha256)
            for card in self.cards
        ]


@dataclass(frozen=True)
class InstalledMixture:
    """A mixture on disk.

    Attributes:
        folder: where its card lies.
        card: what it is.
    """

    folder: Path
    card: MixtureCard

    def weights(self, places: Results) -> list[tuple[Path, str]]:
        """Returns every file of weights that it needs beside the foundation's, and the SHA-256 that its card names."""
        return weights_of_mixture(self.card, places)


def list_experts(places: Results) -> list[Expert]:
    """Lists the experts with a finished fold. A card that cannot be read is named in the log and left out."""
    cards: dict[Path, list[ExpertCard]] = {}
    for path in card_paths(places):
        if path.name != EXPERT_JSON:
            continue
        try:
            card = ExpertCard.load(path)
        except ArtefactError as error:
            logger.warning("%s\nIt is left out.", error)
            continue
        if places.expert_fold(card.dataset, card.task, card.fold) != path.parent:
            key = expert_key(card.dataset, card.task)
            logger.warning("%s says it is %s, fold %d, which lies elsewhere. It is left out.", path, key, card.fold)
            continue
        cards.setdefault(path.parent.parent, []).append(card)
    return [
        Expert(folder=folder, cards=tuple(sorted(of_one, key=lambda card: card.fold)))
        for folder, of_one in cards.items()
    ]


def find_expert(name: str, places: Results) -> Expert:
    """Finds an expert by `DatasetXXX_Name/task`, `Name/task` or `ID/task`.

    Raises:
        UsageError: there is none, or several have the ID; the message lists those there are.
    """
    experts = list_experts(places)
    dataset, _, task = name.strip("'\" ").partition("/")
    found = [
        expert
        for expert in experts
        for card in expert.cards[:1]
        if task in (card.task, expert.folder.name) and _is_called(dataset, card.dataset)
    ]
    if len(found) == 1:
        return found[0]
    known = [expert.key for expert in experts]
    if found:
        raise UsageError(f"{name!r} may be {' or '.join(expert.key for expert in found)}. Give the whole name.")
    mixture = f" There is a mixture of this name: -m {name}." if (places.mixture(name) / MIXTURE_JSON).is_file() else ""
    raise UsageError(
        f"{name!r}: there is no such expert in {places.folder}.{did_you_mean(name, known)}{mixture} There are: "
        f"{', '.join(known) or 'none'}."
    )


def _is_called(wanted: str, dataset: str) -> bool:
    number, _, short = dataset.removeprefix("Dataset").partition("_")
    return wanted in (dataset, short) or (wanted.isdecimal() and int(wanted) == int(number))


def list_mixtures(places: Results) -> list[InstalledMixture]:
    """Lists the mixtures by name.

    Raises:
        ArtefactError: a card cannot be read: what that mixture needs cannot be told.
    """
    return [
        InstalledMixture(folder=path.parent, card=MixtureCard.load(path))
        for path in card_paths(places)
        if path.name == MIXTURE_JSON
    ]


def find_mixture(name: str, places: Results) -> InstalledMixture:
    """Finds a mixture by name.

    Raises:
        UsageError: there is none; the message lists those there are.
        ArtefactError: its card cannot be read.
    """
    folder = find_mixture_folder(name, places)
    return InstalledMixture(folder=folder, card=MixtureCard.load(folder / MIXTURE_JSON))


def find_mixture_folder(name: str, places: Results) -> Path:
    """Finds the folder of a mixture, whether or not its card can be read.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    folder = places.mixture(name)
    if not (folder / MIXTURE_JSON).is_file():
        known = [path.parent.name for path in card_paths(places) if path.name == MIXTURE_JSON]
        raise UsageError(
            f"-m {name!r}: there is no such mixture in {folder.parent}.{did_you_mean(name, known)} There are: "
            f"{', '.join(known) or 'none'}."
        )
    return folder


def card_paths(places: Results) -> list[Path]:
    """Returns the cards of all experts, locators and mixtures; what is being written is left out."""
    of_datasets = [f"Dataset*/[!.]*/[!.]*/{card}" for card in CARD_BESIDE.values()]
    patterns = [*of_datasets, f"{MIXTURES}/[!.]*/{MIXTURE_JSON}"]
    return [path for pattern in patterns for path in sorted(places.folder.glob(pattern))]


def weights_of_mixture(card: MixtureCard, places: Results) -> list[tuple[Path, str]]:
    """Returns every file of weights that a mixture needs beside the foundation's, and the SHA-256 that its card names.

    Raises:
        ArtefactError: the card does not say which weights serve one of its folds.
    """
    folds = {str(fold) for fold in card.folds}
    gates = folds if card.experts else set()
    whole = (
        set(card.gate_sha256) == gates
        and all(set(expert.sha256) == set(expert.expert_fold) == folds for expert in card.experts)
        and all(set(member.locator_sha256) <= set(member.locator_fold) for member in card.datasets)
    )
    if not whole:
        raise ArtefactError(f"{MIXTURE_JSON} of '{card.name}' does not name weights for each fold: fit it again.")
    needed = [
        (places.gate_fold(card.name, int(fold)) / GATE_WEIGHTS, sha256) for fold, sha256 in card.gate_sha256.items()
    ]
    for expert in card.experts:
        for fold, own in expert.expert_fold.items():
            needed.append((places.expert_fold(expert.dataset, expert.task, own) / EXPERT_WEIGHTS, expert.sha256[fold]))
    for member in card.datasets:
        if member.routing_sha256 is not None:
            needed.append((places.routing_set(card.name, member.dataset), member.routing_sha256))
        for fold, sha256 in member.locator_sha256.items():
            needed.append((places.locator_fold(member.dataset, member.locator_fold[fold]) / LOCATOR_WEIGHTS, sha256))
    return list(dict.fromkeys(needed))


def users_of(folder: Path, places: Results) -> dict[str, list[tuple[Path, str]]]:
    """Returns, by mixture, the weights in a folder that it needs; mixtures that need none are left out."""
    found = {}
    for mixture in list_mixtures(places):
        needed = [(path, sha256) for path, sha256 in mixture.weights(places) if folder in path.parents]
        if needed and folder != mixture.folder:
            found[mixture.folder.name] = needed
    return found
