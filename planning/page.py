"""`sammoe_plan.html`: what a plan decides and why, to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from planning import figures
from planning.configurations import cell_voxels_of
from sammoe_pipeline.artefacts import ClassPlan, DatasetFingerprint, Plan, Splits, Task
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.page.html import facts, figure_block, tile, write_page

GENERAL_EXPERT = "general expert"
NOT_MEASURED = "\N{EN DASH}"


def write_plan_page(
    path: Path, plan: Plan, fingerprint: DatasetFingerprint, splits: Splits, foundation: Foundation
) -> None:
    """Writes a plan as a page that opens offline.

    Args:
        path: of the HTML file.
        plan: what was decided.
        fingerprint: what it was decided on.
        splits: the folds.
        foundation: that it was planned for.
    """
    cell_voxels = cell_voxels_of(foundation.card.builder)
    write_page(
        path,
        title=f"{plan.dataset}: plan",
        sections=[
            _opening(plan, fingerprint),
            _tiles(plan, fingerprint),
            _remarks(plan),
            _classes(plan),
            _evidence(plan),
            _sizes(plan, fingerprint, cell_voxels),
            _experts(plan),
            _images(fingerprint),
            _folds(splits),
            _provenance(plan),
        ],
        footer="Edit sammoe_plan.json to change the plan; it is checked when it is read.",
    )


def _opening(plan: Plan, fingerprint: DatasetFingerprint) -> str:
    return f"""<h1>What is planned for {escape(plan.dataset)}</h1>
<p class="subtitle">Foundation {escape(plan.foundation)}; {len(fingerprint.cases)} training cases</p>
<p>Each class is segmented in one <em>configuration</em>: a spacing that the image is resampled to, and a window of
fixed size at that spacing. The foundation's own decoder, the <em>general expert</em>, answers the classes that it does
well. For the others an <em>expert</em> is finetuned, or one that is there already answers.</p>"""


def _tiles(plan: Plan, fingerprint: DatasetFingerprint) -> str:
    new = {task.name for task in plan.tasks}
    by_new = sum(chosen.task in new for chosen in plan.classes.values())
    by_known = sum(chosen.task is not None and chosen.task not in new for chosen in plan.classes.values())
    entries = [
        ("Classes", len(plan.classes), f"in {len(plan.configurations)} configurations"),
        ("Left to the general expert", len(plan.classes) - by_new - by_known, f"Dice from {plan.expert_threshold:.2f}"),
        ("Served by an expert that is there", by_known, f"of {len(plan.candidate_experts)} that were tried"),
        ("Served by a new expert", by_new, f"{len(plan.tasks)} to train on each of {plan.num_folds} folds"),
    ]
    return f'<div class="tiles">{"".join(tile(name, str(count), detail) for name, count, detail in entries)}</div>'


def _remarks(plan: Plan) -> str:
    return "".join(f'<div class="warning">{escape(remark)}.</div>' for remark in plan.remarks)


def _classes(plan: Plan) -> str:
    rows = [
        (name, chosen.configuration, chosen.target, *_measured(chosen), chosen.task or GENERAL_EXPERT, chosen.reason)
        for name, chosen in plan.classes.items()
    ]
    headings = ("Class", "Configuration", "A click means", "Ceiling, %", "General, %", "Seconds", "Answered by", "Why")
    return f"""<h2>Decisions</h2>
<p class="note">Ceiling: Dice that the decoder's mask grid allows at most. General: Dice of the general expert at one
click, on a few training cases of fold 0. Seconds: median time of an answer.</p>
{_table(headings, rows, numbers=(3, 4, 5))}"""


def _measured(chosen: ClassPlan) -> tuple[str, str, str]:
    """Returns ceiling, Dice and seconds in the chosen configuration."""
    found = chosen.evidence.get(chosen.configuration)
    if found is None:
        return NOT_MEASURED, NOT_MEASURED, NOT_MEASURED
    dice = NOT_MEASURED if found.dice is None else f"{100 * found.dice:.1f}"
    return f"{100 * found.ceiling:.1f}", dice, NOT_MEASURED if found.seconds is None else f"{found.seconds:.2f}"


def _evidence(plan: Plan) -> str:
    if not any(chosen.evidence for chosen in plan.classes.values()):
        return ""
    drawn = figure_block(
        figures.evidence(plan),
        "Dice and ceiling of every class in every candidate configuration",
        "A symbol a configuration; blue is the chosen one. Hollow: what the decoder's mask grid allows at most, drawn "
        "from labels alone. Filled: the general expert at one click; candidates without it were ruled out by their "
        "ceiling.",
    )
    return f"<h2>Evidence</h2>\n{drawn}"


def _sizes(plan: Plan, fingerprint: DatasetFingerprint, cell_voxels: int) -> str:
    drawn = figure_block(
        figures.sizes(plan, fingerprint, cell_voxels),
        "Thickness and extent of every class beside mask cells and windows of the configurations",
        "What is thinner than a cell cannot be drawn; what is longer than a window is followed window by window. "
        "Blue: classes that an expert answers.",
    )
    return f"<h2>Sizes</h2>\n{drawn}"


def _experts(plan: Plan) -> str:
    if not plan.tasks:
        return ""
    rows = [
        (
            task.name,
            task.configuration,
            _start(task),
            f"{task.budget.views:,}",
            f"{task.budget.iterations:,}",
            ", ".join(task.classes),
        )
        for task in plan.tasks
    ]
    mirrored = "mirrored left to right in half of the cases" if plan.training.mirror_axes else "never mirrored"
    return f"""<h2>Experts to train</h2>
{_table(("Expert", "Configuration", "Starts from", "Views", "Iterations", "Classes"), rows, numbers=(3, 4))}
<p class="note">Views and iterations are for each fold; views are {mirrored}. The locator looks for all classes at
{escape(plan.locator_configuration)}, after {plan.locator_budget.iterations:,} iterations.</p>"""


def _start(task: Task) -> str:
    return GENERAL_EXPERT if task.start_from == GENERAL else task.start_from


def _images(fingerprint: DatasetFingerprint) -> str:
    codes = sorted({case.orientation for case in fingerprint.cases})
    drawn = figure_block(
        figures.images(fingerprint),
        "Histograms of voxel distances and fields of view",
        f"Axes of the files: {', '.join(codes)}. Images are turned to RAS before anything else.",
    )
    rows = [
        (
            channel.name,
            *(
                f"{value:.4g}"
                for value in (
                    channel.percentile_00_5,
                    channel.median,
                    channel.percentile_99_5,
                    channel.mean,
                    channel.std,
                )
            ),
        )
        for channel in fingerprint.channels
    ]
    headings = ("Channel", "0.5 %", "Median", "99.5 %", "Mean", "Deviation")
    return f"""<h2>Images</h2>
{drawn}
<p class="note">Intensities within all classes together:</p>
{_table(headings, rows, numbers=(1, 2, 3, 4, 5))}"""


def _folds(splits: Splits) -> str:
    rows = [
        (str(index), str(len(fold.train)), str(len(fold.calibration)), str(len(fold.val)), ", ".join(fold.val))
        for index, fold in enumerate(splits.folds)
    ]
    return f"""<h2>Folds</h2>
<p class="note">Experts learn from train; calibration chooses among iterations and thresholds; evaluation alone reads
what is held out.</p>
{_table(("Fold", "Train", "Calibration", "Held out", "Cases that are held out"), rows, numbers=(1, 2, 3))}"""


def _provenance(plan: Plan) -> str:
    known = {
        "Foundation": f"{plan.foundation}, SHA-256 {plan.foundation_sha256}",
        "Raw data": f"SHA-256 {plan.raw_digest} over names, sizes and times of the files",
        "Seed": str(plan.seed),
        "Experts that were tried": ", ".join(candidate.expert for candidate in plan.candidate_experts) or "none",
    }
    return f"<h2>Provenance</h2>\n{facts(known)}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int]) -> str:
    """Returns a table of plain text; the columns in `numbers` stand to the right."""

    def line(tag: str, cells: Sequence[str]) -> str:
        classes = ((' class="number"' if index in numbers else "") for index in range(len(cells)))
        parts = (f"<{tag}{c}>{escape(cell)}</{tag}>" for c, cell in zip(classes, cells, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{line("th", headings)}</thead><tbody>{body}</tbody></table></div>'
