"""Measuring how confident an expert must be to answer in place of the general one."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammoe_pipeline.artefacts import CalibrationPoint
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import GENERAL, LEAST_CONFIDENCE, Routing, select
from sammoe_pipeline.threads import side_by_side
from sammoe_pipeline.training.gate_prompts import GatePrompt, Member, choose_cases, prompts_in

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
_PROMPTS = 6
"""Of each class, where every calibration case has it; few cases are clicked on more often."""


@dataclass(frozen=True)
class Trial:
    """A calibration prompt: what each decision would be worth."""

    class_key: str
    patient: str
    general_task: bool
    confidences: dict[str, float]
    general_dice: float
    mixture_dice: dict[float, float]
    """By threshold."""


def try_out(members: Sequence[Member], fold: int, mixture: Mixture, seed: int) -> list[Trial]:
    """Answers clicks on every target of a fold's calibration cases in every way that some threshold would choose.

    A single click on each class of a single case would tell little of what general tasks lose.

    Args:
        members: the mixture's datasets.
        fold: mixture fold.
        mixture: of that fold.
        seed: of clicks.
    """
    from tqdm import tqdm

    def try_case(job: tuple[Member, str, int]) -> list[Trial]:
        member, case, clicks = job
        prompts = prompts_in(
            case,
            member,
            model=mixture.model,
            foundation=mixture.foundation,
            seed=seed + 1,
            clicks=clicks,
        )
        return [_try(prompt, mixture) for prompt in prompts]

    jobs = []
    for member in members:
        cases = member.planned.fold(fold % member.planned.num_folds).calibration
        clicks = math.ceil(_PROMPTS / max(1, len(cases)))
        jobs += [(member, case, clicks) for case in choose_cases(member, cases, seed + 1)]
    bar = tqdm(side_by_side(try_case, jobs), desc=f"Calibrating fold {fold}", total=len(jobs), unit="case")
    return [trial for of_case in bar for trial in of_case]


def _try(prompt: GatePrompt, mixture: Mixture) -> Trial:
    native = mixture.foundation.native
    confidences = mixture.route(prompt.case, [prompt.click]).confidences
    by_choice: dict[tuple[tuple[str, float], ...], float] = {}

    def worth(routing: Routing) -> float:
        key = tuple(sorted(routing.chosen.items()))
        if key not in by_choice:
            answer = mixture.answer(prompt.case, [prompt.click], routing, general_configuration=native)
            by_choice[key] = prompt.dice_of(answer.mask())
        return by_choice[key]

    return Trial(
        class_key=prompt.class_key,
        patient=prompt.member.patient_of(prompt.labelled.name),
        general_task=prompt.expert is None,
        confidences=confidences,
        general_dice=worth(Routing(confidences={GENERAL: 1.0}, chosen={})),
        mixture_dice={t: worth(select(confidences, threshold=t, top_k=TOP_K)) for t in THRESHOLDS},
    )


def calibration_curve(trials: Sequence[Trial]) -> list[CalibrationPoint]:
    """Returns, for each threshold, the mean Dice over classes and what general tasks lose.

    Raises:
        TrainingError: there are no trials.
    """
    if not trials:
        raise TrainingError("No calibration case has any class, so the gate's threshold cannot be measured.")
    by_class: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_class[trial.class_key].append(trial)
    general = [group for group in by_class.values() if group[0].general_task]
    points = []
    for threshold in THRESHOLDS:
        means = [float(np.mean([trial.mixture_dice[threshold] for trial in group])) for group in by_class.values()]
        losses = [
            float(np.mean([trial.general_dice - trial.mixture_dice[threshold] for trial in group])) for group in general
        ]
        answered = [any(v >= threshold for k, v in t.confidences.items() if k != GENERAL) for t in trials]
        points.append(
            CalibrationPoint(
                threshold=threshold,
                mean_dice=float(np.mean(means)),
                general_loss=max(0.0, float(np.mean(losses))) if losses else 0.0,
                expert_share=float(np.mean(answered)),
            )
        )
    return points


def certifiable_loss(loss: float, patients: int) -> float:
    """Returns the lowest bound on the expected loss that so many patients can certify, by conformal risk control.

    Angelopoulos et al., arXiv 2208.02814: with a mean loss R over n patients, and losses of at most 1, the bound is
    (n R + 1) / (n + 1). It is far above the mean for few patients.

    Args:
        loss: mean over patients, 0 to 1.
        patients: n.
    """
    return (patients * loss + 1) / (patients + 1)


def choose_threshold(points: Sequence[CalibrationPoint], max_general_loss: float) -> float:
    """Returns the threshold with the best mean Dice among those that cost general tasks no more than allowed.

    Of thresholds that are as good as the best, the middle one is taken. Where no other keeps the bound, it is `NEVER`:
    the general expert answers everything.

    Args:
        points: the calibration curve.
        max_general_loss: in points of 100.
    """
    bounded = [point for point in points if 100 * point.general_loss <= max_general_loss]
    if all(point.threshold >= NEVER for point in bounded):
        logger.warning(
            "No threshold keeps general tasks within %.2f points on the calibration cases: the general expert answers "
            "everything. Allow more with --max_general_loss, or bring more cases.",
            max_general_loss,
        )
    best = max(point.mean_dice for point in bounded)
    good = [point.threshold for point in bounded if point.mean_dice >= best - _AS_GOOD]
    return good[len(good) // 2]
