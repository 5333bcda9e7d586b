"""`report.html`: an evaluation to read, print and pass on, in one file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from sammoe_pipeline.artefacts import CalibrationPoint, thresholds_in_words
from sammoe_pipeline.evaluation import figures
from sammoe_pipeline.evaluation.comparison import Group, Table
from sammoe_pipeline.evaluation.pictures import RADIOLOGICAL, Picture, best_median_worst, draw_pictures
from sammoe_pipeline.evaluation.records import CaseRecord, RoutingRecord
from sammoe_pipeline.evaluation.report_tables import dice_table, forgetting_table, means_table, score_table
from sammoe_pipeline.evaluation.summary import EvaluationSummary
from sammoe_pipeline.evaluation.wording import (
    DISCLAIMER,
    METHOD_NAMES,
    asked_in,
    percent,
    prompt_words,
    seed_words,
    signed,
)
from sammoe_pipeline.page.html import facts, figure_block, tile, write_page
from sammoe_pipeline.paths import REPORT_HTML


def write_report(
    folder: Path,
    summary: EvaluationSummary,
    cases: Sequence[CaseRecord],
    routing: Sequence[RoutingRecord],
    calibration: Sequence[CalibrationPoint],
    pictures: Iterable[Sequence[Picture]],
) -> Path:
    """Writes the report as one page that opens offline.

    Args:
        folder: where `report.html` goes.
        summary: the tables.
        cases: the records that the summary was made from.
        routing: what the gate decided.
        calibration: thresholds that were tried when the gate was fitted.
        pictures: of one class after another, all cases that there are pictures of.

    Returns:
        The file that was written.
    """
    first = summary.tables[0]
    headline = [record for record in cases if (record.prompt, record.clicks) == (first.prompt, first.clicks)]
    sections = [
        _opening(summary),
        _tiles(first),
        dice_table(first, summary),
        means_table(first),
        score_table(first),
        _differences(first, headline),
        _curves(summary),
        _forgetting(summary),
        _routing(summary, routing),
        _calibration(summary, calibration),
        _examples(pictures),
        _other_prompts(summary),
        _resources(summary),
        _provenance(summary),
    ]
    path = folder / REPORT_HTML
    write_page(path, title=f"Mixture {summary.mixture}: evaluation", sections=sections, footer=DISCLAIMER)
    return path


def _opening(summary: EvaluationSummary) -> str:
    table = summary.tables[0]
    datasets = {row.dataset for row in table.rows}
    cases = len(summary.metric_per_case)
    experts = _count(len(summary.experts), "expert")
    warning = f"<strong>{DISCLAIMER}</strong>"
    if summary.foundation_for_research_only:
        warning += (
            f" The foundation {escape(summary.foundation)} is for learning and tests; it is not meant for real scans."
        )
    return f"""<h1>What mixture &ldquo;{escape(summary.mixture)}&rdquo; can do</h1>
<p class="subtitle">Foundation {escape(summary.foundation)} with {experts}; {_count(cases, "held-out case")} of
{_count(len(datasets), "dataset")}; {prompt_words(table.prompt, table.clicks)}, {seed_words(table.seeds)}</p>
<div class="warning">{warning}</div>
<p>A foundation model segments what a user points at in a 3D scan. It does some structures poorly. For those, an
<em>expert</em> was trained: a copy of the model's last part, specialised in one task. The foundation itself stays as it
was, the <em>general expert</em>. A <em>gate</em> looks at the scan and the prompt and decides who answers; general
expert, experts and gate together are the <em>mixture</em>.</p>
<p>This report asks two things: how much did the structures with an expert gain, and did the others lose anything? All
figures come from cases that neither the experts nor the gate learnt from. Agreement with the reference segmentation
is given as Dice, where 100&nbsp;% is a perfect match and 0&nbsp;% no overlap at all; as surface Dice, the share of
both surfaces that lies within a tolerance of the other; as HD95, the distance in mm that 95&nbsp;% of either surface
keep to; and as the difference of volumes.</p>"""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _tiles(table: Table) -> str:
    tiles = []
    if "special" in table.groups:
        tiles.append(_group_tile("Classes with an expert", table.groups["special"]))
    if "general" in table.groups:
        tiles.append(_group_tile("Classes without an expert", table.groups["general"]))
    if table.recovered_gain is not None:
        tasks = _count(table.worthwhile_tasks, "task")
        detail = f"of what the right expert would gain, over {tasks} where it gains more than one point"
        tiles.append(tile("Gain recovered by the gate", f"{100 * table.recovered_gain:.0f}&nbsp;%", detail))
    overall = table.groups["all"]
    if overall.worst_class is not None:
        tiles.append(
            tile("Worst class", signed(overall.worst_difference), f"{escape(overall.worst_class)}, Dice points")
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _group_tile(words: str, group: Group) -> str:
    scored = group.scored
    before, after = percent(scored.dice.get("general_native")), percent(scored.dice.get("mixture"))
    gain, beyond = (None if e is None else e.mean for e in (scored.over_native, scored.over_general))
    detail = (
        f"Dice {before} &rarr; {after}&nbsp;%; {signed(beyond)} against the general expert in the same configuration"
    )
    return tile(f"{words} ({group.classes})", signed(gain), detail)


def _differences(table: Table, cases: Sequence[CaseRecord]) -> str:
    if all(row.scored.over_native is None for row in table.rows):
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
    rows = [row for row in summary.forgetting if row.metric == "dice"]
    if not rows:
        return ""
    drawn = figure_block(
        figures.forgetting(rows),
        "Change of Dice by each expert alone and by the mixture, over the general expert, task by task",
        "A row a task, a column who answers all of its prompts. Each expert does its own task better and most others "
        "worse: that is what plain finetuning leaves behind.",
    )
    return f"""<h2>One expert for everything</h2>
<p>What if an expert simply took the foundation's place? Here each is asked about everybody's classes, at one click and
in its own configuration{asked_in(summary)}.</p>
{drawn}
{forgetting_table(rows)}"""


def _routing(summary: EvaluationSummary, routing: Sequence[RoutingRecord]) -> str:
    if not routing or not summary.experts:
        return ""
    numbers = sorted({row.clicks for row in summary.routing})
    words = {clicks: prompt_words("click", clicks) for clicks in (numbers[0], numbers[-1])}
    matrices = "\n".join(
        figure_block(
            figures.routing_matrix([row for row in summary.routing if row.clicks == clicks], summary.experts),
            f"Share of prompts that each expert answered, by task, {asked}",
            f"{asked}: a row a task, a column who answered. Ideally tasks go to their own expert and all else to the "
            f"general one.",
        )
        for clicks, asked in words.items()
    )
    histogram = figure_block(
        figures.confidences([record for record in routing if record.clicks == numbers[0]], summary.thresholds),
        "Histogram of the gate's confidence",
        f"{words[numbers[0]]}: confidence in a class's own expert where it has one, and in the surest of all experts "
        f"where it has none.",
    )
    return f"""<h2>Who answered</h2>
<p>For each prompt the gate gives every expert a confidence, and again after clicks that find the answer wrong. Below
the threshold of its dataset's experts ({thresholds_in_words(summary.thresholds)}) the general expert answers alone, as
if there were no mixture.</p>
{matrices}
{histogram}"""


def _calibration(summary: EvaluationSummary, calibration: Sequence[CalibrationPoint]) -> str:
    if not calibration:
        return ""
    curve = figure_block(
        figures.threshold_curve(calibration, summary.thresholds),
        "Mean Dice, loss on general targets and experts' share against the threshold",
        "From calibration cases, which are apart from the cases of this report, with one threshold for all experts. "
        "Dashed: those in use, a dataset's experts each. A higher threshold keeps the foundation's behaviour more "
        "often, a lower one lets experts answer more often.",
    )
    return f"<h2>How thresholds were chosen</h2>\n{curve}"


def _curves(summary: EvaluationSummary) -> str:
    if len(summary.tables) < 2:
        return ""
    drawn = figure_block(
        figures.click_curves(summary.tables),
        "Mean Dice against the number of clicks, method by method",
        f"Each method's later clicks correct its own mask. Bars are 95 % intervals over {summary.sampling_unit}. "
        "Without a user, the locator prompts all methods alike, and finding the structure is part of the task.",
    )
    return f"<h2>With more clicks</h2>\n{drawn}"


def _examples(pictures: Iterable[Sequence[Picture]]) -> str:
    shown = []
    for of_class in pictures:
        one = of_class[0]
        shown.append(
            f'<h3>{escape(one.class_name)}<span class="detail"> {escape(one.dataset)}</span></h3>'
            + figure_block(
                draw_pictures(best_median_worst(of_class)),
                f"{one.class_name}: best, median and worst case in three planes, with truth, general expert and "
                "mixture",
                "",
                kind="jpeg",
            )
        )
    if not shown:
        return ""
    return f"""<h2>Best, median and worst cases</h2>
<p class="note">By Dice of the mixture at the fewest clicks, first draw, among all held-out cases with the structure.
Left: the bare image. {RADIOLOGICAL}</p>
{"".join(shown)}"""


def _other_prompts(summary: EvaluationSummary) -> str:
    return "\n".join(
        dice_table(table, summary) + means_table(table) + score_table(table) for table in summary.tables[1:]
    )


def _resources(summary: EvaluationSummary) -> str:
    table, made = summary.tables[0], summary.provenance
    known = {f"{METHOD_NAMES[method]}, median": f"{seconds:.2f} s" for method, seconds in table.seconds.items()}
    if summary.resources is not None:
        took = summary.resources
        known["A case with all its prompts, median"] = f"{took.seconds_per_case:.1f} s, several side by side"
        if took.memory_mb is not None:
            known["Memory of the process, at most"] = f"{took.memory_mb / 1024:.2f} GiB"
        if took.gpu_memory_mb is not None:
            known["Memory on the card, at most"] = f"{took.gpu_memory_mb / 1024:.2f} GiB"
    return f"""<h2>Time and memory</h2>
<p class="note">From a prompt to its mask, {prompt_words(table.prompt, table.clicks)}, on {escape(made.device)} with
{made.threads} threads. Whoever looks at a window first waits for its embedding, which the others find ready: that is
the general expert here.</p>
{facts(known)}"""


def _provenance(summary: EvaluationSummary) -> str:
    made = summary.provenance
    known = {
        "Mixture": summary.mixture,
        "Experts": ", ".join(summary.experts) or "none",
        "Foundation": f"{summary.foundation}, SHA-256 {summary.foundation_sha256}",
        "Folds": ", ".join(map(str, summary.folds))
        + " (pooled: each case counts once, in the fold that holds it out, and means are over cases)",
        "Seeds of clicks": ", ".join(map(str, summary.tables[0].seeds)),
        "Computed on": f"{made.device}, {made.threads} threads",
        "Versions": ", ".join(f"{package} {version}" for package, version in made.versions.items()),
        "Commit": made.commit or "unknown",
    }
    return f"<h2>Provenance</h2>\n{facts(known)}"
