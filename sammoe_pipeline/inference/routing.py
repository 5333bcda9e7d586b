"""Who answers a prompt: the gate's confidences and the selection strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GENERAL = "general"
"""Name of the general expert in tables and files."""
LEAST_CONFIDENCE = 0.3
"""No threshold is lower: who is less sure than that does not answer, so that nothing more need be known of it."""


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
