"""How numbers and methods are put into words, alike in the Markdown table and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sammoe_pipeline.evaluation.bootstrap import Estimate
from sammoe_pipeline.evaluation.comparison import ClassRow, GroupName, Table
from sammoe_pipeline.evaluation.forgetting import ForgettingRow
from sammoe_pipeline.evaluation.paired import Difference
from sammoe_pipeline.evaluation.records import Method, Prompt
from sammoe_pipeline.evaluation.surface import Metric

if TYPE_CHECKING:
    from sammoe_pipeline.evaluation.summary import EvaluationSummary

DISCLAIMER = "For research, not a medical device."
NONE = "\N{EN DASH}"
"""Stands where there is nothing to show."""

METHOD_NAMES: dict[Method, str] = {
    "general_native": "General, native",
    "general": "General, task's configuration",
    "expert": "Expert",
    "mixture": "Mixture",
    "oracle_by_task": "Oracle by task",
    "oracle_by_prompt": "Oracle by prompt",
}
METRIC_NAMES: dict[Metric, str] = {
    "dice": "Dice, %",
    "surface_dice": "Surface Dice, %",
    "hd95_mm": "HD95, mm",
    "volume_error_ml": "Volume error, ml",
}
"""Scores that tables show."""
GAIN_NAMES = ("Gain over native", "Gain over task's configuration")
"""Of the mixture over the general expert; `over_native` and `over_general` of a row."""

FORGETTING_NAMES = ("General, native", "Mixture", "Oracle by task", "Oracle by prompt")
"""Columns of `forgetting_numbers` before the experts'."""

GROUP_NAMES: dict[GroupName, str] = {
    "special": "Mean of classes with an expert",
    "general": "Mean of classes without an expert",
    "all": "Mean of all classes",
}


def score(metric: Metric, estimate: Estimate | None) -> str:
    """Words a mean with its interval.

    >>> score("hd95_mm", Estimate(mean=3.14, interval=(2.0, 4.5), cases=9))
    '3.1 (2.0 to 4.5)'
    """
    if estimate is None:
        return NONE
    within = (
        "" if estimate.interval is None else f" ({' to '.join(score_number(metric, x) for x in estimate.interval)})"
    )
    return score_number(metric, estimate.mean) + within


def score_number(metric: Metric, value: float) -> str:
    """Words a score: shares in per cent, lengths in mm, volumes in ml."""
    if metric == "volume_error_ml":
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{value:.1f}" if metric == "hd95_mm" else percent(value)


def p_word(found: Difference | None) -> str:
    """Words the p-value of a test.

    >>> p_word(None) == NONE
    True
    """
    if found is None:
        return NONE
    return "< 0.001" if found.p_value < 0.001 else f"{found.p_value:.2g}"


def percent(dice: float | None) -> str:
    """Words Dice in per cent, as the field's tables do.

    >>> percent(0.5321)
    '53.2'
    """
    return NONE if dice is None else f"{100 * dice:.1f}"


def signed(difference: float | None) -> str:
    """Words a difference of Dice in points, always with its sign.

    >>> signed(0.0321)
    '+3.2'
    """
    if difference is None:
        return NONE
    points = f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")
    return "0.0" if points[1:] == "0.0" else points


def interval(estimate: Estimate | None) -> str:
    """Words the 95 % interval of a difference; empty where there is none."""
    if estimate is None or estimate.interval is None:
        return ""
    low, high = estimate.interval
    return f"{signed(low)} to {signed(high)}"


def change(estimate: Estimate | None) -> str:
    """Words a difference with its interval.

    >>> change(Estimate(mean=0.0321, interval=(0.011, 0.05), cases=9))
    '+3.2 (+1.1 to +5.0)'
    """
    if estimate is None:
        return NONE
    words = interval(estimate)
    return signed(estimate.mean) + (f" ({words})" if words else "")


def forgetting_numbers(row: ForgettingRow) -> list[float]:
    """Returns a row's Dice in the order of `FORGETTING_NAMES`, then of the experts."""
    return [row.general, row.mixture, row.oracle_by_task, row.oracle_by_prompt, *row.experts.values()]


def asked_in(summary: EvaluationSummary) -> str:
    """Words in how many cases experts were asked about everybody's classes, where it was not in all."""
    return "" if summary.forgetting_cases is None else f",{_in_at_most(summary.forgetting_cases)}"


def _in_at_most(cases: int) -> str:
    return f" in at most {cases} held-out {'case' if cases == 1 else 'cases'} of each dataset and fold"


def prompt_words(prompt: Prompt, clicks: int) -> str:
    """Words a kind of prompt.

    >>> prompt_words("click", 1)
    '1 click'
    """
    if prompt == "automatic":
        return "prompted by the locator, without a user"
    return "1 click" if clicks == 1 else f"{clicks} clicks"


def seed_words(seeds: Sequence[int]) -> str:
    """Words how often chance was drawn."""
    return "one seed" if len(seeds) == 1 else f"mean over {len(seeds)} seeds"


def footnotes(table: Table, summary: EvaluationSummary, *, mark: str) -> list[str]:
    """Returns what a reader of a table must know, one sentence or two a line.

    Args:
        table: the table that they belong to.
        summary: which it is part of.
        mark: sign of rows whose dataset the foundation was trained on.
    """
    notes = [
        "Gain: of the mixture over the general expert, native or in the task's configuration, in Dice points with a "
        f"95 % bootstrap interval over {summary.sampling_unit}.",
        f"Means with 95 % bootstrap intervals over {summary.sampling_unit}; folds are pooled, so that each case counts "
        f"once. p: Wilcoxon's signed-rank test over {summary.sampling_unit}, two-sided, not corrected for the number "
        "of tests.",
    ]
    tolerances = sorted({row.tolerance_mm for row in table.rows if row.tolerance_mm is not None})
    if tolerances:
        ends = f"{tolerances[0]:.3g}" + (f" to {tolerances[-1]:.3g}" if len(tolerances) > 1 else "")
        notes.append(
            f"Surface Dice: share of both surfaces within {ends} mm of the other. A mask that is empty where the "
            "reference is not, or the reverse, counts with Dice 0 and the image's diagonal as HD95."
        )
    if any(row.seen_by_foundation for row in table.rows):
        notes.append(f"{mark} The foundation was trained on this dataset, so its own figures are flattered there.")
    counted: tuple[tuple[str, Callable[[ClassRow], dict[Method, int]]], ...] = (
        ("Masks that are empty where the reference is not", lambda row: row.prediction_empty),
        ("Masks where the reference is empty", lambda row: row.reference_empty),
        ("Masks and references that are both empty, not in the mean", lambda row: row.both_empty),
        ("Answers that are missing, not in the mean", lambda row: row.missing),
    )
    for words, counts in counted:
        found = [
            f"{row.name} ({', '.join(f'{METHOD_NAMES[method]} {number}' for method, number in counts(row).items())})"
            for row in table.rows
            if counts(row)
        ]
        if found:
            notes.append(f"{words}, one a case and draw of clicks: {'; '.join(found)}.")
    if lacking := [f"{row.name} {row.absent}" for row in table.rows if row.absent]:
        notes.append(f"Held-out cases without the class, where nobody could click on it: {', '.join(lacking)}.")
    if summary.absent_classes:
        notes.append(f"Classes that no held-out case has: {', '.join(summary.absent_classes)}.")
    if summary.cases_of_fold is not None:
        notes.append(f"Asked{_in_at_most(summary.cases_of_fold)} alone, drawn by chance.")
    if summary.missing_cases:
        notes.append(f"Held-out cases without any answer: {', '.join(summary.missing_cases)}.")
    return notes
