"""The tables of an evaluation in Markdown, for terminals and pages."""

from __future__ import annotations

from collections.abc import Sequence

from sammoe_pipeline.evaluation.comparison import Scored, Table
from sammoe_pipeline.evaluation.records import METHODS
from sammoe_pipeline.evaluation.summary import EvaluationSummary
from sammoe_pipeline.evaluation.wording import (
    DISCLAIMER,
    FORGETTING_NAMES,
    GAIN_NAMES,
    GROUP_NAMES,
    METHOD_NAMES,
    METRIC_NAMES,
    NONE,
    asked_in,
    change,
    footnotes,
    forgetting_numbers,
    p_word,
    percent,
    prompt_words,
    score,
    seed_words,
)


def markdown_table(summary: EvaluationSummary) -> str:
    """Renders the paper's table in Markdown, one a kind of prompt, with Dice in per cent and what the marks mean.

    The means of the classes that have an expert come first, then those of the classes that have none. A second table
    has all scores of these means, and tests against the mixture.
    """
    lines = [
        line
        for table in summary.tables
        for line in (*_dice_lines(table), *_score_lines(table), *_notes(table, summary))
    ]
    return "\n".join([*lines, *_forgetting_lines(summary)])


def _dice_lines(table: Table) -> list[str]:
    methods = table.methods
    names = [METHOD_NAMES[method] for method in methods]
    head = ["Dataset", "Class", "Expert task", "Configuration", "Cases", *names, *GAIN_NAMES]
    lines = [f"Dice in %, {prompt_words(table.prompt, table.clicks)}, {seed_words(table.seeds)}.", ""]
    lines += [_row(head), _row(["---"] * 4 + ["---:"] * (len(head) - 4))]

    def numbers(scored: Scored) -> list[str]:
        dice = [percent(scored.dice.get(method)) for method in methods]
        return [*dice, change(scored.over_native), change(scored.over_general)]

    for name, group in table.groups.items():
        words = f"{GROUP_NAMES[name]} ({group.classes})"
        cells = (words, "", "", "", "", *numbers(group.scored))
        lines.append(_row([f"**{cell}**" if cell else "" for cell in cells]))
    for row in table.rows:
        mark = "\\*" if row.seen_by_foundation else ""
        known = [row.dataset + mark, row.class_name, row.task or NONE, row.configuration, str(row.cases)]
        lines.append(_row([*known, *numbers(row.scored)]))
    return [*lines, ""]


def _score_lines(table: Table) -> list[str]:
    """Returns the table of all scores: a row a group of classes and method."""
    head = ["Classes", "Who answers", *METRIC_NAMES.values(), "p, Dice against the mixture"]
    lines = [_row(head), _row(["---"] * 2 + ["---:"] * (len(head) - 2))]
    for name, group in table.groups.items():
        for method in METHODS:
            if method not in group.scored.dice:
                continue
            scores = [score(metric, group.scored.means[metric].get(method)) for metric in METRIC_NAMES]
            tested = p_word(group.scored.difference("mixture", method))
            lines.append(_row([GROUP_NAMES[name], METHOD_NAMES[method], *scores, tested]))
    return [*lines, ""]


def _notes(table: Table, summary: EvaluationSummary) -> list[str]:
    return [*footnotes(table, summary, mark="\\*"), DISCLAIMER, ""]


def _forgetting_lines(summary: EvaluationSummary) -> list[str]:
    rows = [row for row in summary.forgetting if row.metric == "dice"]
    if not rows:
        return []
    head = ["Dataset", "Task", "Classes", *FORGETTING_NAMES, *rows[0].experts]
    cells = [[row.dataset, row.task or NONE, str(row.classes), *map(percent, forgetting_numbers(row))] for row in rows]
    return [
        f"One expert for everything: Dice in %, 1 click{asked_in(summary)}. "
        "A column an expert, asked about everybody's classes.",
        "",
        *map(_row, [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *cells]),
        "",
    ]


def _row(cells: Sequence[str]) -> str:
    """Joins cells; a bar or a line break within one would end it."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
