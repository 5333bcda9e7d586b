"""`summary.json`: what an evaluation found, and the same numbers where readers of nnU-Net's summary look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sammoe_pipeline.artefacts import Artefact, FoundationCard, MixtureCard, Provenance, Record
from sammoe_pipeline.evaluation.comparison import ClassRow, Group, Table, compare
from sammoe_pipeline.evaluation.forgetting import ForgettingRow, forgetting_rows
from sammoe_pipeline.evaluation.records import METHODS, CaseRecord, ExpertRecord, RoutingRecord, case_means
from sammoe_pipeline.evaluation.wording import (
    DISCLAIMER,
    FORGETTING_NAMES,
    GAIN_NAMES,
    GROUP_NAMES,
    METHOD_NAMES,
    NONE,
    change,
    footnotes,
    forgetting_numbers,
    percent,
    prompt_words,
    seed_words,
)
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.paths import GT_SEGMENTATIONS


class RoutingRow(Record):
    """Who answered the prompts of one task, or of the classes of a dataset that have none."""

    dataset: str
    task: str | None
    chosen: dict[str, int]
    """By expert key or "general"."""


class CaseMetrics(Record):
    """Dice of the mixture in one case, shaped as nnU-Net does it."""

    reference_file: str
    """Relative to `sammoe_preprocessed`."""
    metrics: dict[str, dict[str, float | None]]


class EvaluationSummary(Artefact):
    """`summary.json`: what an evaluation found. Dice runs from 0 to 1.

    `metric_per_case`, `mean` and `foreground_mean` are the mixture's in the first table, laid out like the summary of
    nnU-Net, with `DATASET/CLASS` for a label and null where nnU-Net has NaN.
    """

    note: str = DISCLAIMER
    mixture: str
    experts: tuple[str, ...]
    threshold: float
    """Confidence from which an expert answers."""
    foundation: str
    foundation_sha256: str
    foundation_for_research_only: bool
    """Whether the foundation is for learning and tests rather than for real scans."""
    folds: tuple[int, ...]
    tables: tuple[Table, ...]
    """One a kind of prompt: clicks first, fewest first."""
    routing: tuple[RoutingRow, ...]
    forgetting: tuple[ForgettingRow, ...] = ()
    """What each expert alone does to everybody's classes at one click, and both oracles; empty where not asked for."""
    missing_cases: tuple[str, ...]
    """Held-out cases without any answer, as `DATASET/CASE`."""
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
) -> EvaluationSummary:
    """Condenses what was measured. Folds are pooled: each case counts once, in the fold that holds it out.

    Args:
        cases: at least one record.
        routing: what the gate decided.
        experts: what every expert made of everybody's classes, if they were asked.
        mixture: what was evaluated.
        foundation: what it stands on.
        held_out: by dataset, the cases that should have been evaluated.
        provenance: of the evaluation; its seed also seeds the bootstrap.
    """
    kinds = sorted({(record.prompt, record.clicks) for record in cases}, key=lambda kind: (kind[0] != "click", kind[1]))
    by_kind = [[record for record in cases if (record.prompt, record.clicks) == kind] for kind in kinds]
    tables = tuple(compare(records, seed=provenance.seed) for records in by_kind)
    answered = {(record.dataset, record.case) for record in cases}
    return EvaluationSummary(
        mixture=mixture.name,
        experts=tuple(expert_key(expert.dataset, expert.task) for expert in mixture.experts),
        threshold=mixture.threshold,
        foundation=foundation.name,
        foundation_sha256=foundation.sha256,
        foundation_for_research_only=foundation.for_research_only,
        folds=tuple(sorted({record.fold for record in cases})),
        tables=tables,
        routing=_routing(routing),
        forgetting=forgetting_rows([record for record in cases if record.clicks == 1], experts) if experts else (),
        missing_cases=tuple(
            f"{dataset}/{case}"
            for dataset, names in held_out.items()
            for case in names
            if (dataset, case) not in answered
        ),
        foreground_mean={"Dice": tables[0].groups["all"].dice.get("mixture")},
        mean={row.name: {"Dice": row.dice.get("mixture")} for row in tables[0].rows},
        metric_per_case=_metric_per_case(by_kind[0]),
        provenance=provenance,
    )


def _routing(routing: Sequence[RoutingRecord]) -> tuple[RoutingRow, ...]:
    counts: dict[tuple[str, str | None], Counter[str]] = {}
    for record in routing:
        counts.setdefault((record.dataset, record.task), Counter())[record.chosen] += 1
    return tuple(
        RoutingRow(dataset=dataset, task=task, chosen=dict(sorted(counts[dataset, task].items())))
        for dataset, task in sorted(counts, key=lambda key: (key[1] is None, key[0], key[1] or ""))
    )


def _metric_per_case(cases: Sequence[CaseRecord]) -> tuple[CaseMetrics, ...]:
    metrics: dict[tuple[str, str], dict[str, dict[str, float | None]]] = {}
    for (dataset, class_name), by_case in case_means(cases).items():
        for case, dice in by_case.items():
            metrics.setdefault((dataset, case), {})[f"{dataset}/{class_name}"] = {"Dice": dice.get("mixture")}
    return tuple(
        CaseMetrics(reference_file=f"{dataset}/{GT_SEGMENTATIONS}/{case}.nii.gz", metrics=found)
        for (dataset, case), found in sorted(metrics.items())
    )


def markdown_table(summary: EvaluationSummary) -> str:
    """Renders the paper's table in Markdown, one a kind of prompt, with Dice in per cent and what the marks mean.

    The means of the classes that have an expert come first, then those of the classes that have none.
    """
    lines = [line for table in summary.tables for line in _markdown_lines(table, summary)]
    return "\n".join([*lines, *_forgetting_lines(summary)])


def _forgetting_lines(summary: EvaluationSummary) -> list[str]:
    if not summary.forgetting:
        return []
    keys = list(summary.forgetting[0].experts)
    head = ["Dataset", "Task", "Classes", *FORGETTING_NAMES, *keys]
    rows = [
        [row.dataset, row.task or NONE, str(row.classes), *map(percent, forgetting_numbers(row))]
        for row in summary.forgetting
    ]
    return [
        "One expert for everything: Dice in %, 1 click. A column an expert, asked about everybody's classes.",
        "",
        *map(_markdown_row, [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]),
        "",
    ]


def _markdown_lines(table: Table, summary: EvaluationSummary) -> list[str]:
    head = ["Dataset", "Class", "Expert task", "Configuration", "Cases", *METHOD_NAMES.values(), *GAIN_NAMES]
    lines = [f"Dice in %, {prompt_words(table.prompt, table.clicks)}, {seed_words(table.seeds)}.", ""]
    lines += [_markdown_row(head), _markdown_row(["---"] * 4 + ["---:"] * (len(head) - 4))]
    for name, group in table.groups.items():
        cells = _markdown_numbers(group)
        words = f"{GROUP_NAMES[name]} ({group.classes})"
        lines.append(_markdown_row([f"**{cell}**" if cell else "" for cell in (words, "", "", "", "", *cells)]))
    for row in table.rows:
        cells = _markdown_numbers(row)
        mark = "\\*" if row.seen_by_foundation else ""
        lines.append(
            _markdown_row(
                [row.dataset + mark, row.class_name, row.task or NONE, row.configuration, str(row.cases), *cells]
            )
        )
    return [*lines, "", *footnotes(table, summary.missing_cases, mark="\\*"), DISCLAIMER, ""]


def _markdown_numbers(row: ClassRow | Group) -> list[str]:
    return [*(percent(row.dice.get(method)) for method in METHODS), change(row.over_native), change(row.over_general)]


def _markdown_row(cells: Sequence[str]) -> str:
    """Joins cells; a bar or a line break within one would end it."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
