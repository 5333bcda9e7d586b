"""How numbers and methods are put into words, alike in the Markdown table and the report."""

from __future__ import annotations

from collections.abc import Sequence

from sammoe_pipeline.evaluation.bootstrap import Estimate
from sammoe_pipeline.evaluation.comparison import GroupName, Table
from sammoe_pipeline.evaluation.forgetting import ForgettingRow
from sammoe_pipeline.evaluation.records import Method, Prompt

DISCLAIMER = "For research, not a medical device."
NONE = "\N{EN DASH}"
"""Stands where there is nothing to show."""

METHOD_NAMES: dict[Method, str] = {
    "general_native": "General, native",
    "general": "General, task's configuration",
    "expert": "Expert",
    "mixture": "Mixture",
}
GAIN_NAMES = ("Gain over native", "Gain over task's configuration")
"""Of the mixture over the general expert; `over_native` and `over_general` of a row."""

FORGETTING_NAMES = ("General, native", "Mixture", "Oracle by task", "Oracle by prompt")
"""Columns of `forgetting_numbers` before the experts'."""

GROUP_NAMES: dict[GroupName, str] = {
    "special": "Mean of classes with an expert",
    "general": "Mean of classes without an expert",
    "all": "Mean of all classes",
}


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


def footnotes(table: Table, missing_cases: Sequence[str], *, mark: str) -> list[str]:
    """Returns what a reader of a table must know, one sentence or two a line.

    Args:
        table: the table that they belong to.
        missing_cases: held-out cases without any answer.
        mark: sign of rows whose dataset the foundation was trained on.
    """
    notes = [
        "Gain: of the mixture over the general expert, native or in the task's configuration, in Dice points with a "
        "95 % bootstrap interval over cases."
    ]
    if any(row.seen_by_foundation for row in table.rows):
        notes.append(f"{mark} The foundation was trained on this dataset, so its own figures are flattered there.")
    for row in table.rows:
        for found, words in (
            (row.empty, "reference and mask both empty, not in the mean"),
            (row.missing, "no answer, not in the mean"),
        ):
            if found:
                counts = ", ".join(f"{METHOD_NAMES[method]} {number}" for method, number in found.items())
                notes.append(f"{row.name}: cases with {words}: {counts}.")
    if missing_cases:
        notes.append(f"Held-out cases without any answer: {', '.join(missing_cases)}.")
    return notes
