"""The paper's table: methods side by side, class by class, for one kind of prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.evaluation.bootstrap import Estimate, estimate_mean
from sammoe_pipeline.evaluation.paired import Difference, difference
from sammoe_pipeline.evaluation.records import METHODS, CaseName, CaseRecord, ClassName, Method, Prompt, case_means
from sammoe_pipeline.evaluation.surface import METRICS, Empty, Metric

WORTHWHILE_GAIN = 0.01
"""Dice that an expert must gain over the general one for its task to count in the recovered gain."""

COMPARED: tuple[tuple[Method, Method], ...] = (
    ("mixture", "general_native"),
    ("mixture", "general"),
    ("mixture", "expert"),
    ("expert", "general"),
)
"""A method and what it is tested against."""

GroupName = Literal["special", "general", "all"]
CaseScores = Mapping[str, Mapping[Method, float]]
"""By case and method."""


class Comparison(Record):
    """Two methods on the same masks."""

    method: Method
    baseline: Method
    differences: dict[Metric, Difference]
    """Method minus baseline; without scores that no case has for both."""


class Scored(Record):
    """Means of all scores and methods, and tests between methods."""

    means: dict[Metric, dict[Method, Estimate]]
    """Over seeds of a case, then over cases, then over classes, each class weighing the same; with 95 % bootstrap
    intervals over patients; without methods that have no number."""
    comparisons: tuple[Comparison, ...]

    @property
    def dice(self) -> dict[Method, float]:
        """Mean Dice by method."""
        return {method: estimate.mean for method, estimate in self.means["dice"].items()}

    def difference(self, method: Method, baseline: Method, metric: Metric = "dice") -> Difference | None:
        """Returns how far two methods are apart, or None where no case has both."""
        found = (one for one in self.comparisons if (one.method, one.baseline) == (method, baseline))
        return next((one.differences.get(metric) for one in found), None)

    @property
    def over_native(self) -> Estimate | None:
        """Dice of the mixture minus that of the general expert in the native configuration."""
        found = self.difference("mixture", "general_native")
        return None if found is None else found.estimate

    @property
    def over_general(self) -> Estimate | None:
        """Dice of the mixture minus that of the general expert in the task's configuration."""
        found = self.difference("mixture", "general")
        return None if found is None else found.estimate


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
    tolerance_mm: float | None
    """Of surface Dice."""
    cases: int
    """Cases with an answer by any method."""
    absent: int
    """Held-out cases whose reference has no voxel of the class, so that nobody could click on it."""
    scored: Scored
    prediction_empty: dict[Method, int]
    """Answers, one a case and seed, without a voxel where the reference has some; worst of every score."""
    reference_empty: dict[Method, int]
    """Answers with voxels where the reference has none; worst of every score. Only the locator prompts there."""
    both_empty: dict[Method, int]
    """Answers that are rightly without a voxel; they have a volume error, and no other score."""
    missing: dict[Method, int]
    """Cases that another method answered and this one did not."""

    @property
    def name(self) -> str:
        """Dataset and class in one word, such as "Dataset004_Hippocampus/Anterior"."""
        return f"{self.dataset}/{self.class_name}"


class Group(Record):
    """Means over classes: those with an expert, those without, or all."""

    classes: int
    scored: Scored
    """Tests are over patients, each with the mean of its cases, of a case over its classes."""
    worst_class: str | None
    """Class that did worst by Dice of the mixture minus that of the general expert in the native configuration."""
    worst_difference: float | None


class Table(Record):
    """The paper's table for one kind of prompt."""

    prompt: Prompt
    clicks: int
    seeds: tuple[int, ...]
    """Of the simulated clicks; scores are averaged over them within a case."""
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
    """Median time of an answer; whoever looks at a window first pays for its embedding."""

    @property
    def methods(self) -> tuple[Method, ...]:
        """Methods that answered at all."""
        return tuple(method for method in METHODS if any(method in row.scored.dice for row in self.rows))


Means = Mapping[Metric, Mapping[ClassName, CaseScores]]


def compare(
    cases: Sequence[CaseRecord],
    *,
    seed: int,
    patients: Mapping[CaseName, str] | None = None,
    absent: Mapping[ClassName, int] | None = None,
    tolerances_mm: Mapping[ClassName, float] | None = None,
) -> Table:
    """Sets the methods side by side.

    Args:
        cases: records of one kind of prompt, at least one.
        seed: of the bootstrap.
        patients: of cases; one that is not named is its own patient.
        absent: held-out cases that lack a class, where there are such.
        tolerances_mm: of surface Dice, by class.
    """
    means: Means = {metric: case_means(cases, metric) for metric in METRICS}
    patients = patients or {}
    by_class: dict[ClassName, list[CaseRecord]] = {}
    for record in cases:
        by_class.setdefault((record.dataset, record.class_name), []).append(record)
    rows = sorted(
        (
            _row(
                records,
                means,
                patients,
                seed,
                absent=(absent or {}).get(name, 0),
                tolerance_mm=(tolerances_mm or {}).get(name),
            )
            for name, records in by_class.items()
        ),
        key=lambda row: (row.task is None, row.dataset, row.class_name),
    )
    members: dict[GroupName, list[ClassRow]] = {
        "special": [row for row in rows if row.task is not None],
        "general": [row for row in rows if row.task is None],
        "all": rows,
    }
    gains = _task_gains(rows, means["dice"])
    return Table(
        prompt=cases[0].prompt,
        clicks=cases[0].clicks,
        seeds=tuple(sorted({record.seed for record in cases})),
        rows=tuple(rows),
        groups={name: _group(group, means, patients, seed) for name, group in members.items() if group},
        recovered_gain=sum(mixture for mixture, _ in gains) / sum(expert for _, expert in gains) if gains else None,
        worthwhile_tasks=len(gains),
        seconds={
            method: median(seconds)
            for method in METHODS
            if not method.startswith("oracle") and (seconds := [r.seconds for r in cases if r.method == method])
        },
    )


def _row(
    records: Sequence[CaseRecord],
    means: Means,
    patients: Mapping[CaseName, str],
    seed: int,
    *,
    absent: int,
    tolerance_mm: float | None,
) -> ClassRow:
    """Condenses the records of one class."""
    shown = next((record for record in records if record.method == "general"), records[0])
    name = (shown.dataset, shown.class_name)
    cases = means["dice"][name]
    empty: dict[Empty, Counter[Method]] = {"prediction": Counter(), "reference": Counter(), "both": Counter()}
    for record in records:
        if record.scores.empty != "neither":
            empty[record.scores.empty][record.method] += 1
    answered = {method: {record.case for record in records if record.method == method} for method in METHODS}
    missing = {method: len(cases.keys() - own) for method, own in answered.items() if own}
    return ClassRow(
        dataset=shown.dataset,
        class_name=shown.class_name,
        task=shown.task,
        configuration=shown.configuration,
        seen_by_foundation=shown.seen_by_foundation,
        tolerance_mm=tolerance_mm,
        cases=len(cases),
        absent=absent,
        scored=_scored([name], means, patients, seed),
        prediction_empty=dict(empty["prediction"]),
        reference_empty=dict(empty["reference"]),
        both_empty=dict(empty["both"]),
        missing={method: number for method, number in missing.items() if number},
    )


def _group(rows: Sequence[ClassRow], means: Means, patients: Mapping[CaseName, str], seed: int) -> Group:
    differences = {row.name: row.scored.over_native.mean for row in rows if row.scored.over_native is not None}
    worst = min(differences, key=lambda name: differences[name], default=None)
    return Group(
        classes=len(rows),
        scored=_scored([(row.dataset, row.class_name) for row in rows], means, patients, seed),
        worst_class=worst,
        worst_difference=None if worst is None else differences[worst],
    )


def _scored(names: Sequence[ClassName], means: Means, patients: Mapping[CaseName, str], seed: int) -> Scored:
    """Condenses all scores of some classes."""
    cases = sorted({(name[0], case) for name in names for case in means["dice"][name]})
    strata, patient_of = [dataset for dataset, _ in cases], [patients.get(case, case[1]) for case in cases]
    values = {
        (metric, method): _matrix(cases, [by_class[name] for name in names], names, method)
        for metric, by_class in means.items()
        for method in METHODS
    }
    estimates: dict[Metric, dict[Method, Estimate]] = {metric: {} for metric in means}
    for (metric, method), matrix in values.items():
        estimate = estimate_mean(matrix, strata, seed=seed, patients=patient_of)
        if estimate is not None:
            estimates[metric][method] = estimate
    comparisons = []
    for method, baseline in COMPARED:
        found = {
            metric: difference(
                values[metric, method] - values[metric, baseline], strata, seed=seed, patients=patient_of
            )
            for metric in means
        }
        differences = {metric: one for metric, one in found.items() if one is not None}
        if differences:
            comparisons.append(Comparison(method=method, baseline=baseline, differences=differences))
    return Scored(means=estimates, comparisons=tuple(comparisons))


def _matrix(
    cases: Sequence[CaseName], of_class: Sequence[CaseScores], names: Sequence[ClassName], method: Method
) -> NDArray[np.float64]:
    """Returns a method's scores (cases, classes), NaN where it has none."""
    places = {case: row for row, case in enumerate(cases)}
    values = np.full((len(cases), len(names)), np.nan)
    for column, (by_case, (dataset, _)) in enumerate(zip(of_class, names, strict=True)):
        for case, scores in by_case.items():
            if method in scores:
                values[places[dataset, case], column] = scores[method]
    return values


def _task_gains(rows: Sequence[ClassRow], means: Mapping[ClassName, CaseScores]) -> list[tuple[float, float]]:
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
