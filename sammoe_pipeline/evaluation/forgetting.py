"""What each expert alone does to everybody's classes: the forgetting that the mixture is there to avoid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import fmean

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.evaluation.records import CaseRecord, ClassName, ExpertRecord, Method
from sammoe_pipeline.evaluation.surface import Metric

_COLUMNS: tuple[Method, ...] = ("general_native", "mixture", "oracle_by_task", "oracle_by_prompt")
PromptedCase = tuple[str, str, str, int]
"""Dataset, case, class and seed: what several decoders were asked alike."""


class ForgettingRow(Record):
    """Mean of a score at one click over the classes of one task, or over those of a dataset that have none."""

    metric: Metric
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
    """By whoever has the best Dice, the general expert included, a case at a time: the best any gate could choose."""
    experts: dict[str, float]
    """By expert key: one expert for everything, as plain finetuning leaves it."""


def forgetting_rows(
    cases: Sequence[CaseRecord], experts: Sequence[ExpertRecord], metric: Metric = "dice"
) -> tuple[ForgettingRow, ...]:
    """Sets general expert, mixture, both oracles and every expert side by side, over what all of them answered.

    Args:
        cases: records at one click, those of the oracles included.
        experts: of the same prompts.
        metric: which score.
    """
    answers: dict[PromptedCase, dict[str, float]] = {}
    records: list[CaseRecord | ExpertRecord] = [*cases, *experts]
    for record in records:
        value = getattr(record.scores, metric)
        if value is not None:
            who = record.method if isinstance(record, CaseRecord) else record.expert
            answers.setdefault((record.dataset, record.case, record.class_name, record.seed), {})[who] = value
    keys = sorted({one.expert for one in experts})
    wanted = {*_COLUMNS, *keys}
    of_class: dict[ClassName, list[dict[str, float]]] = {}
    for (dataset, _, class_name, _), found in answers.items():
        if wanted <= found.keys():
            of_class.setdefault((dataset, class_name), []).append(found)
    task_of = {(one.dataset, one.class_name): one.task for one in experts}
    groups: dict[tuple[str, str | None], list[dict[str, float]]] = {}
    for name, prompts in of_class.items():
        groups.setdefault((name[0], task_of[name]), []).append(_mean(prompts, wanted))
    return tuple(
        _row(metric, dataset, task, groups[dataset, task], keys)
        for dataset, task in sorted(groups, key=lambda key: (key[1] is None, key[0], key[1] or ""))
    )


def _row(
    metric: Metric, dataset: str, task: str | None, classes: Sequence[dict[str, float]], keys: Sequence[str]
) -> ForgettingRow:
    mean = _mean(classes, {*_COLUMNS, *keys})
    return ForgettingRow(
        metric=metric,
        dataset=dataset,
        task=task,
        classes=len(classes),
        general=mean["general_native"],
        mixture=mean["mixture"],
        oracle_by_task=mean["oracle_by_task"],
        oracle_by_prompt=mean["oracle_by_prompt"],
        experts={key: mean[key] for key in keys},
    )


def _mean(rows: Sequence[dict[str, float]], names: Collection[str]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in names}
