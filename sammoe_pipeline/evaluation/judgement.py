"""What judging label maps found: scores of several tools side by side, `summary.json` and `cases.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Artefact, Provenance, Record
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.evaluation.bootstrap import Estimate, estimate_mean
from sammoe_pipeline.evaluation.paired import Difference, difference
from sammoe_pipeline.evaluation.surface import BOTH_EMPTY, METRICS, MaskScores, Metric
from sammoe_pipeline.evaluation.wording import DISCLAIMER

Scores = Mapping[str, Mapping[str, Mapping[str, MaskScores]]]
"""By whose predictions they are, then by case, then by class; a class that a case lacks is in neither mask."""


class ToolScores(Record):
    """How one tool did on one class, or over all classes."""

    means: dict[Metric, Estimate]
    """Over cases where the score has a number, with a 95 % bootstrap interval over patients; without scores that have
    none."""
    differences: dict[Metric, Difference]
    """From the first tool; empty for the first itself."""
    judged: int
    """Masks that were judged: one a case and class."""
    prediction_empty: int
    """Masks without a voxel where the reference has some; they count with the worst of every score."""
    reference_empty: int
    """Masks with voxels where the reference has none; they count with the worst of every score."""
    both_empty: int
    """Masks that are rightly without a voxel; they have a volume error, and no other score."""


class JudgedClass(Record):
    """One class, or all of them."""

    values: tuple[int, ...]
    """In the label maps."""
    tolerance_mm: float
    """Distance up to which surfaces agree."""
    tools: dict[str, ToolScores]


class Tool(Record):
    """Whose label maps were judged."""

    folder: str
    """As it was given."""
    missing: tuple[str, ...]
    """References without a prediction; they are in no mean."""
    without_reference: tuple[str, ...]
    """Predictions that were not judged, since no reference has their name."""


class Judgement(Artefact):
    """`summary.json` of `sammoe_evaluate --predictions`: label maps of one or more tools against references."""

    note: str = DISCLAIMER
    references: str
    """Folder, as it was given."""
    cases: int
    """References with at least one prediction."""
    patients: int
    """Whose they are; intervals and tests are over them. A case of which nothing is known is a patient of its own."""
    predictions: dict[str, Tool]
    """The first is what the others are compared with."""
    classes: dict[str, JudgedClass]
    overall: dict[str, ToolScores]
    """Means over classes of their means over cases; tests are over the means of each patient."""
    provenance: Provenance


def summarise(
    scores: Scores,
    *,
    classes: Mapping[str, tuple[int, ...]],
    tolerances_mm: Mapping[str, float],
    tools: Mapping[str, Tool],
    references: str,
    patients: Mapping[str, str],
    provenance: Provenance,
) -> Judgement:
    """Sets tools side by side, class by class.

    Args:
        scores: at least one case.
        classes: values by class.
        tolerances_mm: by class.
        tools: in the order of `scores`.
        references: folder.
        patients: by case.
        provenance: of the judgement; its seed also seeds the bootstrap.
    """
    names, cases = list(classes), sorted({case for judged in scores.values() for case in judged})
    tables = {tool: _tables(judged, cases, names) for tool, judged in scores.items()}
    of_cases = [patients[case] for case in cases]

    def condensed(columns: list[int]) -> dict[str, ToolScores]:
        return {tool: _tool_scores(tool, scores, tables, columns, names, of_cases, provenance.seed) for tool in scores}

    return Judgement(
        references=references,
        cases=len(cases),
        patients=len(set(of_cases)),
        predictions=dict(tools),
        classes={
            name: JudgedClass(values=classes[name], tolerance_mm=tolerances_mm[name], tools=condensed([index]))
            for index, name in enumerate(names)
        },
        overall=condensed(list(range(len(names)))),
        provenance=provenance,
    )


def write_cases(path: Path, scores: Scores, classes: Sequence[str]) -> None:
    """Writes `cases.csv` atomically: a line a tool, case and class, an empty cell where a score has no number."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, ["predictions", "case", "class_name", *MaskScores.model_fields], lineterminator="\n")
    table.writeheader()
    for tool, cases in scores.items():
        for case, found in cases.items():
            for name in classes:
                key = {"predictions": tool, "case": case, "class_name": name}
                table.writerow(key | found.get(name, BOTH_EMPTY).model_dump())
    write_text(path, text.getvalue())


_Tables = Mapping[Metric, NDArray[np.float64]]
"""By metric, (cases, classes), NaN where there is no number."""


def _tables(judged: Mapping[str, Mapping[str, MaskScores]], cases: Sequence[str], classes: Sequence[str]) -> _Tables:
    tables = {metric: np.full((len(cases), len(classes)), np.nan) for metric in METRICS}
    for row, case in enumerate(cases):
        for column, name in enumerate(classes):
            if case in judged:
                found = judged[case].get(name, BOTH_EMPTY)
                for metric, table in tables.items():
                    value = getattr(found, metric)
                    table[row, column] = np.nan if value is None else value
    return tables


def _tool_scores(
    tool: str,
    scores: Scores,
    tables: Mapping[str, _Tables],
    columns: list[int],
    classes: Sequence[str],
    patients: Sequence[str],
    seed: int,
) -> ToolScores:
    """Condenses the scores of a tool on the classes of some columns."""
    first = next(iter(tables))
    own = {metric: table[:, columns] for metric, table in tables[tool].items()}
    empty = [found.get(classes[column], BOTH_EMPTY).empty for found in scores[tool].values() for column in columns]
    strata = [""] * len(own["dice"])
    means = {metric: estimate_mean(table, strata, seed=seed, patients=patients) for metric, table in own.items()}
    differences = {
        metric: difference(table - tables[first][metric][:, columns], strata, seed=seed, patients=patients)
        for metric, table in own.items()
        if tool != first
    }
    return ToolScores(
        means={metric: mean for metric, mean in means.items() if mean is not None},
        differences={metric: found for metric, found in differences.items() if found is not None},
        judged=len(empty),
        prediction_empty=empty.count("prediction"),
        reference_empty=empty.count("reference"),
        both_empty=empty.count("both"),
    )
