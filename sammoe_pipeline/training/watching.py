"""The course of a training, as a table and as a picture that can be looked at while it goes on."""

from __future__ import annotations

import csv
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
    calibration_dice: dict[str, float]


class TrainingLog:
    """Rows of a training, written to `training_log.csv` and drawn to `progress.png` after each.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rows: list[LogRow] = []

    def add(
        self, *, iteration: int, seconds: float, loss: float, learning_rate: float, calibration_dice: dict[str, float]
    ) -> None:
        """Adds a row and writes both files."""
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

    def _write(self) -> None:
        classes = sorted({name for row in self.rows for name in row["calibration_dice"]})
        with atomic_path(self._folder / TRAINING_LOG) as temporary, temporary.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["iteration", "seconds", "loss", "learning_rate", *(f"dice {name}" for name in classes)])
            for row in self.rows:
                dice = [f"{row['calibration_dice'].get(name, float('nan')):.4f}" for name in classes]
                table.writerow(
                    [
                        row["iteration"],
                        f"{row['seconds']:.1f}",
                        f"{row['loss']:.4f}",
                        f"{row['learning_rate']:.2e}",
                        *dice,
                    ]
                )

    def _draw(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        iterations = [row["iteration"] for row in self.rows]
        left.plot(iterations, [row["loss"] for row in self.rows], color="black")
        left.set(title="Loss (Dice + cross-entropy)", xlabel="iteration")
        rate = left.twinx()
        rate.plot(iterations, [row["learning_rate"] for row in self.rows], color="silver", linestyle="--")
        rate.set_ylabel("learning rate", color="grey")
        for name in sorted({name for row in self.rows for name in row["calibration_dice"]}):
            dice = [row["calibration_dice"].get(name, float("nan")) for row in self.rows]
            right.plot(iterations, dice, marker="o", markersize=3, label=name)
        right.set(title="Calibration Dice, one click", xlabel="iteration", ylim=(0, 1))
        if self.rows and self.rows[-1]["calibration_dice"]:
            right.legend(fontsize="small", loc="lower right")
        with atomic_path(self._folder / PROGRESS_PNG) as temporary:
            figure.savefig(temporary, dpi=100)
