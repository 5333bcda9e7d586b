"""The course of a training, as a table and as a picture that can be looked at while it goes on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.paths import PROGRESS_PNG, TRAINING_LOG


class LogRow(TypedDict):
    """One check of a training."""

    iteration: int
    seconds: float
    loss: float
    learning_rate: float
    calibration_dice: dict[int, dict[str, float]]


class TrainingLog:
    """Rows of a training, written to `training_log.csv` and drawn to `progress.png` after each.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[LogRow] = []

    def add(
        self,
        *,
        iteration: int,
        seconds: float,
        loss: float,
        learning_rate: float,
        calibration_dice: dict[int, dict[str, float]],
    ) -> None:
        """Adds a row and writes both files; Dice is by number of clicks, then by class."""
        self.rows.append(
            LogRow(
                iteration=iteration,
                seconds=seconds,
                loss=loss,
                learning_rate=learning_rate,
                calibration_dice=calibration_dice,
            )
        )
        self._write()
        self._draw()

    def _columns(self) -> list[tuple[int, str]]:
        """Returns the pairs of number of clicks and class that were measured."""
        return sorted({(n, name) for row in self.rows for n, by in row["calibration_dice"].items() for name in by})

    def _curve(self, clicks: int, name: str) -> list[float]:
        return [row["calibration_dice"].get(clicks, {}).get(name, float("nan")) for row in self.rows]

    def _write(self) -> None:
        columns = self._columns()
        curves = [self._curve(*column) for column in columns]
        with atomic_path(self._folder / TRAINING_LOG) as temporary, temporary.open("w", newline="") as file:
            table = csv.writer(file)
            words = [f"dice {name}, {_clicks(number)}" for number, name in columns]
            table.writerow(["iteration", "seconds", "loss", "learning_rate", *words])
            for index, row in enumerate(self.rows):
                table.writerow(
                    [
                        row["iteration"],
                        f"{row['seconds']:.1f}",
                        f"{row['loss']:.4f}",
                        f"{row['learning_rate']:.2e}",
                        *(f"{curve[index]:.4f}" for curve in curves),
                    ]
                )

    def _draw(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 7), layout="constrained")
        FigureCanvasAgg(figure)
        (losses, classes), (speed, clicks) = figure.subplots(2, 2)
        iterations = [row["iteration"] for row in self.rows]
        losses.plot(iterations, [row["loss"] for row in self.rows], color="black")
        losses.set(title="Loss (Dice + cross-entropy)", xlabel="iteration")
        rate = losses.twinx()
        rate.plot(iterations, [row["learning_rate"] for row in self.rows], color="silver", linestyle="--")
        rate.set_ylabel("learning rate", color="grey")
        speed.plot(iterations, [row["seconds"] for row in self.rows], color="black")
        speed.set(title="Seconds", xlabel="iteration")
        columns = self._columns()
        fewest = min((number for number, _ in columns), default=1)
        for number, name in columns:
            if number == fewest:
                classes.plot(iterations, self._curve(number, name), marker="o", markersize=3, label=name)
        classes.set(title=f"Calibration Dice by class, {_clicks(fewest)}", xlabel="iteration", ylim=(0, 1))
        for number in sorted({number for number, _ in columns}):
            curves = [self._curve(number, name) for of, name in columns if of == number]
            means = [_mean(values) for values in zip(*curves, strict=True)]
            clicks.plot(iterations, means, marker="o", markersize=3, label=_clicks(number))
        clicks.set(title="Calibration Dice, mean of classes", xlabel="iteration", ylim=(0, 1))
        for axis in (classes, clicks) if columns else ():
            axis.legend(fontsize="small", loc="lower right")
        with atomic_path(self._folder / PROGRESS_PNG) as temporary:
            figure.savefig(temporary, dpi=100)


def _clicks(number: int) -> str:
    return f"{number} click{'s' if number > 1 else ''}"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")
