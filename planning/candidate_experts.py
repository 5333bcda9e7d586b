"""Experts of other datasets: one that is good enough already need not be trained again, a good one is a good start."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.artefacts import CandidateExpert, Configuration, ExpertCard, Splits
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.paths import EXPERT_JSON, EXPERT_WEIGHTS, SPLITS_JSON, Results
from sammoe_pipeline.raw_dataset import RawDataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A finished expert of another dataset.

    Attributes:
        entry: which it is.
        weights: its file.
        configuration: in which it sees images.
        cases: names of the cases of its dataset; empty where its splits are not at hand.
    """

    entry: CandidateExpert
    weights: Path
    configuration: Configuration
    cases: frozenset[str]

    def fits(self, configuration: Configuration) -> bool:
        """Tells whether it sees images as a configuration shows them, whatever both are called."""
        return self.configuration.model_copy(update={"name": configuration.name}) == configuration


def find_candidates(dataset: str, foundation: Foundation, *, results: Path, preprocessed: Path) -> list[Candidate]:
    """Lists the finished experts of this foundation for other datasets, each by its first finished fold.

    A card that cannot be read is named in the log and left out.

    Args:
        dataset: folder name of the dataset that is planned; its own experts do not count.
        foundation: that they have to belong to.
        results: root of results.
        preprocessed: root of preprocessed datasets, where splits tell which cases they come from.
    """
    found: dict[str, Candidate] = {}
    places = Results(root=results, foundation=foundation.card.name)
    for path in sorted(places.folder.glob(f"Dataset*/*/fold_*/{EXPERT_JSON}")):
        try:
            card = ExpertCard.load(path)
        except ArtefactError as error:
            logger.warning("%s; it is no candidate", error)
            continue
        key = expert_key(card.dataset, card.task)
        if card.dataset == dataset or card.foundation_sha256 != foundation.card.sha256:
            continue
        if key in found and found[key].entry.fold <= card.fold:
            continue
        found[key] = Candidate(
            entry=CandidateExpert(expert=key, fold=card.fold, sha256=card.sha256),
            weights=path.with_name(EXPERT_WEIGHTS),
            configuration=card.configuration,
            cases=_cases(preprocessed / card.dataset / SPLITS_JSON),
        )
    return [found[key] for key in sorted(found)]


def _cases(splits: Path) -> frozenset[str]:
    if not splits.is_file():
        return frozenset()
    first = Splits.load(splits).folds[0]
    return frozenset((*first.train, *first.calibration, *first.val))


def remarks_on(raw: RawDataset, foundation: Foundation, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Says which decoders may have seen the patients that they are measured on: their Dice then flatters.

    Args:
        raw: the dataset that is planned.
        foundation: its card lists what it was trained on.
        candidates: experts of other datasets.
    """
    remarks = []
    seen = [entry.split(":")[0] for entry in foundation.card.trained_on]
    same = [name for name in seen if _short(name).lower() == _short(raw.name).lower()]
    if same:
        remarks.append(f"the general expert was trained on {same[0]}, so it may have seen these patients")
    own = {case.name for case in raw.training_cases}
    for candidate in candidates:
        shared = sorted(own & candidate.cases)
        if shared:
            remarks.append(
                f"{candidate.entry.expert} comes from a dataset with {len(shared)} cases of the same names, such as "
                f"{shared[0]}, so it may have seen these patients"
            )
    return tuple(remarks)


def _short(dataset: str) -> str:
    return dataset.split("_", 1)[-1]
