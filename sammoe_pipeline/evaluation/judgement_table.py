"""A judgement as Markdown: tools under each other, class by class, with what a reader must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sammoe_pipeline.evaluation.bootstrap import Estimate
from sammoe_pipeline.evaluation.judgement import Judgement, Tool, ToolScores
from sammoe_pipeline.evaluation.surface import Metric
from sammoe_pipeline.evaluation.wording import DISCLAIMER, NONE, change, percent

_COLUMNS: dict[Metric, tuple[str, Callable[[float], str]]] = {
    "dice": ("Dice, %", percent),
    "surface_dice": ("Surface Dice, %", percent),
    "hd95_mm": ("HD95, mm", lambda value: f"{value:.1f}"),
    "volume_error_ml": ("Volume error, ml", lambda value: f"{value:.3g}"),
}
_COUNTS = ("Judged", "Missed", "Invented", "Both empty")
_WORDS = 2
"""Columns of words, which begin on the left."""
_LISTED = 10
_DIGITS = 4


def judgement_table(judgement: Judgement) -> str:
    """Renders the means of every class and tool, how they differ from the first tool's, and footnotes."""
    several = len(judgement.predictions) > 1
    first = next(iter(judgement.predictions))
    head = ["Class", "Predictions", *_COUNTS, *(title for title, _ in _COLUMNS.values())]
    head += [f"Dice over {first}", "p"] if several else []
    groups = {f"**Mean of {len(judgement.classes)} classes**": judgement.overall}
    groups |= {
        f"{name} ({found.tolerance_mm:.{_DIGITS}g} mm)": found.tools for name, found in judgement.classes.items()
    }
    rows = [
        [name, tool, *_numbers(scores), *(_comparison(scores) if several else [])]
        for name, tools in groups.items()
        for tool, scores in tools.items()
    ]
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    rule = ["-" * width if column < _WORDS else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([*(_line(row, widths) for row in (head, rule, *rows)), "", *_footnotes(judgement), ""])


def _numbers(scores: ToolScores) -> list[str]:
    counts = (scores.judged, scores.prediction_empty, scores.reference_empty, scores.both_empty)
    return [*map(str, counts), *(_mean(scores.means.get(metric), word) for metric, (_, word) in _COLUMNS.items())]


def _mean(estimate: Estimate | None, word: Callable[[float], str]) -> str:
    if estimate is None:
        return NONE
    return word(estimate.mean) + (
        "" if estimate.interval is None else f" ({' to '.join(map(word, estimate.interval))})"
    )


def _comparison(scores: ToolScores) -> list[str]:
    difference = scores.differences.get("dice")
    return [NONE, NONE] if difference is None else [change(difference.estimate), f"{difference.p_value:.2g}"]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Joins cells; a bar or a line break within one would end it."""
    plain = [" ".join(cell.split()).replace("|", "/") for cell in cells]
    padded = [
        cell.ljust(width) if column < _WORDS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(plain, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _footnotes(judgement: Judgement) -> list[str]:
    several = len(judgement.predictions) > 1
    notes = [
        f"Means over {judgement.cases} cases, with 95 % bootstrap intervals over {judgement.patients} patients; "
        "in brackets after a class, the tolerance of surface Dice.",
        "Judged: masks, one a case and class. Missed: prediction empty, reference not; invented: the reverse. These "
        "count with Dice 0 and the image's diagonal as HD95. Both empty: no score but the volume error.",
    ]
    if several:
        notes.append(
            "Differences are over the masks for which both have Dice; p by Wilcoxon's signed-rank test over patients, "
            "not corrected for the number of classes."
        )
    for name, tool in judgement.predictions.items():
        notes += _lacking(name, tool)
    return [*notes, DISCLAIMER]


def _lacking(name: str, tool: Tool) -> list[str]:
    notes = []
    for cases, words in (
        (tool.missing, "references without a prediction, which are in no mean"),
        (tool.without_reference, "predictions without a reference, which were not judged"),
    ):
        if cases:
            more = f" and {len(cases) - _LISTED} more" if len(cases) > _LISTED else ""
            notes.append(f"{name}: {words} ({len(cases)}): {', '.join(cases[:_LISTED])}{more}.")
    return notes
