"""The paper's table: methods side by side, class by class, for one kind of prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Literal

import numpy as np

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.evaluation.bootstrap import Estimate, estimate_mean
from sammoe_pipeline.evaluation.records import METHODS, CaseRecord, ClassName, Method, Prompt, case_means

WORTHWHILE_GAIN = 0.01
"""Dice that an expert must gain over the general one for its task to count in the recovered gain."""

GroupName = Literal["special", "general", "all"]
CaseDice = Mapping[str, Mapping[Method, float]]
"""By case and method."""


class ClassRow(Record):
    """One class under one kind of prompt."""

    dataset: str
    class_name: str
    task: str | None
    """Task whose expert serves the class; None leaves it to the general expert."""
    configuration: str
    """In which the class is segmented."""
    seen_by_foundation: bool
    """Whether the foundation was trained on the dataset."""
    cases: int
    """Cases with an answer by any method."""
    dice: dict[Method, float]
    """Mean over seeds and targets of a case, then over cases; without methods that have no number."""
    over_native: Estimate | None
    """Mixture minus general expert in the native configuration, over cases with both."""
    over_general: Estimate | None
    """Mixture minus general expert in the task's configuration, over cases with both."""
    empty: dict[Method, int]
    """Cases with an answer where reference and mask were both empty; such answers have no Dice."""
    missing: dict[Method, int]
    """Cases that another method answered and this one did not."""

    @property
    def name(self) -> str:
        """Dataset and class in one word, such as "Dataset004_Hippocampus/Anterior"."""
        return f"{self.dataset}/{self.class_name}"


class Group(Record):
    """Means over classes: those with an expert, those without, or all."""

    classes: int
    dice: dict[Method, float]
    """Mean over classes, each weighing the same."""
    over_native: Estimate | None
    over_general: Estimate | None
    worst_class: str | None
    """Class that did worst by mixture minus general expert in the native configuration."""
    worst_difference: float | None


class Table(Record):
    """The paper's table for one kind of prompt."""

    prompt: Prompt
    clicks: int
    seeds: tuple[int, ...]
    """Of the simulated clicks; Dice is averaged over them within a case."""
    rows: tuple[ClassRow, ...]
    """Classes with an expert first."""
    groups: dict[GroupName, Group]
    """"special": classes with an expert; "general": those without; groups without a class are left out."""
    recovered_gain: float | None
    """Sum over tasks of mixture minus general, divided by that of expert minus general (both in the task's
    configuration), over tasks whose expert gains more than 0.01; None without such a task."""
    worthwhile_tasks: int
    """Tasks that the recovered gain counts."""
    seconds: dict[Method, float]
    """Median time of an answer."""


def compare(cases: Sequence[CaseRecord], *, seed: int) -> Table:
    """Sets the methods side by side.

    Args:
        cases: records of one kind of prompt, at least one.
        seed: of the bootstrap.
    """
    means = case_means(cases)
    by_class: dict[ClassName, list[CaseRecord]] = {}
    for record in cases:
        by_class.setdefault((record.dataset, record.class_name), []).append(record)
    rows = sorted(
        (_row(records, means[name], seed) for name, records in by_class.items()),
        key=lambda row: (row.task is None, row.dataset, row.class_name),
    )
    members: dict[GroupName, list[ClassRow]] = {
        "special": [row for row in rows if row.task is not None],
        "general": [row for row in rows if row.task is None],
        "all": rows,
    }
    gains = _task_gains(rows, means)
    return Table(
        prompt=cases[0].prompt,
        clicks=cases[0].clicks,
        seeds=tuple(sorted({record.seed for record in cases})),
        rows=tuple(rows),
        groups={name: _group(group, means, seed) for name, group in members.items() if group},
        recovered_gain=sum(mixture for mixture, _ in gains) / sum(expert for _, expert in gains) if gains else None,
        worthwhile_tasks=len(gains),
        seconds={
            method: median(seconds)
            for method in METHODS
            if (seconds := [r.seconds for r in cases if r.method == method])
        },
    )


def _row(records: Sequence[CaseRecord], dice: CaseDice, seed: int) -> ClassRow:
    """Condenses the records of one class."""
    shown = next((record for record in records if record.method == "general"), records[0])
    means, empty, missing = {}, {}, {}
    for method in METHODS:
        own = [record for record in records if record.method == method]
        if not own:
            continue
        if found := [methods[method] for methods in dice.values() if method in methods]:
            means[method] = fmean(found)
        if without := {record.case for record in own if record.dice is None}:
            empty[method] = len(without)
        if lacking := dice.keys() - {record.case for record in own}:
            missing[method] = len(lacking)
    own_dice = {(shown.dataset, shown.class_name): dice}
    return ClassRow(
        dataset=shown.dataset,
        class_name=shown.class_name,
        task=shown.task,
        configuration=shown.configuration,
        seen_by_foundation=shown.seen_by_foundation,
        cases=len(dice),
        dice=means,
        over_native=_mixture_over("general_native", own_dice, seed),
        over_general=_mixture_over("general", own_dice, seed),
        empty=empty,
        missing=missing,
    )


def _group(rows: Sequence[ClassRow], means: Mapping[ClassName, CaseDice], seed: int) -> Group:
    own = {(row.dataset, row.class_name): means[row.dataset, row.class_name] for row in rows}
    differences = {row.name: row.over_native.mean for row in rows if row.over_native is not None}
    worst = min(differences, key=lambda name: differences[name], default=None)
    return Group(
        classes=len(rows),
        dice={
            method: fmean(dice)
            for method in METHODS
            if (dice := [row.dice[method] for row in rows if method in row.dice])
        },
        over_native=_mixture_over("general_native", own, seed),
        over_general=_mixture_over("general", own, seed),
        worst_class=worst,
        worst_difference=None if worst is None else differences[worst],
    )


def _mixture_over(baseline: Method, means: Mapping[ClassName, CaseDice], seed: int) -> Estimate | None:
    """Estimates mixture minus baseline, averaged over classes, from cases that have both."""
    patients = sorted({(dataset, case) for (dataset, _), by_case in means.items() for case in by_case})
    rows = {patient: row for row, patient in enumerate(patients)}
    values = np.full((len(patients), len(means)), np.nan)
    for column, ((dataset, _), by_case) in enumerate(means.items()):
        for case, dice in by_case.items():
            if "mixture" in dice and baseline in dice:
                values[rows[dataset, case], column] = dice["mixture"] - dice[baseline]
    return estimate_mean(values, [dataset for dataset, _ in patients], seed=seed)


def _task_gains(rows: Sequence[ClassRow], means: Mapping[ClassName, CaseDice]) -> list[tuple[float, float]]:
    """Returns the mixture's and the expert's gain over the general expert, a pair a task whose expert is worth it."""
    tasks: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        paired = [
            (dice["mixture"] - dice["general"], dice["expert"] - dice["general"])
            for dice in means[row.dataset, row.class_name].values()
            if {"mixture", "general", "expert"} <= dice.keys()
        ]
        if row.task is not None and paired:
            gain = (fmean(mixture for mixture, _ in paired), fmean(expert for _, expert in paired))
            tasks.setdefault((row.dataset, row.task), []).append(gain)
    gains = [(fmean(m for m, _ in classes), fmean(e for _, e in classes)) for classes in tasks.values()]
    return [(mixture, expert) for mixture, expert in gains if expert > WORTHWHILE_GAIN]
