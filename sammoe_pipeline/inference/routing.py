"""Who answers a prompt: the gate's confidences and the selection strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GENERAL = "general"
"""Name of the general expert in tables and files."""
LEAST_CONFIDENCE = 0.3
"""No threshold is lower: who is less sure than that does not answer, so that nothing more need be known of it."""
WRONG = 0.2
"""What is left of the confidence in whoever gave an answer that is clearly of another thing."""
STANDS = 3.0
"""Who answers goes on answering until somebody else is so many times as likely: most clicks only correct the mask."""


def expert_key(dataset: str, task: str) -> str:
    """Returns the name of an expert in tables and files.

    Args:
        dataset: whose plan names the task.
        task: one of its own, or one of another dataset, which is named in full.

    >>> expert_key("Dataset004_Hippocampus", "anterior")
    'Dataset004_Hippocampus/anterior'
    >>> expert_key("Dataset005_Other", "Dataset004_Hippocampus/anterior")
    'Dataset004_Hippocampus/anterior'
    """
    return task if "/" in task else f"{dataset}/{task}"


@dataclass(frozen=True)
class Routing:
    """What the gate decided for one prompt.

    Attributes:
        confidences: by expert key, and of `GENERAL`; experts that were no candidates are left out.
        chosen: keys of the experts that answer with their weights, which sum to 1; empty where the general expert does.
    """

    confidences: dict[str, float]
    chosen: dict[str, float]

    @property
    def label(self) -> str:
        """The expert with the largest share in the answer, or `GENERAL`."""
        return max(self.chosen, key=lambda key: self.chosen[key]) if self.chosen else GENERAL


def select(confidences: dict[str, float], *, thresholds: Mapping[str, float], top_k: int) -> Routing:
    """The selection strategy: experts from a threshold on answer, weighted by confidence; else the general one alone.

    Args:
        confidences: by expert key and of `GENERAL`.
        thresholds: by expert key, the lowest confidence with which it answers.
        top_k: at most this many answer together.

    >>> select({"general": 0.1, "a": 0.6, "b": 0.3}, thresholds={"a": 0.2, "b": 0.2}, top_k=2).chosen
    {'a': 0.6666666666666667, 'b': 0.33333333333333337}
    """
    able = {key: value for key, value in confidences.items() if key != GENERAL and value >= thresholds[key]}
    kept = sorted(able, key=lambda key: able[key], reverse=True)[:top_k]
    total = sum(able[key] for key in kept)
    return Routing(confidences=confidences, chosen={key: able[key] / total for key in kept})


def doubted(confidences: Mapping[str, float], doubts: Mapping[str, float]) -> dict[str, float]:
    """Returns confidences that sum to 1, less in those whose answers clicks found to be of another thing.

    Args:
        confidences: by key.
        doubts: by key, how clearly, 0 to 1.

    >>> doubted({"general": 0.5, "a": 0.5}, {"general": 1.0})
    {'general': 0.16666666666666669, 'a': 0.8333333333333334}
    """
    left = {key: value * WRONG ** doubts.get(key, 0.0) for key, value in confidences.items()}
    total = sum(left.values())
    return {key: value / total for key, value in left.items()}


def reconsider(
    standing: Routing, confidences: dict[str, float], *, thresholds: Mapping[str, float], top_k: int
) -> Routing:
    """Selects anew after a further click: whoever answered goes on unless somebody else is clearly likelier.

    Args:
        standing: who answered before the click.
        confidences: by all clicks so far, doubts taken off.
        thresholds: as in `select`.
        top_k: as in `select`.

    >>> before = Routing({"general": 0.8, "a": 0.2}, chosen={})
    >>> reconsider(before, {"general": 0.3, "a": 0.7}, thresholds={"a": 0.5}, top_k=2).label
    'general'
    >>> reconsider(before, {"general": 0.2, "a": 0.8}, thresholds={"a": 0.5}, top_k=2).label
    'a'
    """
    other = select(confidences, thresholds=thresholds, top_k=top_k)
    stands = confidences[other.label] < STANDS * confidences[standing.label]
    return Routing(confidences=confidences, chosen=standing.chosen if stands else other.chosen)
