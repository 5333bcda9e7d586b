"""The tables of `report.html`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from sammoe_pipeline.evaluation.comparison import ClassRow, Group, GroupName, Scored, Table
from sammoe_pipeline.evaluation.forgetting import ForgettingRow
from sammoe_pipeline.evaluation.records import Method
from sammoe_pipeline.evaluation.summary import EvaluationSummary
from sammoe_pipeline.evaluation.surface import Metric
from sammoe_pipeline.evaluation.wording import (
    FORGETTING_NAMES,
    GAIN_NAMES,
    GROUP_NAMES,
    METHOD_NAMES,
    METRIC_NAMES,
    NONE,
    footnotes,
    forgetting_numbers,
    interval,
    p_word,
    percent,
    prompt_words,
    score_number,
    seed_words,
    signed,
)

if TYPE_CHECKING:
    from sammoe_pipeline.evaluation.bootstrap import Estimate

_SECTIONS: tuple[tuple[GroupName, str], ...] = (
    ("special", "Classes with an expert"),
    ("general", "Classes without an expert, left to the general one"),
)
_SCORES: dict[Metric, str] = {
    "surface_dice": "Surface Dice, %",
    "hd95_mm": "HD95, mm",
    "volume_error_ml": "Volume error, ml",
}
_SCORED: dict[Method, str] = {"general_native": "General, native", "expert": "Expert", "mixture": "Mixture"}


def dice_table(table: Table, summary: EvaluationSummary) -> str:
    """Returns the paper's table for one kind of prompt, with what a reader must know below it."""
    methods = table.methods
    names = (*(METHOD_NAMES[method] for method in methods), *GAIN_NAMES)
    headings = "".join(f'<th class="number">{escape(name)}</th>' for name in names)

    def numbers(scored: Scored) -> str:
        cells = [
            f'<td class="number{" mixture" if method == "mixture" else ""}">{percent(scored.dice.get(method))}</td>'
            for method in methods
        ]
        return "".join(cells) + "".join(
            f'<td class="number">{_change(estimate)}</td>' for estimate in (scored.over_native, scored.over_general)
        )

    blocks = _blocks(table, 3 + len(names), 3, lambda row: f"{_name_cells(row)}{numbers(row.scored)}", numbers)
    notes = "".join(f"<li>{escape(note)}</li>" for note in footnotes(table, summary, mark="*"))
    oracles = " Oracles: answers chosen by who knows the task, or the Dice itself." if len(methods) > 4 else ""
    return f"""<h2>Dice by class, {prompt_words(table.prompt, table.clicks)}</h2>
<p class="note">Dice in %. General: the foundation's own decoder, at its native resolution and at the one planned for
the task, so that what resolution brings is told apart from what training brings. Expert: the class's own expert,
always. Mixture: whoever the gate chooses.{oracles} {seed_words(table.seeds).capitalize()}.</p>
<div class="wide"><table><thead><tr><th>Class</th><th>Configuration</th><th class="number">Cases</th>{headings}
</tr></thead><tbody>
{blocks}</tbody></table></div>
<ul class="notes">{notes}</ul>"""


def score_table(table: Table) -> str:
    """Returns surface Dice, HD95 and volume error by class."""
    over = "".join(f'<th class="number" colspan="{len(_SCORED)}">{escape(name)}</th>' for name in _SCORES.values())
    under = "".join(f'<th class="number">{escape(name)}</th>' for name in _SCORED.values()) * len(_SCORES)

    def numbers(scored: Scored) -> str:
        cells = []
        for metric in _SCORES:
            for method in _SCORED:
                estimate = scored.means[metric].get(method)
                words = NONE if estimate is None else score_number(metric, estimate.mean)
                cells.append(f'<td class="number{" mixture" if method == "mixture" else ""}">{words}</td>')
        return "".join(cells)

    def row_cells(row: ClassRow) -> str:
        tolerance = NONE if row.tolerance_mm is None else f"{row.tolerance_mm:.3g}"
        return f'{_class_cell(row)}<td class="number">{tolerance}</td>{numbers(row.scored)}'

    blocks = _blocks(table, 2 + len(_SCORES) * len(_SCORED), 2, row_cells, numbers)
    return f"""<h3>Surfaces and volumes, {prompt_words(table.prompt, table.clicks)}</h3>
<div class="wide"><table><thead><tr><th></th><th></th>{over}</tr>
<tr><th>Class</th><th class="number">Tolerance, mm</th>{under}</tr></thead><tbody>
{blocks}</tbody></table></div>"""


def forgetting_table(rows: Sequence[ForgettingRow]) -> str:
    """Returns Dice of every expert on everybody's tasks."""
    names = [*map(escape, FORGETTING_NAMES), *map(_breakable, rows[0].experts)]
    headings = "".join(f'<th class="number">{name}</th>' for name in names)
    cells = "".join(
        f'<tr><td>{escape(row.task or "no expert")}<span class="detail">{escape(row.dataset)}</span></td>'
        f'<td class="number">{row.classes}</td>'
        + "".join(f'<td class="number">{percent(value)}</td>' for value in forgetting_numbers(row))
        + "</tr>"
        for row in rows
    )
    return f"""<div class="wide"><table><thead><tr><th>Task</th><th class="number">Classes</th>{headings}
</tr></thead><tbody>
{cells}</tbody></table></div>
<p class="note">Dice in %. Oracle by task: the class's own expert where it has one, else the general expert. Oracle by
prompt: whoever does best in each case. No gate can do better than the latter.</p>"""


def _breakable(key: str) -> str:
    """Lets the key of an expert break into lines after strokes."""
    return escape(key).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _blocks(
    table: Table,
    columns: int,
    words: int,
    row_cells: Callable[[ClassRow], str],
    numbers: Callable[[Scored], str],
) -> str:
    """Returns the rows of a table, group by group, each with its mean below.

    Args:
        table: whose rows.
        columns: of the table.
        words: of them, those before the numbers.
        row_cells: cells of a class.
        numbers: cells with numbers of a mean.
    """
    blocks = []
    for name, heading in _SECTIONS:
        if name in table.groups:
            blocks.append(f'<tr class="section"><td colspan="{columns}">{heading}</td></tr>')
            rows = [row for row in table.rows if (row.task is not None) == (name == "special")]
            blocks += [f"<tr>{row_cells(row)}</tr>" for row in rows]
            blocks.append(_mean_row(GROUP_NAMES[name], table.groups[name], words, numbers))
    if len(table.groups) == 3:
        blocks.append(_mean_row(GROUP_NAMES["all"], table.groups["all"], words, numbers))
    return "".join(blocks)


def _mean_row(heading: str, group: Group, words: int, numbers: Callable[[Scored], str]) -> str:
    cells = numbers(group.scored)
    return f'<tr class="mean"><td colspan="{words}">{heading} ({group.classes})</td>{cells}</tr>'


def _class_cell(row: ClassRow) -> str:
    mark = "*" if row.seen_by_foundation else ""
    return f'<td>{escape(row.class_name)}{mark}<span class="detail">{escape(row.dataset)}</span></td>'


def _name_cells(row: ClassRow) -> str:
    return f'{_class_cell(row)}<td>{escape(row.configuration)}</td><td class="number">{row.cases}</td>'


def _change(estimate: Estimate | None) -> str:
    """Words a difference; coloured only where its interval does not hold zero."""
    if estimate is None:
        return NONE
    colour = ""
    if estimate.interval is not None:
        low, high = estimate.interval
        colour = "gain" if low > 0 else "loss" if high < 0 else ""
    return f'<span class="{colour}">{signed(estimate.mean)}</span><span class="detail">{interval(estimate)}</span>'


def means_table(table: Table) -> str:
    """Returns all scores of the means over classes, method by method, with tests against the mixture."""
    headings = "".join(f'<th class="number">{escape(name)}</th>' for name in METRIC_NAMES.values())
    rows = []
    for name, heading in _SECTIONS:
        if name not in table.groups:
            continue
        scored = table.groups[name].scored
        rows.append(f'<tr class="section"><td colspan="{2 + len(METRIC_NAMES)}">{heading}</td></tr>')
        for method in table.methods:
            if method not in scored.dice:
                continue
            cells = "".join(_mean_cell(metric, scored.means[metric].get(method)) for metric in METRIC_NAMES)
            tested = escape(p_word(scored.difference("mixture", method)))
            rows.append(f'<tr><td>{METHOD_NAMES[method]}</td>{cells}<td class="number">{tested}</td></tr>')
    return f"""<h3>Means with 95 % intervals, {prompt_words(table.prompt, table.clicks)}</h3>
<div class="wide"><table><thead><tr><th>Who answers</th>{headings}
<th class="number">p, Dice against the mixture</th></tr></thead><tbody>
{"".join(rows)}</tbody></table></div>"""


def _mean_cell(metric: Metric, estimate: Estimate | None) -> str:
    if estimate is None:
        return f'<td class="number">{NONE}</td>'
    within = "" if estimate.interval is None else " to ".join(score_number(metric, x) for x in estimate.interval)
    return f'<td class="number">{score_number(metric, estimate.mean)}<span class="detail">{within}</span></td>'
