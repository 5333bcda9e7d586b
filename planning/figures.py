"""The plan's figures: one function a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sammoe_pipeline.artefacts import DatasetFingerprint, Plan
from sammoe_pipeline.page.canvas import legend_above, panels, plain
from sammoe_pipeline.page.style import ACCENT, GENERAL_TASK, INK, MUTED, RULE, SPECIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*Xd<>h"
"""Of the configurations, in the order of the plan's evidence."""
_ROW_INCHES = 0.25


def images(fingerprint: DatasetFingerprint) -> Figure:
    """Draws histograms of the cases' voxels and fields of view, along each one's shortest and longest side."""
    from matplotlib.ticker import MaxNLocator

    spacings = [case.spacing_mm for case in fingerprint.cases]
    fields = [
        [voxels * step for voxels, step in zip(case.shape, case.spacing_mm, strict=True)] for case in fingerprint.cases
    ]
    figure, two = panels(8.6, 2.7, number=2)
    for axes, sides, label in (
        (two[0], spacings, "Distance between voxels, mm"),
        (two[1], fields, "Field of view, mm"),
    ):
        axes.hist(
            [[min(of_case) for of_case in sides], [max(of_case) for of_case in sides]],
            bins=12,
            color=[SPECIAL, GENERAL_TASK],
            label=["shortest side", "longest side"],
        )
        axes.set(xlabel=label, ylabel="Cases")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        legend_above(axes, ncols=2)
    return figure


def sizes(plan: Plan, fingerprint: DatasetFingerprint, cell_voxels: int) -> Figure:
    """Draws from how thin to how long each class is, between mask cell and window of the configurations in use.

    Args:
        plan: whose configurations are drawn.
        fingerprint: of the same dataset.
        cell_voxels: side of a cell of the decoder's mask, in voxels of the window.
    """
    shown = sorted(
        (one.thickness_mm, max(one.extent_mm), name) for name, one in fingerprint.classes.items() if one.cases
    )
    figure, [axes] = panels(8.6, 1.2 + _ROW_INCHES * len(shown))
    for row, (thickness, extent, name) in enumerate(shown):
        colour = SPECIAL if plan.classes[name].task is not None else GENERAL_TASK
        axes.plot([thickness, extent], [row, row], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        axes.plot([thickness], [row], "o", color=colour, markersize=5)
        axes.plot([extent], [row], "|", color=colour, markersize=8)
    for configuration in plan.configurations.values():
        cell, window = (configuration.spacing_mm * n for n in (cell_voxels, configuration.patch_size))
        for mm, style, words in ((cell, ":", "cell"), (window, "--", "window")):
            axes.axvline(mm, color=MUTED, linewidth=0.9, linestyle=style)
            axes.text(
                mm, 1.01, f"{words}, {configuration.name} ", transform=axes.get_xaxis_transform(), rotation=40, size=7,
                color=MUTED,
            )  # fmt: skip
    axes.set_xscale("log")
    _name_rows(axes, [name for *_, name in shown])
    axes.set_xlabel("Diameter of the largest ball inside (dot) to longest extent (bar), mm")
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    return figure


def evidence(plan: Plan) -> Figure:
    """Draws for each class and candidate configuration the general expert's Dice, and what its mask grid allows."""
    names = [name for name, chosen in plan.classes.items() if chosen.evidence][::-1]
    candidates = list(dict.fromkeys(candidate for name in names for candidate in plan.classes[name].evidence))
    figure, [axes] = panels(8.6, 1.1 + _ROW_INCHES * len(names))
    for place, candidate in enumerate(candidates):
        marker, named = _MARKERS[place % len(_MARKERS)], candidate
        for row, name in enumerate(names):
            found = plan.classes[name].evidence.get(candidate)
            if found is None:
                continue
            colour = SPECIAL if plan.classes[name].configuration == candidate else GENERAL_TASK
            axes.plot(100 * found.ceiling, row, marker, color=colour, markersize=5, markerfacecolor="white", alpha=0.8)
            if found.dice is not None:
                axes.plot(100 * found.dice, row, marker, color=colour, markersize=5.5)
        axes.plot([], [], marker, color=INK, linestyle="", markersize=5, label=named)
    axes.axvline(100 * plan.expert_threshold, color=ACCENT, linewidth=1.1, label="good enough without an expert")
    _name_rows(axes, names)
    axes.set(
        xlim=(-2, 102), xlabel="Dice, %: of the general expert at one click (filled), ceiling of the mask (hollow)"
    )
    axes.grid(color=RULE, linewidth=0.6)
    legend_above(axes, ncols=6)
    return figure


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(-0.7, len(names) - 0.3)
