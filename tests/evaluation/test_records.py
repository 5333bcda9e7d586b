from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.evaluation.records import (
    CaseRecord,
    RoutingRecord,
    case_means,
    read_cases,
    read_routing,
    write_cases,
    write_routing,
)

AWKWARD = ['left, "upper" lobe', "línea\nalba; 肝", " spaced ", "<b>", "a\r\nb", "=1+1", "0.5", "None"]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_survive_the_table(tmp_path: Path, record: Callable[..., CaseRecord], name: str) -> None:
    cases = [record("mixture", 0.5, class_name=name, case=name, task=name)]
    write_cases(tmp_path / "cases.csv", cases)
    assert read_cases(tmp_path / "cases.csv") == cases


def test_numbers_and_none_survive_the_table_exactly(tmp_path: Path, record: Callable[..., CaseRecord]) -> None:
    cases = [
        record("expert", 1 / 3, seconds=1e-7, seed=12, seen_by_foundation=True),
        record("general", None, task=None),
        record("general_native", 0.0, prompt="automatic", clicks=0),
        record("mixture", 1.0),
    ]
    write_cases(tmp_path / "cases.csv", cases)
    assert read_cases(tmp_path / "cases.csv") == cases


def test_none_is_an_empty_cell(tmp_path: Path, record: Callable[..., CaseRecord]) -> None:
    write_cases(tmp_path / "cases.csv", [record("mixture", None, task=None)])
    header, row = (line.split(",") for line in (tmp_path / "cases.csv").read_text().splitlines())
    empty = [name for name, cell in zip(header, row, strict=True) if cell == ""]
    assert empty == ["task", "dice", "iou", "surface_dice", "hd95_mm"]


def test_no_records_survive_the_table(tmp_path: Path) -> None:
    write_cases(tmp_path / "cases.csv", [])
    write_routing(tmp_path / "routing.csv", [])
    assert read_cases(tmp_path / "cases.csv") == []
    assert read_routing(tmp_path / "routing.csv") == []


def test_routing_survives_the_table_whoever_was_a_candidate(
    tmp_path: Path, routed: Callable[..., RoutingRecord]
) -> None:
    routing = [
        routed("general", task=None, confidences={"general": 0.1 + 0.2}),
        routed("Dataset001_Head/a, b", confidences={"general": 0.0, "Dataset001_Head/a, b": 1.0}),
        routed("general", confidences={}),
    ]
    write_routing(tmp_path / "routing.csv", routing)
    assert read_routing(tmp_path / "routing.csv") == routing


def test_a_confidence_has_a_column_by_expert(tmp_path: Path, routed: Callable[..., RoutingRecord]) -> None:
    write_routing(tmp_path / "routing.csv", [routed("Dataset001_Head/nerve")])
    header = (tmp_path / "routing.csv").read_text().splitlines()[0].split(",")
    assert header[-2:] == ["confidence Dataset001_Head/nerve", "confidence general"]


@pytest.mark.parametrize("dice", [float("nan"), float("inf"), -0.1, 1.1])
def test_dice_outside_0_to_1_is_refused(record: Callable[..., CaseRecord], dice: float) -> None:
    with pytest.raises(ValidationError):
        record("mixture", dice)


def test_a_table_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"cases\.csv does not exist. Run sammoe_evaluate first"):
        read_cases(tmp_path / "cases.csv")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("dataset,case\nA,b\n")
    with pytest.raises(ArtefactError, match="lacks the columns fold, class_name"):
        read_cases(tmp_path / "cases.csv")


def test_a_bad_cell_is_named_with_its_line(tmp_path: Path, record: Callable[..., CaseRecord]) -> None:
    path = tmp_path / "cases.csv"
    write_cases(path, [record("mixture", 0.5), record("mixture", 0.25)])
    path.write_text(path.read_text().replace(",0.25,", ",nan,", 1))
    with pytest.raises(ArtefactError, match=r"line 3: scores.dice: Input should be a finite number"):
        read_cases(path)


def test_a_row_that_is_too_long_is_refused(tmp_path: Path, routed: Callable[..., RoutingRecord]) -> None:
    path = tmp_path / "routing.csv"
    write_routing(path, [routed("general")])
    path.write_text(path.read_text().rstrip("\n") + ",surplus\n")
    with pytest.raises(ArtefactError, match="line 2: cells beyond the columns"):
        read_routing(path)


def test_a_case_counts_once_however_often_it_was_asked(record: Callable[..., CaseRecord]) -> None:
    cases = [record("mixture", dice, seed=seed) for seed, dice in enumerate([0.2, 0.4, None])]
    assert case_means(cases) == {("Dataset001_Head", "nerve"): {"a": {"mixture": pytest.approx(0.3)}}}


def test_a_case_without_any_number_is_kept_and_empty(record: Callable[..., CaseRecord]) -> None:
    assert case_means([record("mixture", None)]) == {("Dataset001_Head", "nerve"): {"a": {}}}
