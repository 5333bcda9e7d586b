"""Answering prompts on calibration cases in every way that a gate may choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import GENERAL, LEAST_CONFIDENCE, select
from sammoe_pipeline.threads import side_by_side
from sammoe_pipeline.training.gate_prompts import GatePrompt, Member, choose_cases, prompts_in
from sammoe_pipeline.training.thresholds import NEVER, TOP_K, Choice, Trial

_PROMPTS = 6
"""Of each class, where every calibration case has it; few cases are clicked on more often."""


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
        cases = member.planned.fold(member.planned.serving(fold)).calibration
        clicks = math.ceil(_PROMPTS / max(1, len(cases)))
        jobs += [(member, case, clicks) for case in choose_cases(member, cases, seed + 1)]
    bar = tqdm(side_by_side(try_case, jobs), desc=f"Calibrating fold {fold}", total=len(jobs), unit="case")
    return [trial for of_case in bar for trial in of_case]


def _try(prompt: GatePrompt, mixture: Mixture) -> Trial:
    confidences = mixture.route(prompt.case, [prompt.click]).confidences
    return Trial(
        class_key=prompt.class_key,
        patient=prompt.member.patient_of(prompt.labelled.name),
        general_task=prompt.expert is None,
        confidences=confidences,
        dice={chosen: _worth(prompt, mixture, confidences, chosen) for chosen in _choices(confidences)},
    )


def _choices(confidences: dict[str, float]) -> list[Choice]:
    """Returns whoever may answer together at some thresholds."""
    able = sorted(key for key, value in confidences.items() if key != GENERAL and value >= LEAST_CONFIDENCE)
    return [chosen for count in range(TOP_K + 1) for chosen in combinations(able, count)]


def _worth(prompt: GatePrompt, mixture: Mixture, confidences: dict[str, float], chosen: Choice) -> float:
    thresholds = {key: 0.0 if key in chosen else NEVER for key in confidences}
    routing = select(confidences, thresholds=thresholds, top_k=TOP_K)
    answer = mixture.answer(prompt.case, [prompt.click], routing, general_configuration=mixture.foundation.native)
    return prompt.dice_of(answer.mask())
