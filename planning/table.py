"""A plan in words, to be read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from sammoe_pipeline.artefacts import ClassPlan, Plan
from sammoe_pipeline.inference.routing import GENERAL


def plan_table(plan: Plan) -> str:
    """Returns what a plan decides: classes with their evidence and reasons, then tasks and budget."""
    rows: list[tuple[str, ...]] = [("class", "configuration", "target", "ceiling", "general Dice", "answered by")]
    rows += [_row(name, chosen) for name, chosen in plan.classes.items()]
    lines = [f"Plan for {plan.dataset} on foundation '{plan.foundation}'", "", *_aligned(rows), ""]
    lines += [f"  {name}: {chosen.reason}." for name, chosen in plan.classes.items()]
    lines += ["", f"Folds: {plan.num_folds}. The locator looks for all classes at {plan.locator_configuration}."]
    lines += [
        f"Expert '{t.name}' at {t.configuration}, from {_decoder(t.start_from)}, {t.budget.iterations} iterations on "
        f"{t.budget.views} views a fold: {', '.join(t.classes)}."
        for t in plan.tasks
    ]
    lines += [f"Note: {remark}." for remark in plan.remarks]
    if plan.tasks:
        lines.append(f"Views are {'mirrored left to right' if plan.training.mirror_axes else 'never mirrored'}.")
    return "\n".join(lines) + "\n"


def _decoder(start_from: str) -> str:
    return "the general expert" if start_from == GENERAL else start_from


def _row(name: str, chosen: ClassPlan) -> tuple[str, ...]:
    found = chosen.evidence.get(chosen.configuration)
    ceiling = "-" if found is None else f"{found.ceiling:.2f}"
    dice = "-" if found is None or found.dice is None else f"{found.dice:.2f}"
    return name, chosen.configuration, chosen.target, ceiling, dice, chosen.task or "general expert"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        ("  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))).rstrip() for row in rows
    ]
