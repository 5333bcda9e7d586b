"""How confident experts must be to answer in place of the general one, from what trial answers were worth."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sammoe_pipeline.artefacts import CalibrationPoint
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.inference.routing import GENERAL, LEAST_CONFIDENCE, select

logger = logging.getLogger(__name__)

TOP_K = 2
NEVER = 1.01
"""A threshold that no confidence reaches."""
THRESHOLDS = (
    *(round(LEAST_CONFIDENCE + 0.05 * step, 2) for step in range(14)),
    0.97,
    0.98,
    0.99,
    0.995,
    0.998,
    0.999,
    NEVER,
)
_AS_GOOD = 5e-4
_ROUNDS = 2

Choice = tuple[str, ...]
"""Keys of the experts that answer together, sorted; none where the general expert answers."""


@dataclass(frozen=True)
class Trial:
    """A calibration prompt: what each decision would be worth.

    Attributes:
        class_key: class that was clicked on.
        patient: whose it is.
        general_task: whether the general expert is to answer it.
        confidences: of the gate, by expert key and of `GENERAL`.
        dice: of the answer of each choice that thresholds can lead to.
    """

    class_key: str
    patient: str
    general_task: bool
    confidences: dict[str, float]
    dice: dict[Choice, float]

    def dice_at(self, thresholds: Mapping[str, float]) -> float:
        """Returns the Dice that thresholds, by expert key, lead to."""
        return self.dice[tuple(sorted(select(self.confidences, thresholds=thresholds, top_k=TOP_K).chosen))]


def dataset_of(expert: str) -> str:
    """Returns the dataset that an expert key begins with."""
    return expert.partition("/")[0]


def calibration_curve(trials: Sequence[Trial]) -> list[CalibrationPoint]:
    """Returns, for each threshold, the same for all experts, the mean Dice over classes and what general tasks lose.

    Raises:
        TrainingError: there are no trials.
    """
    if not trials:
        raise TrainingError("No calibration case has any class, so the gate's threshold cannot be measured.")
    experts = _experts(trials)
    return [_measured(trials, dict.fromkeys(experts, threshold), threshold) for threshold in THRESHOLDS]


def choose_thresholds(
    trials: Sequence[Trial], points: Sequence[CalibrationPoint], max_general_loss: float
) -> dict[str, float]:
    """Returns the threshold of each dataset's experts: the best mean Dice that general tasks do not pay too much for.

    The best one for all experts comes first. Then each dataset's is chosen in turn, the others being as they are: what
    the general tasks of one dataset may lose to its own experts says nothing of another's.

    Args:
        trials: on the calibration cases of all folds.
        points: their calibration curve.
        max_general_loss: in points of 100.

    Returns:
        By dataset.
    """
    shared = choose_threshold(points, max_general_loss)
    experts = _experts(trials)
    of_dataset = {dataset_of(expert): shared for expert in experts}
    for _ in range(_ROUNDS if len(of_dataset) > 1 else 0):
        for dataset in of_dataset:
            alone = []
            for threshold in THRESHOLDS:
                tried = of_dataset | {dataset: threshold}
                alone.append(_measured(trials, {key: tried[dataset_of(key)] for key in experts}, threshold))
            of_dataset[dataset] = choose_threshold(alone, max_general_loss)
    if silent := [dataset for dataset, threshold in of_dataset.items() if threshold >= NEVER]:
        logger.warning(
            "No threshold keeps general tasks within %.2f points on the calibration cases where experts of %s answer: "
            "the general expert answers in their place. Allow more with --max_general_loss, or bring more cases.",
            max_general_loss,
            " and ".join(silent),
        )
    return of_dataset


def choose_threshold(points: Sequence[CalibrationPoint], max_general_loss: float) -> float:
    """Returns the threshold with the best mean Dice among those that cost general tasks no more than allowed.

    Of thresholds that are as good as the best, the middle one is taken. Where no other keeps the bound, it is `NEVER`:
    the general expert answers everything.

    Args:
        points: a calibration curve.
        max_general_loss: in points of 100.
    """
    bounded = [point for point in points if 100 * point.general_loss <= max_general_loss]
    best = max(point.mean_dice for point in bounded)
    good = [point.threshold for point in bounded if point.mean_dice >= best - _AS_GOOD]
    return good[len(good) // 2]


def general_loss(trials: Sequence[Trial], thresholds: Mapping[str, float]) -> float:
    """Returns the mean Dice that general tasks lose at the thresholds of datasets, at least 0."""
    by_expert = {expert: thresholds[dataset_of(expert)] for expert in _experts(trials)}
    return _measured(trials, by_expert, NEVER).general_loss


def certifiable_loss(loss: float, patients: int) -> float:
    """Returns the lowest bound on the expected loss that so many patients can certify, by conformal risk control.

    Angelopoulos et al., arXiv 2208.02814: with a mean loss R over n patients, and losses of at most 1, the bound is
    (n R + 1) / (n + 1). It is far above the mean for few patients.

    Args:
        loss: mean over patients, 0 to 1.
        patients: n.
    """
    return (patients * loss + 1) / (patients + 1)


def _experts(trials: Sequence[Trial]) -> list[str]:
    return sorted({key for trial in trials for key in trial.confidences if key != GENERAL})


def _measured(trials: Sequence[Trial], thresholds: Mapping[str, float], named: float) -> CalibrationPoint:
    """Returns what thresholds of all experts do, as the point of the one that they are called by."""
    by_class: dict[str, list[float]] = defaultdict(list)
    lost: dict[str, list[float]] = defaultdict(list)
    answered = 0
    for trial in trials:
        dice = trial.dice_at(thresholds)
        by_class[trial.class_key].append(dice)
        if trial.general_task:
            lost[trial.class_key].append(trial.dice[()] - dice)
        answered += any(value >= thresholds[key] for key, value in trial.confidences.items() if key != GENERAL)
    losses = [float(np.mean(of_class)) for of_class in lost.values()]
    return CalibrationPoint(
        threshold=named,
        mean_dice=float(np.mean([np.mean(of_class) for of_class in by_class.values()])),
        general_loss=max(0.0, float(np.mean(losses))) if losses else 0.0,
        expert_share=answered / len(trials),
    )
