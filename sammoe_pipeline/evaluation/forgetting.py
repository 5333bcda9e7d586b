"""What each expert alone does to everybody's classes: the forgetting that the mixture is there to avoid."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.evaluation.records import CaseRecord, ClassName, ExpertRecord
from sammoe_pipeline.inference.routing import expert_key

PromptedCase = tuple[str, str, str, int]
"""Dataset, case, class and seed: what several decoders were asked alike."""


class ForgettingRow(Record):
    """Mean Dice at one click over the classes of one task, or over those of a dataset that have none."""

    dataset: str
    task: str | None
    classes: int
    """Each weighs the same."""
    general: float
    """By the general expert in its native configuration: what was there before."""
    mixture: float
    oracle_by_task: float
    """By the class's own expert, where it has one, else by the general expert: the best that knowing the task gives."""
    oracle_by_prompt: float
    """By whoever does best, the general expert included, a case at a time: the best that any gate could choose."""
    experts: dict[str, float]
    """By expert key: one expert for everything, as plain finetuning leaves it."""


def forgetting_rows(cases: Sequence[CaseRecord], experts: Sequence[ExpertRecord]) -> tuple[ForgettingRow, ...]:
    """Sets general expert, mixture, both oracles and every expert side by side, over what all of them answered.

    Args:
        cases: records at one click.
        experts: of the same prompts.
    """
    answers: dict[PromptedCase, dict[str, float]] = {}
    for case in cases:
        if case.dice is not None:
            answers.setdefault((case.dataset, case.case, case.class_name, case.seed), {})[case.method] = case.dice
    by_expert: dict[PromptedCase, dict[str, float]] = {}
    for one in experts:
        if one.dice is not None:
            by_expert.setdefault((one.dataset, one.case, one.class_name, one.seed), {})[one.expert] = one.dice
    task_of: dict[ClassName, str | None] = {(one.dataset, one.class_name): one.task for one in experts}
    keys = sorted({one.expert for one in experts})
    of_class: dict[ClassName, list[dict[str, float]]] = {}
    for prompt, found in answers.items():
        each = by_expert.get(prompt, {})
        if {"general_native", "mixture"} <= found.keys() and each.keys() == set(keys):
            dataset, _, class_name, _ = prompt
            own = task_of[dataset, class_name]
            columns = {
                "general": found["general_native"],
                "mixture": found["mixture"],
                "oracle_by_task": found["general_native"] if own is None else each[expert_key(dataset, own)],
                "oracle_by_prompt": max(found["general_native"], *each.values()),
                **each,
            }
            of_class.setdefault((dataset, class_name), []).append(columns)
    means = {name: _mean(prompts) for name, prompts in of_class.items()}
    groups: dict[tuple[str, str | None], list[dict[str, float]]] = {}
    for name, columns in means.items():
        groups.setdefault((name[0], task_of[name]), []).append(columns)
    return tuple(
        _row(dataset, task, groups[dataset, task], keys)
        for dataset, task in sorted(groups, key=lambda key: (key[1] is None, key[0], key[1] or ""))
    )


def _row(dataset: str, task: str | None, classes: Sequence[dict[str, float]], keys: Sequence[str]) -> ForgettingRow:
    mean = _mean(classes)
    return ForgettingRow(
        dataset=dataset,
        task=task,
        classes=len(classes),
        general=mean["general"],
        mixture=mean["mixture"],
        oracle_by_task=mean["oracle_by_task"],
        oracle_by_prompt=mean["oracle_by_prompt"],
        experts={key: mean[key] for key in keys},
    )


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in rows[0]}
