import csv
from pathlib import Path

import pytest

from sammoe_pipeline.training.watching import TrainingLog


@pytest.fixture
def log(tmp_path: Path) -> TrainingLog:
    """A log of two checks; the second knows one more class."""
    log = TrainingLog(tmp_path)
    log.add(iteration=10, seconds=1.26, loss=0.5, learning_rate=1e-3, calibration_dice={1: {"b": 0.25}})
    log.add(
        iteration=20,
        seconds=2.0,
        loss=0.25,
        learning_rate=5e-4,
        calibration_dice={1: {"b": 0.5, "a": 0.125}, 3: {"b": 0.75}},
    )
    return log


def test_table_has_a_row_for_each_check_and_a_column_for_each_class(log: TrainingLog, tmp_path: Path) -> None:
    with (tmp_path / "training_log.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["iteration", "seconds", "loss", "learning_rate", "dice a, 1 click", "dice b, 1 click", "dice b, 3 clicks"],
        ["10", "1.3", "0.5000", "1.00e-03", "nan", "0.2500", "nan"],
        ["20", "2.0", "0.2500", "5.00e-04", "0.1250", "0.5000", "0.7500"],
    ]


def test_picture_is_drawn_beside_the_table(log: TrainingLog, tmp_path: Path) -> None:
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress.png", "training_log.csv"]


def test_log_goes_on_from_the_rows_of_a_checkpoint(log: TrainingLog, tmp_path: Path) -> None:
    continued = TrainingLog(tmp_path)
    continued.rows[:] = log.rows
    continued.add(iteration=30, seconds=3.0, loss=0.1, learning_rate=1e-4, calibration_dice={})
    lines = (tmp_path / "training_log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["iteration", "10", "20", "30"]
