"""Joining mixtures that others made into one, from their routing sets alone: experts are shared, scans are not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from sammoe_pipeline.artefacts import (
    MixtureCard,
    MixtureDataset,
    MixtureExpert,
    provenance,
)
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.prompt_description import described_configurations, new_gate
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.paths import MIXTURE_JSON, Results
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.gate_fitting import fit_gate
from sammoe_pipeline.training.mixture_files import write_mixture
from sammoe_pipeline.training.mixture_members import labels_of
from sammoe_pipeline.training.routing_set import read_routing_set
from sammoe_pipeline.training.thresholds import TOP_K


def join_mixtures(
    cards: Sequence[MixtureCard],
    *,
    name: str,
    foundation: Foundation,
    places: Results,
    seed: int,
) -> MixtureCard:
    """Makes a mixture of all experts of several, with a gate that is fitted to their routing sets.

    What a click looks like in the configurations of its own dataset's experts, and in native, is all that a gate is
    fitted to, so nothing has to be computed from an image. Each dataset's experts keep the threshold that their mixture
    measured on its data, with a gate that knew its datasets alone; of several, the highest.

    Args:
        cards: of installed mixtures.
        name: of the new one.
        foundation: what all belong to.
        places: where results lie.
        seed: of the gate.

    Returns:
        The mixture's card, also written to its folder.

    Raises:
        UsageError: two mixtures hold different things under one name, or one of them has the new one's name.
        ArtefactError: a mixture has no routing set, or weights were changed.
    """
    began = time.monotonic()
    if name in {card.name for card in cards}:
        raise UsageError(f"-m {name}: one of the mixtures is called so. Give the joined one a name of its own.")
    if not any(card.experts for card in cards):
        raise UsageError("None of the mixtures has an expert, so there is nothing to join.")
    thresholds = _highest_thresholds(cards)
    folds = tuple(range(1 + max(fold for card in cards for fold in card.folds)))
    experts: dict[str, MixtureExpert] = {}
    members: dict[str, _Member] = {}
    serving = {
        card.name: {fold: fold if fold in card.folds else card.folds[fold % len(card.folds)] for fold in folds}
        for card in cards
    }
    for card in cards:
        for expert in card.experts:
            key = expert_key(expert.dataset, expert.task)
            _add(experts, key, _expert_in(expert, serving[card.name], thresholds[expert.dataset]))
    joined = tuple(experts.values())
    for card in cards:
        for dataset in card.datasets:
            clicks, training = read_routing_set(places.routing_set(card.name, dataset.dataset), dataset)
            by_fold = dict(zip(card.folds, training, strict=True))
            member = _Member(
                entry=_dataset_in(dataset, serving[card.name]),
                clicks=clicks.described_in(_columns(foundation, dataset, card.experts, joined)),
                training={fold: frozenset(by_fold[own]) for fold, own in serving[card.name].items()},
            )
            _add(members, dataset.dataset, member)
    entries = tuple(member.entry for member in members.values())
    model = foundation.load_model("cpu")
    gates = {
        fold: fit_gate(
            new_gate(foundation, model, entries, joined),
            [member.clicks.of(member.training[fold]) for member in members.values()],
            seed=seed,
        )
        for fold in folds
    }
    card = MixtureCard(
        name=name,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        folds=folds,
        datasets=entries,
        experts=joined,
        labels=labels_of({one.dataset: tuple(one.values) for one in entries}, places.mixture(name) / MIXTURE_JSON),
        gate_sha256={},
        top_k=TOP_K,
        max_general_loss=max(card.max_general_loss for card in cards),
        calibration=(),
        calibration_patients=0,
        seconds=time.monotonic() - began,
        provenance=provenance(seed=seed, device="cpu", threads=torch.get_num_threads()),
    )
    return write_mixture(
        card,
        gates,
        [member.clicks for member in members.values()],
        [member.training for member in members.values()],
        places,
    )


@dataclass(frozen=True, eq=False)
class _Member:
    """A dataset with its clicks, and the training cases of each fold of the joined mixture."""

    entry: MixtureDataset
    clicks: DescribedClicks
    training: Mapping[int, frozenset[str]]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Member)
            and _without_file(self.entry) == _without_file(other.entry)
            and (self.clicks.classes, self.clicks.cases) == (other.clicks.classes, other.clicks.cases)
            and torch.equal(self.clicks.descriptions, other.clicks.descriptions)
            and self.training == other.training
        )


def _without_file(entry: MixtureDataset) -> MixtureDataset:
    """Returns a dataset's entry without what it says of its routing set's file, which may have another order."""
    return entry.model_copy(update={"routing_sha256": None})


def _columns(
    foundation: Foundation, dataset: MixtureDataset, held: Sequence[MixtureExpert], wanted: Sequence[MixtureExpert]
) -> list[int]:
    """Returns the column of each configuration that the joined gate reads in the clicks of one of the mixtures."""
    order = [one.shown for one in described_configurations(foundation, dataset, held)]
    return [order.index(one.shown) for one in described_configurations(foundation, dataset, wanted)]


T = TypeVar("T", MixtureExpert, _Member)


def _add(known: dict[str, T], key: str, found: T) -> None:
    """Adds an expert or a dataset, which may be in several mixtures if it is the same in all of them."""
    if known.setdefault(key, found) != found:
        raise UsageError(
            f"Two of the mixtures hold different things that are called {key}. Ask one of their makers to give it "
            f"another number or name."
        )


def _expert_in(expert: MixtureExpert, serving: dict[int, int], threshold: float) -> MixtureExpert:
    """Returns an expert's entry with the folds of the joined mixture, each served by a fold of its own."""
    return expert.model_copy(
        update={
            "threshold": threshold,
            "sha256": {str(fold): expert.sha256[str(own)] for fold, own in serving.items()},
            "expert_fold": {str(fold): expert.expert_fold[str(own)] for fold, own in serving.items()},
        }
    )


def _dataset_in(dataset: MixtureDataset, serving: dict[int, int]) -> MixtureDataset:
    """Returns a dataset's entry with the folds of the joined mixture."""
    located = {fold: own for fold, own in serving.items() if str(own) in dataset.locator_sha256}
    return dataset.model_copy(
        update={
            "held_out_folds": tuple(f for f, own in serving.items() if f == own and f in dataset.held_out_folds),
            "locator_sha256": {str(fold): dataset.locator_sha256[str(own)] for fold, own in located.items()},
            "locator_fold": {str(fold): dataset.locator_fold[str(own)] for fold, own in serving.items()},
        }
    )


def _highest_thresholds(cards: Sequence[MixtureCard]) -> dict[str, float]:
    """Returns the highest threshold that any mixture has for the experts of each dataset."""
    highest: dict[str, float] = {}
    for card in cards:
        for dataset, threshold in card.thresholds.items():
            highest[dataset] = max(threshold, highest.get(dataset, 0.0))
    return highest
