"""The report's figures: one function a figure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sammoe_pipeline.artefacts import CalibrationPoint
from sammoe_pipeline.evaluation.comparison import ClassRow, GroupName, Table
from sammoe_pipeline.evaluation.forgetting import ForgettingRow
from sammoe_pipeline.evaluation.records import CaseRecord, Method, RoutingRecord, case_means
from sammoe_pipeline.evaluation.summary import RoutingRow
from sammoe_pipeline.evaluation.wording import METHOD_NAMES, signed
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.page.canvas import legend_above, panels, plain
from sammoe_pipeline.page.style import ACCENT, GENERAL_TASK, INK, MUTED, PALE, RULE, SPECIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WITH_EXPERT, WITHOUT_EXPERT = "classes with an expert", "classes without"


def gains(rows: Sequence[ClassRow]) -> Figure:
    """Draws what each class gained or lost by the mixture over the general expert, in either configuration."""
    shown = sorted(
        ((row, row.scored.over_native) for row in rows if row.scored.over_native is not None),
        key=lambda pair: (pair[0].task is not None, pair[1].mean),
    )
    figure, [axes] = panels(8.6, 0.9 + 0.25 * len(shown))
    for place, (row, estimate) in enumerate(shown):
        colour = SPECIAL if row.task is not None else GENERAL_TASK
        axes.plot([0, 100 * estimate.mean], [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        if estimate.interval is not None:
            low, high = estimate.interval
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.3)
        axes.plot(100 * estimate.mean, place, "o", color=colour, markersize=5)
        if row.scored.over_general is not None:
            same = 100 * row.scored.over_general.mean
            axes.plot(same, place, "o", color=colour, markersize=7.5, markerfacecolor="white", zorder=1.5)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(shown)), [plain(f"{_short(row.dataset)}: {row.class_name}") for row, _ in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel("Mixture minus general expert, Dice points")
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    _name_groups(axes, {row.task is not None for row, _ in shown})
    return figure


def click_curves(tables: Sequence[Table]) -> Figure:
    """Draws mean Dice against the number of clicks, a line a method; the locator's prompt stands apart, on the left.

    Args:
        tables: one a kind of prompt.
    """
    shown: tuple[tuple[GroupName, str], ...] = (("special", WITH_EXPERT), ("general", WITHOUT_EXPERT))
    groups = [(name, words) for name, words in shown if any(name in table.groups for table in tables)]
    figure, drawn = panels(8.6 if len(groups) > 1 else 4.6, 3.6, number=len(groups))
    clicked = sorted((table for table in tables if table.prompt == "click"), key=lambda table: table.clicks)
    automatic = [table for table in tables if table.prompt == "automatic"]
    ordered = [*automatic, *clicked]
    for axes, (name, words) in zip(drawn, groups, strict=True):
        for step, (method, colour, marker) in enumerate(_LINES):
            # A little beside each other, so that intervals can be told apart.
            shift = 0.06 * (step - (len(_LINES) - 1) / 2)
            points = [
                (place + shift, table.groups[name].scored.means["dice"][method])
                for place, table in enumerate(ordered)
                if name in table.groups and method in table.groups[name].scored.dice
            ]
            if not points:
                continue
            for at, estimate in points:
                low, high = estimate.interval or (estimate.mean, estimate.mean)
                axes.plot([at, at], [100 * low, 100 * high], color=colour, linewidth=1.1, alpha=0.7)
            lines = [points[: len(automatic)], points[len(automatic) :]] if len(points) == len(ordered) else [points]
            for line in filter(None, lines):
                dice = [100 * estimate.mean for _, estimate in line]
                axes.plot(
                    [place for place, _ in line], dice, marker=marker, color=colour, markersize=4.5, linewidth=1.5
                )
        axes.set_xticks(range(len(ordered)), ["locator" if t.prompt == "automatic" else str(t.clicks) for t in ordered])
        axes.set_title(words[0].upper() + words[1:], size=9, color=INK, loc="left", pad=22)
        axes.set(xlabel="Clicks", ylabel="Mean Dice, %", ylim=(0, 100), xlim=(-0.4, len(ordered) - 0.6))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
    _name_lines(drawn[0], [one for one in _LINES if any(one[0] in table.methods for table in tables)])
    return figure


_LINES: tuple[tuple[Method, str, str], ...] = (
    ("general_native", GENERAL_TASK, "s"),
    ("general", INK, "^"),
    ("expert", ACCENT, "D"),
    ("mixture", SPECIAL, "o"),
)
"""Method, colour and marker of each curve."""


def _name_lines(axes: Axes, lines: Sequence[tuple[Method, str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4.5, label=METHOD_NAMES[method])
        for method, colour, marker in lines
    ]
    axes.figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=INK
    )


def scatter(cases: Sequence[CaseRecord]) -> Figure:
    """Draws each case's Dice by the mixture against that by the general expert at native configuration.

    Args:
        cases: records of one kind of prompt.
    """
    special = {(record.dataset, record.class_name) for record in cases if record.task is not None}
    figure, [axes] = panels(4.6, 4.6)
    drawn = set()
    for has_expert, colour in ((False, GENERAL_TASK), (True, SPECIAL)):
        points = [
            (100 * dice["general_native"], 100 * dice["mixture"])
            for name, by_case in case_means(cases).items()
            for dice in by_case.values()
            if (name in special) == has_expert and {"general_native", "mixture"} <= dice.keys()
        ]
        if points:
            drawn.add(has_expert)
            x, y = np.array(points).T
            axes.plot(x, y, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle="--")
    axes.set(xlim=(-2, 102), ylim=(-2, 102), xlabel="General expert, native: Dice, %", ylabel="Mixture: Dice, %")
    axes.set_aspect("equal")
    axes.grid(color=RULE, linewidth=0.6)
    _name_groups(axes, drawn)
    return figure


def routing_matrix(rows: Sequence[RoutingRow], experts: Sequence[str]) -> Figure:
    """Draws who answered whose prompts, as shares of each row.

    Args:
        rows: the counts.
        experts: keys of all experts, in the order of the columns.
    """
    columns = list(dict.fromkeys([GENERAL, *experts, *(key for row in rows for key in row.chosen)]))
    # The right answers lie on a diagonal where there is an expert, then in the first column.
    order = {key: place for place, key in enumerate(columns[1:])}
    rows = sorted(rows, key=lambda row: order.get(expert_key(row.dataset, row.task or ""), len(order)))
    counts = np.array([[row.chosen.get(key, 0) for key in columns] for row in rows], dtype=float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    labels = [
        _short(expert_key(row.dataset, row.task)) if row.task else f"{_short(row.dataset)}, no expert" for row in rows
    ]
    figure, [axes] = panels(3.2 + 0.62 * len(columns), 1.7 + 0.36 * len(rows))
    axes.imshow(shares, cmap=_blues(), vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(counts > 0):
        share = shares[row, column]
        axes.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center", size=8, color="white" if share > 0.55 else INK
        )
    axes.set_xticks(
        range(len(columns)), [plain(_short(key)) for key in columns], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(rows)), [plain(label) for label in labels])
    axes.set_xlabel("Who answered, % of the row's prompts")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def forgetting(rows: Sequence[ForgettingRow]) -> Figure:
    """Draws what each expert alone gains and loses over the general expert, in Dice points, task by task."""
    keys = list(rows[0].experts)
    columns = [*keys, "mixture"]
    gains = np.array([[100 * (dice - row.general) for dice in (*row.experts.values(), row.mixture)] for row in rows])
    labels = [
        _short(expert_key(row.dataset, row.task)) if row.task else f"{_short(row.dataset)}, no expert" for row in rows
    ]
    figure, [axes] = panels(3.2 + 0.72 * len(columns), 1.7 + 0.36 * len(rows))
    most = max(10.0, float(np.abs(gains).max()))
    axes.imshow(gains, cmap=_loss_to_gain(), vmin=-most, vmax=most, aspect="auto")
    for row, column in np.ndindex(gains.shape):
        value = float(gains[row, column])
        colour = "white" if abs(value) > 0.55 * most else INK
        axes.text(column, row, signed(value / 100), ha="center", va="center", size=8, color=colour)
    axes.axvline(len(keys) - 0.5, color="white", linewidth=4)
    axes.set_xticks(
        range(len(columns)), [plain(_short(key)) for key in columns], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(rows)), [plain(label) for label in labels])
    axes.set_xlabel("Who answers everything; Dice points over the general expert")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def confidences(routing: Sequence[RoutingRecord], thresholds: Mapping[str, float]) -> Figure:
    """Draws how sure the gate was: of the right expert where there is one, of any expert where there is none."""
    right = [
        record.confidences.get(expert_key(record.dataset, record.task), 0.0)
        for record in routing
        if record.task is not None
    ]
    other = [
        max((value for key, value in record.confidences.items() if key != GENERAL), default=0.0)
        for record in routing
        if record.task is None
    ]
    figure, [axes] = panels(4.6, 3.5)
    bins = [step / 20 for step in range(21)]
    for values, colour, words in (
        (other, GENERAL_TASK, f"{WITHOUT_EXPERT}: surest expert"),
        (right, SPECIAL, f"{WITH_EXPERT}: their own"),
    ):
        if values:
            axes.hist(values, bins=bins, color=colour, alpha=0.55, label=words)
    for threshold in sorted(set(thresholds.values())):
        axes.axvline(threshold, color=ACCENT, linewidth=1.3, label=f"threshold {threshold:g}")
    axes.set(xlim=(0, 1), xlabel="Confidence of the gate", ylabel="Prompts")
    legend_above(axes)
    return figure


def threshold_curve(calibration: Sequence[CalibrationPoint], thresholds: Mapping[str, float]) -> Figure:
    """Draws what each threshold of all experts together does on the calibration cases, and those of datasets in use."""
    points = sorted(calibration, key=lambda point: point.threshold)
    x = [point.threshold for point in points]
    figure, three = panels(8.6, 2.7, number=3)
    curves = (
        ("Mean Dice, %", [100 * point.mean_dice for point in points], SPECIAL),
        ("Lost on general targets, Dice points", [100 * point.general_loss for point in points], ACCENT),
        ("Answered by an expert, %", [100 * point.expert_share for point in points], MUTED),
    )
    for panel, (title, y, colour) in zip(three, curves, strict=True):
        panel.plot(x, y, "o-", color=colour, markersize=3, linewidth=1.4)
        for threshold in set(thresholds.values()):
            panel.axvline(threshold, color=INK, linewidth=0.9, linestyle="--")
        panel.set_title(title, size=9, color=INK, loc="left")
        panel.set_xlabel("Threshold")
        panel.grid(color=RULE, linewidth=0.6)
    return figure


def _name_groups(axes: Axes, drawn: Collection[bool]) -> None:
    """Names the two colours, where both occur."""
    from matplotlib.lines import Line2D

    if len(set(drawn)) == 2:
        handles = [
            Line2D([], [], marker="o", linestyle="", markersize=5, color=SPECIAL, label=WITH_EXPERT),
            Line2D([], [], marker="o", linestyle="", markersize=5, color=GENERAL_TASK, label=WITHOUT_EXPERT),
        ]
        legend_above(axes, handles=handles, ncols=2)


def _blues() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shares", [PALE, SPECIAL])


def _loss_to_gain() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("gains", [ACCENT, PALE, SPECIAL])


def _short(name: str) -> str:
    """Leaves out the number of a dataset: `Dataset004_Hippocampus/anterior` becomes `Hippocampus/anterior`."""
    return re.sub(r"^Dataset\d{3}_", "", name)
