from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from sammoe_pipeline.evaluation.records import (
    CaseRecord,
    RoutingRecord,
    case_means,
    write_cases,
    write_routing,
)

AWKWARD = ['left, "upper" lobe', "línea\nalba; 肝", " spaced ", "<b>", "a\r\nb", "=1+1", "0.5", "None"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_survive_the_table(tmp_path: Path, record: Callable[..., CaseRecord], name: str) -> None:
    write_cases(tmp_path / "cases.csv", [record("mixture", 0.5, class_name=name, case=name, task=name)])
    [row] = rows_of(tmp_path / "cases.csv")
    assert {row["class_name"], row["case"], row["task"]} == {name}


def test_numbers_survive_the_table_exactly(tmp_path: Path, record: Callable[..., CaseRecord]) -> None:
    write_cases(tmp_path / "cases.csv", [record("expert", 1 / 3, seconds=1e-7, seed=12, seen_by_foundation=True)])
    [row] = rows_of(tmp_path / "cases.csv")
    assert (float(row["dice"]), float(row["seconds"])) == (1 / 3, 1e-7)
    assert (row["seed"], row["seen_by_foundation"]) == ("12", "True")


def test_none_is_an_empty_cell(tmp_path: Path, record: Callable[..., CaseRecord]) -> None:
    write_cases(tmp_path / "cases.csv", [record("mixture", None, task=None)])
    header, row = (line.split(",") for line in (tmp_path / "cases.csv").read_text().splitlines())
    empty = [name for name, cell in zip(header, row, strict=True) if cell == ""]
    assert empty == ["task", "dice", "iou", "surface_dice", "hd95_mm"]


def test_no_records_leave_the_columns(tmp_path: Path) -> None:
    write_cases(tmp_path / "cases.csv", [])
    write_routing(tmp_path / "routing.csv", [])
    assert [(tmp_path / name).read_text().count("\n") for name in ("cases.csv", "routing.csv")] == [1, 1]


def test_routing_survives_the_table_whoever_was_a_candidate(
    tmp_path: Path, routed: Callable[..., RoutingRecord]
) -> None:
    key = "Dataset001_Head/a, b"
    routing = [
        routed("general", task=None, confidences={"general": 0.1 + 0.2}),
        routed(key, confidences={"general": 0.0, key: 1.0}),
        routed("general", confidences={}),
    ]
    write_routing(tmp_path / "routing.csv", routing)
    rows = rows_of(tmp_path / "routing.csv")
    assert [(row["task"], row["chosen"]) for row in rows] == [("", "general"), ("nerve", key), ("nerve", "general")]
    confidences = [(row["confidence general"], row[f"confidence {key}"]) for row in rows]
    assert confidences == [(repr(0.1 + 0.2), ""), ("0.0", "1.0"), ("", "")]


def test_a_confidence_has_a_column_by_expert(tmp_path: Path, routed: Callable[..., RoutingRecord]) -> None:
    write_routing(tmp_path / "routing.csv", [routed("Dataset001_Head/nerve")])
    header = (tmp_path / "routing.csv").read_text().splitlines()[0].split(",")
    assert header[-2:] == ["confidence Dataset001_Head/nerve", "confidence general"]


@pytest.mark.parametrize("dice", [float("nan"), float("inf"), -0.1, 1.1])
def test_dice_outside_0_to_1_is_refused(record: Callable[..., CaseRecord], dice: float) -> None:
    with pytest.raises(ValidationError):
        record("mixture", dice)


def test_a_case_counts_once_however_often_it_was_asked(record: Callable[..., CaseRecord]) -> None:
    cases = [record("mixture", dice, seed=seed) for seed, dice in enumerate([0.2, 0.4, None])]
    assert case_means(cases) == {("Dataset001_Head", "nerve"): {"a": {"mixture": pytest.approx(0.3)}}}


def test_a_case_without_any_number_is_kept_and_empty(record: Callable[..., CaseRecord]) -> None:
    assert case_means([record("mixture", None)]) == {("Dataset001_Head", "nerve"): {"a": {}}}
