"""What an evaluation measures, one record an answer, and its tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal, get_args

from pydantic import Field

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.evaluation.surface import MaskScores, Metric

Method = Literal["general_native", "general", "expert", "mixture", "oracle_by_task", "oracle_by_prompt"]
METHODS: tuple[Method, ...] = get_args(Method)
"""The foundation in its native configuration; the same in the task's configuration; the class's own expert; the
mixture, whose gate chooses; and what a gate could reach at best: whoever is right for the task, whoever does best."""

Prompt = Literal["click", "automatic"]
"""Clicks simulated from the reference, or what the locator found."""

Name = Annotated[str, Field(min_length=1)]

_CONFIDENCE = "confidence "
_SCORES = "scores"


class CaseRecord(Record):
    """One answer to one prompt: how one method segmented one class in one held-out case."""

    dataset: Name
    case: Name
    fold: int
    class_name: Name
    task: Name | None
    """Task whose expert serves the class; None where the general expert does."""
    configuration: Name
    """In which this method saw the case."""
    method: Method
    prompt: Prompt
    clicks: int
    seed: int
    seen_by_foundation: bool
    """Whether the foundation was trained on the dataset."""
    seconds: float
    """From the prompt to the mask. Whoever looks at a window first pays for its embedding."""
    scores: MaskScores
    """On the original grid."""

    @property
    def dice(self) -> float | None:
        """None where both the reference and the mask are empty."""
        return self.scores.dice


class RoutingRecord(Record):
    """What the gate decided for one prompt."""

    dataset: Name
    case: Name
    fold: int
    class_name: Name
    task: Name | None
    clicks: int
    """That the prompt had by then."""
    seed: int
    chosen: Name
    """Key of the expert that answered, or "general"."""
    confidences: dict[Name, float]
    """By expert key, and of "general"; an expert that was no candidate is left out."""


class ExpertRecord(Record):
    """How one expert segmented one class in one held-out case from one click, whosever class it is."""

    dataset: Name
    case: Name
    fold: int
    class_name: Name
    task: Name | None
    """Task whose expert serves the class; None where the general expert does."""
    seed: int
    expert: Name
    """Key of the expert that answered."""
    configuration: Name
    """The expert's."""
    seconds: float
    scores: MaskScores
    """On the original grid."""

    @property
    def dice(self) -> float | None:
        """None where both the reference and the mask are empty."""
        return self.scores.dice


ClassName = tuple[str, str]
"""Dataset and class."""

CaseName = tuple[str, str]
"""Dataset and case."""


def case_means(cases: Iterable[CaseRecord], metric: Metric = "dice") -> dict[ClassName, dict[str, dict[Method, float]]]:
    """Averages a score over the seeds of a case, so that each case counts once however often it was asked.

    Args:
        cases: records of one kind of prompt.
        metric: which score.

    Returns:
        By class, then by case, the mean of each method; without methods that have no number there, since reference
        and answers are all empty.
    """
    collected: dict[ClassName, dict[str, dict[Method, list[float]]]] = {}
    for record in cases:
        methods = collected.setdefault((record.dataset, record.class_name), {}).setdefault(record.case, {})
        value = getattr(record.scores, metric)
        if value is not None:
            methods.setdefault(record.method, []).append(value)
    return {
        name: {case: {method: fmean(values) for method, values in found.items()} for case, found in by_case.items()}
        for name, by_case in collected.items()
    }


def write_cases(path: Path, cases: Sequence[CaseRecord]) -> None:
    """Writes `cases.csv` atomically: a line a record, an empty cell for None."""
    _write(path, _columns(CaseRecord), map(_flat, cases))


def write_routing(path: Path, routing: Sequence[RoutingRecord]) -> None:
    """Writes `routing.csv` atomically: a line a record, a column an expert with the gate's confidence in it."""
    experts = sorted({key for record in routing for key in record.confidences})
    columns = [name for name in RoutingRecord.model_fields if name != "confidences"]
    rows = (
        record.model_dump(exclude={"confidences"})
        | {f"{_CONFIDENCE}{key}": value for key, value in record.confidences.items()}
        for record in routing
    )
    _write(path, [*columns, *(f"{_CONFIDENCE}{key}" for key in experts)], rows)


def write_experts(path: Path, experts: Sequence[ExpertRecord]) -> None:
    """Writes `experts.csv` atomically: a line an answer of an expert alone, an empty cell for None."""
    _write(path, _columns(ExpertRecord), map(_flat, experts))


def _columns(model: type[Record]) -> list[str]:
    """Returns the fields of a record with scores, each score in a column of its own."""
    return [*(name for name in model.model_fields if name != _SCORES), *MaskScores.model_fields]


def _flat(record: CaseRecord | ExpertRecord) -> dict[str, object]:
    return record.model_dump(exclude={_SCORES}) | record.scores.model_dump()


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    # Line by line: with many classes, seeds and experts there are millions.
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
