"""`report.html`: an evaluation to read, print and pass on, in one file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.artefacts import CalibrationPoint
from sammoe_pipeline.evaluation import figures
from sammoe_pipeline.evaluation.comparison import ClassRow, Group, GroupName, Table
from sammoe_pipeline.evaluation.pictures import RADIOLOGICAL, Picture, draw_picture
from sammoe_pipeline.evaluation.records import METHODS, CaseRecord, RoutingRecord
from sammoe_pipeline.evaluation.summary import EvaluationSummary
from sammoe_pipeline.evaluation.wording import (
    DISCLAIMER,
    FORGETTING_NAMES,
    GAIN_NAMES,
    GROUP_NAMES,
    METHOD_NAMES,
    NONE,
    footnotes,
    forgetting_numbers,
    interval,
    percent,
    prompt_words,
    seed_words,
    signed,
)
from sammoe_pipeline.page.html import facts, figure_block, tile, write_page
from sammoe_pipeline.paths import REPORT_HTML

if TYPE_CHECKING:
    from sammoe_pipeline.evaluation.bootstrap import Estimate


def write_report(
    folder: Path,
    summary: EvaluationSummary,
    cases: Sequence[CaseRecord],
    routing: Sequence[RoutingRecord],
    calibration: Sequence[CalibrationPoint],
    pictures: Sequence[Picture],
) -> Path:
    """Writes the report as one page that opens offline.

    Args:
        folder: where `report.html` goes.
        summary: the tables.
        cases: the records that the summary was made from.
        routing: what the gate decided.
        calibration: thresholds that were tried when the gate was fitted.
        pictures: examples to show.

    Returns:
        The file that was written.
    """
    first = summary.tables[0]
    headline = [record for record in cases if (record.prompt, record.clicks) == (first.prompt, first.clicks)]
    sections = [
        _opening(summary),
        _tiles(first),
        *(_table(table, summary) for table in summary.tables),
        _differences(first, headline),
        _forgetting(summary),
        _routing(summary, routing),
        _calibration(summary, calibration),
        _examples(pictures),
        _provenance(summary),
    ]
    path = folder / REPORT_HTML
    write_page(path, title=f"Mixture {summary.mixture}: evaluation", sections=sections, footer=DISCLAIMER)
    return path


def _opening(summary: EvaluationSummary) -> str:
    table = summary.tables[0]
    datasets = {row.dataset for row in table.rows}
    cases = len(summary.metric_per_case)
    experts = f"{len(summary.experts)} expert" + ("" if len(summary.experts) == 1 else "s")
    warning = f"<strong>{DISCLAIMER}</strong>"
    if summary.foundation_for_research_only:
        warning += (
            f" The foundation {escape(summary.foundation)} is for learning and tests; it is not meant for real scans."
        )
    return f"""<h1>What mixture &ldquo;{escape(summary.mixture)}&rdquo; can do</h1>
<p class="subtitle">Foundation {escape(summary.foundation)} with {experts}; {cases} held-out cases of
{len(datasets)} datasets; {prompt_words(table.prompt, table.clicks)}, {seed_words(table.seeds)}</p>
<div class="warning">{warning}</div>
<p>A foundation model segments what a user points at in a 3D scan. It does some structures poorly. For those, an
<em>expert</em> was trained: a copy of the model's last part, specialised in one task. The foundation itself stays as it
was, the <em>general expert</em>. A <em>gate</em> looks at the scan and the prompt and decides who answers; general
expert, experts and gate together are the <em>mixture</em>.</p>
<p>This report asks two things: how much did the structures with an expert gain, and did the others lose anything? All
figures come from cases that neither the experts nor the gate learnt from. Agreement with the reference segmentation
is given as Dice, where 100&nbsp;% is a perfect match and 0&nbsp;% no overlap at all.</p>"""


def _tiles(table: Table) -> str:
    tiles = []
    if "special" in table.groups:
        tiles.append(_group_tile("Classes with an expert", table.groups["special"]))
    if "general" in table.groups:
        tiles.append(_group_tile("Classes without an expert", table.groups["general"]))
    if table.recovered_gain is not None:
        tasks = f"{table.worthwhile_tasks} task" + ("" if table.worthwhile_tasks == 1 else "s")
        detail = f"of what the right expert would gain, over {tasks} where it gains more than one point"
        tiles.append(tile("Gain recovered by the gate", f"{100 * table.recovered_gain:.0f}&nbsp;%", detail))
    overall = table.groups["all"]
    if overall.worst_class is not None:
        tiles.append(
            tile("Worst class", signed(overall.worst_difference), f"{escape(overall.worst_class)}, Dice points")
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _group_tile(words: str, group: Group) -> str:
    before, after = percent(group.dice.get("general_native")), percent(group.dice.get("mixture"))
    gain, beyond = (None if e is None else e.mean for e in (group.over_native, group.over_general))
    detail = (
        f"Dice {before} &rarr; {after}&nbsp;%; {signed(beyond)} against the general expert in the same configuration"
    )
    return tile(f"{words} ({group.classes})", signed(gain), detail)


def _table(table: Table, summary: EvaluationSummary) -> str:
    names = (*METHOD_NAMES.values(), *GAIN_NAMES)
    headings = "".join(f'<th class="number">{escape(name)}</th>' for name in names)
    sections: tuple[tuple[GroupName, str], ...] = (
        ("special", "Classes with an expert"),
        ("general", "Classes without an expert, left to the general one"),
    )
    blocks = []
    for name, words in sections:
        if name in table.groups:
            blocks.append(f'<tr class="section"><td colspan="9">{words}</td></tr>')
            blocks += [_class_row(row) for row in table.rows if (row.task is not None) == (name == "special")]
            blocks.append(_mean_row(GROUP_NAMES[name], table.groups[name]))
    if len(table.groups) == 3:
        blocks.append(_mean_row(GROUP_NAMES["all"], table.groups["all"]))
    notes = "".join(f"<li>{escape(note)}</li>" for note in footnotes(table, summary.missing_cases, mark="*"))
    return f"""<h2>Dice by class, {prompt_words(table.prompt, table.clicks)}</h2>
<p class="note">Dice in %. General: the foundation's own decoder, at its native resolution and at the one planned for
the task, so that what resolution brings is told apart from what training brings. Expert: the class's own expert,
always. Mixture: whoever the gate chooses. {seed_words(table.seeds).capitalize()}.</p>
<div class="wide"><table><thead><tr><th>Class</th><th>Configuration</th><th class="number">Cases</th>{headings}
</tr></thead><tbody>
{"".join(blocks)}</tbody></table></div>
<ul class="notes">{notes}</ul>"""


def _class_row(row: ClassRow) -> str:
    mark = "*" if row.seen_by_foundation else ""
    return (
        f'<tr><td>{escape(row.class_name)}{mark}<span class="detail">{escape(row.dataset)}</span></td>'
        f'<td>{escape(row.configuration)}</td><td class="number">{row.cases}</td>'
        f"{_numbers(row)}</tr>"
    )


def _mean_row(words: str, group: Group) -> str:
    return f'<tr class="mean"><td colspan="3">{words} ({group.classes})</td>{_numbers(group)}</tr>'


def _numbers(row: ClassRow | Group) -> str:
    cells = [
        f'<td class="number{" mixture" if method == "mixture" else ""}">{percent(row.dice.get(method))}</td>'
        for method in METHODS
    ]
    return "".join(cells) + "".join(
        f'<td class="number">{_change(estimate)}</td>' for estimate in (row.over_native, row.over_general)
    )


def _change(estimate: Estimate | None) -> str:
    """Words a difference; coloured only where its interval does not hold zero."""
    if estimate is None:
        return NONE
    colour = ""
    if estimate.interval is not None:
        low, high = estimate.interval
        colour = "gain" if low > 0 else "loss" if high < 0 else ""
    return f'<span class="{colour}">{signed(estimate.mean)}</span><span class="detail">{interval(estimate)}</span>'


def _differences(table: Table, cases: Sequence[CaseRecord]) -> str:
    if all(row.over_native is None for row in table.rows):
        return ""
    gains = figure_block(
        figures.gains(table.rows),
        "Mean change of Dice by class, from the foundation alone to the mixture",
        "Filled dots: mean change of Dice from the foundation alone, at its native configuration, to the mixture. "
        "Lines are 95 % intervals; one that crosses zero leaves open whether anything changed. Open dots: the same "
        "against the general expert in the task's configuration, without what resolution alone brings.",
    )
    scatter = figure_block(
        figures.scatter(cases),
        "Dice of each case, foundation alone against mixture",
        "Each dot is one class in one case. Above the dashed line the mixture is better.",
    )
    return f"<h2>What was gained and what was lost</h2>\n{gains}\n{scatter}"


def _forgetting(summary: EvaluationSummary) -> str:
    if not summary.forgetting:
        return ""
    drawn = figure_block(
        figures.forgetting(summary.forgetting),
        "Change of Dice by each expert alone and by the mixture, over the general expert, task by task",
        "A row a task, a column who answers all of its prompts. Each expert does its own task better and most others "
        "worse: that is what plain finetuning leaves behind.",
    )
    names = [*FORGETTING_NAMES, *summary.forgetting[0].experts]
    headings = "".join(f'<th class="number">{escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><td>{escape(row.task or "no expert")}<span class="detail">{escape(row.dataset)}</span></td>'
        f'<td class="number">{row.classes}</td>'
        + "".join(f'<td class="number">{percent(value)}</td>' for value in forgetting_numbers(row))
        + "</tr>"
        for row in summary.forgetting
    )
    return f"""<h2>One expert for everything</h2>
<p>What if an expert simply took the foundation's place? Here each is asked about everybody's classes, at one click and
in its own configuration.</p>
{drawn}
<div class="wide"><table><thead><tr><th>Task</th><th class="number">Classes</th>{headings}</tr></thead><tbody>
{rows}</tbody></table></div>
<p class="note">Dice in %. Oracle by task: the class's own expert where it has one, else the general expert. Oracle by
prompt: whoever does best in each case. No gate can do better than the latter.</p>"""


def _routing(summary: EvaluationSummary, routing: Sequence[RoutingRecord]) -> str:
    if not routing or not summary.experts:
        return ""
    matrix = figure_block(
        figures.routing_matrix(summary.routing, summary.experts),
        "Share of prompts that each expert answered, by task",
        "A row a task, a column who answered. Ideally tasks go to their own expert and all else to the general one.",
    )
    histogram = figure_block(
        figures.confidences(routing, summary.threshold),
        "Histogram of the gate's confidence",
        "Confidence in a class's own expert where it has one, and in the surest of all experts where it has none.",
    )
    return f"""<h2>Who answered</h2>
<p>For each prompt the gate gives every expert a confidence. Below the threshold of {summary.threshold:.2f} the general
expert answers alone, as if there were no mixture.</p>
{matrix}
{histogram}"""


def _calibration(summary: EvaluationSummary, calibration: Sequence[CalibrationPoint]) -> str:
    if not calibration:
        return ""
    curve = figure_block(
        figures.threshold_curve(calibration, summary.threshold),
        "Mean Dice, loss on general targets and experts' share against the threshold",
        "From calibration cases, which are apart from the cases of this report. Dashed: the threshold in use. A higher "
        "threshold keeps the foundation's behaviour more often, a lower one lets experts answer more often.",
    )
    return f"<h2>How the threshold was chosen</h2>\n{curve}"


def _examples(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    shown = "".join(
        f"<h3>{escape(picture.class_name)}, {escape(picture.case)}</h3>"
        + figure_block(
            draw_picture(picture),
            f"{picture.class_name} in {picture.case}: image, truth, general expert and mixture in three planes",
            f"{picture.dataset}. {picture.caption}",
            kind="png",
        )
        for picture in pictures
    )
    return f"""<h2>Examples</h2>
<p class="note">Solid lines: the mask that a column is named for; dotted: the truth. {RADIOLOGICAL}</p>
{shown}"""


def _provenance(summary: EvaluationSummary) -> str:
    made = summary.provenance
    seconds = ", ".join(f"{METHOD_NAMES[method]} {time:.2f} s" for method, time in summary.tables[0].seconds.items())
    known = {
        "Mixture": summary.mixture,
        "Experts": ", ".join(summary.experts) or "none",
        "Foundation": f"{summary.foundation}, SHA-256 {summary.foundation_sha256}",
        "Folds": ", ".join(map(str, summary.folds)) + " (pooled: each case counts once, in the fold that holds it out)",
        "Seeds of clicks": ", ".join(map(str, summary.tables[0].seeds)),
        "Median time of an answer": f"{seconds} ({made.device}, {made.threads} threads)",
        "Versions": ", ".join(f"{package} {version}" for package, version in made.versions.items()),
        "Commit": made.commit or "unknown",
    }
    return f"<h2>Provenance</h2>\n{facts(known)}"
