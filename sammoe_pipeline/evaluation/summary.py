"""`summary.json`: what an evaluation found, and the same numbers where readers of nnU-Net's summary look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from sammoe_pipeline.artefacts import Artefact, FoundationCard, MixtureCard, Provenance, Record
from sammoe_pipeline.evaluation.comparison import Scored, Table, compare
from sammoe_pipeline.evaluation.forgetting import ForgettingRow, forgetting_rows
from sammoe_pipeline.evaluation.records import (
    CaseName,
    CaseRecord,
    ClassName,
    ExpertRecord,
    RoutingRecord,
    case_means,
)
from sammoe_pipeline.evaluation.surface import METRICS, Metric
from sammoe_pipeline.evaluation.wording import DISCLAIMER
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.paths import GT_SEGMENTATIONS

_NNUNET_NAMES: dict[Metric, str] = {"dice": "Dice", "iou": "IoU"}


class RoutingRow(Record):
    """Who answered the prompts of one task, or of the classes of a dataset that have none."""

    dataset: str
    task: str | None
    clicks: int = 1
    """That each prompt had by then."""
    chosen: dict[str, int]
    """By expert key or "general"."""


class CaseMetrics(Record):
    """Scores of the mixture in one case, shaped as nnU-Net does it."""

    reference_file: str
    """Relative to `sammoe_preprocessed`."""
    metrics: dict[str, dict[str, float | None]]


class Resources(Record):
    """What an evaluation took."""

    seconds_per_case: float
    """Median, all prompts and methods of a case together, several cases side by side."""
    memory_mb: float | None
    """Most that the process held, the network and Python included."""
    gpu_memory_mb: float | None
    """Most that was allocated on the card, where there was one."""


class EvaluationSummary(Artefact):
    """`summary.json`: what an evaluation found. Dice runs from 0 to 1.

    `metric_per_case`, `mean` and `foreground_mean` are the mixture's in the first table, laid out like the summary of
    nnU-Net: `Dice` and `IoU`, and the other scores beside them; `DATASET/CLASS` for a label, null where it has NaN.
    """

    note: str = DISCLAIMER
    mixture: str
    experts: tuple[str, ...]
    thresholds: dict[str, float]
    """By dataset: confidence from which its experts answer."""
    foundation: str
    foundation_sha256: str
    foundation_for_research_only: bool
    """Whether the foundation is for learning and tests rather than for real scans."""
    folds: tuple[int, ...]
    sampling_unit: Literal["cases", "patients"] = "cases"
    """What intervals draw and tests count once: patients where a dataset says which cases are of one patient; there, a
    case of which it says nothing is a patient of its own."""
    tables: tuple[Table, ...]
    """One a kind of prompt: clicks first, fewest first."""
    routing: tuple[RoutingRow, ...]
    cases_of_fold: int | None = None
    """In how many of the cases that a fold of a dataset holds out was asked, at most; null where in all."""
    forgetting: tuple[ForgettingRow, ...] = ()
    """What each expert alone does to everybody's classes at one click, and both oracles, score by score; empty where
    not asked for."""
    forgetting_cases: int | None = None
    """In how many held-out cases of each dataset and fold experts were asked about everybody's classes, at most; null
    where in all."""
    missing_cases: tuple[str, ...]
    """Held-out cases without any answer, as `DATASET/CASE`."""
    absent_classes: tuple[str, ...] = ()
    """Classes that no held-out case has, as `DATASET/CLASS`; they have no row."""
    resources: Resources | None = None
    """What the evaluation took."""
    foreground_mean: dict[str, float | None]
    mean: dict[str, dict[str, float | None]]
    metric_per_case: tuple[CaseMetrics, ...]
    provenance: Provenance


def summarise(
    cases: Sequence[CaseRecord],
    routing: Sequence[RoutingRecord],
    experts: Sequence[ExpertRecord] = (),
    *,
    mixture: MixtureCard,
    foundation: FoundationCard,
    held_out: Mapping[str, Sequence[str]],
    provenance: Provenance,
    patients: Mapping[CaseName, str] | None = None,
    absent: Mapping[ClassName, int] | None = None,
    tolerances_mm: Mapping[ClassName, float] | None = None,
    cases_of_fold: int | None = None,
    forgetting_cases: int | None = None,
    resources: Resources | None = None,
) -> EvaluationSummary:
    """Condenses what was measured.

    Folds are pooled as nnU-Net does it: each case counts once, in the fold that holds it out, and means are over cases
    and not over folds.

    Args:
        cases: at least one record, those of the oracles included.
        routing: what the gate decided.
        experts: what every expert made of everybody's classes, if they were asked.
        mixture: what was evaluated.
        foundation: what it stands on.
        held_out: by dataset, the cases that should have been evaluated.
        provenance: of the evaluation; its seed also seeds the bootstrap.
        patients: of cases; one that is not named is its own patient.
        absent: held-out cases that lack a class, where there are such.
        tolerances_mm: of surface Dice, by class.
        cases_of_fold: in how many held-out cases of each dataset and fold was asked, at most; None: in all.
        forgetting_cases: in how many held-out cases of each dataset and fold experts were asked; None: in all.
        resources: what the evaluation took.
    """
    one_click = [record for record in cases if record.clicks == 1]
    if forgetting_cases is not None:
        # A mean over some cases does not stand beside means over all of them.
        cases = [record for record in cases if record.method != "oracle_by_prompt"]
    kinds = sorted({(record.prompt, record.clicks) for record in cases}, key=lambda kind: (kind[0] != "click", kind[1]))
    by_kind = [[record for record in cases if (record.prompt, record.clicks) == kind] for kind in kinds]
    tables = tuple(
        compare(
            records,
            seed=provenance.seed,
            patients=patients,
            # The locator's prompts need no truth, so that it is asked about classes that a case lacks, too.
            absent=absent if kind[0] == "click" else None,
            tolerances_mm=tolerances_mm,
        )
        for kind, records in zip(kinds, by_kind, strict=True)
    )
    patients = patients or {}
    answered = {(record.dataset, record.case) for record in cases}
    classes = {(record.dataset, record.class_name) for record in cases}
    overall = tables[0].groups["all"].scored
    return EvaluationSummary(
        mixture=mixture.name,
        experts=tuple(expert_key(expert.dataset, expert.task) for expert in mixture.experts),
        thresholds=mixture.thresholds,
        foundation=foundation.name,
        foundation_sha256=foundation.sha256,
        foundation_for_research_only=foundation.for_research_only,
        folds=tuple(sorted({record.fold for record in cases})),
        sampling_unit="patients" if any(patients.get(case, case[1]) != case[1] for case in answered) else "cases",
        tables=tables,
        routing=_routing(routing),
        cases_of_fold=cases_of_fold,
        forgetting=tuple(row for metric in METRICS if experts for row in forgetting_rows(one_click, experts, metric)),
        forgetting_cases=forgetting_cases,
        missing_cases=tuple(
            f"{dataset}/{case}"
            for dataset, names in held_out.items()
            for case in names
            if (dataset, case) not in answered
        ),
        absent_classes=tuple(f"{dataset}/{name}" for dataset, name in sorted((absent or {}).keys() - classes)),
        resources=resources,
        foreground_mean=_nnunet_means(overall),
        mean={row.name: _nnunet_means(row.scored) for row in tables[0].rows},
        metric_per_case=_metric_per_case(by_kind[0]),
        provenance=provenance,
    )


def _routing(routing: Sequence[RoutingRecord]) -> tuple[RoutingRow, ...]:
    counts: dict[tuple[int, bool, str, str], Counter[str]] = {}
    for record in routing:
        row = (record.clicks, record.task is None, record.dataset, record.task or "")
        counts.setdefault(row, Counter())[record.chosen] += 1
    return tuple(
        RoutingRow(dataset=dataset, task=task or None, clicks=clicks, chosen=dict(sorted(chosen.items())))
        for (clicks, _, dataset, task), chosen in sorted(counts.items())
    )


def _nnunet_means(scored: Scored) -> dict[str, float | None]:
    found = {metric: scored.means[metric].get("mixture") for metric in METRICS}
    return {_NNUNET_NAMES.get(metric, metric): None if one is None else one.mean for metric, one in found.items()}


def _metric_per_case(cases: Sequence[CaseRecord]) -> tuple[CaseMetrics, ...]:
    metrics: dict[tuple[str, str], dict[str, dict[str, float | None]]] = {}
    for metric in METRICS:
        for (dataset, class_name), by_case in case_means(cases, metric).items():
            for case, scores in by_case.items():
                of_case = metrics.setdefault((dataset, case), {}).setdefault(f"{dataset}/{class_name}", {})
                of_case[_NNUNET_NAMES.get(metric, metric)] = scores.get("mixture")
    return tuple(
        CaseMetrics(reference_file=f"{dataset}/{GT_SEGMENTATIONS}/{case}.nii.gz", metrics=found)
        for (dataset, case), found in sorted(metrics.items())
    )
