from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from sammoe_pipeline.artefacts import Provenance
from sammoe_pipeline.evaluation.bootstrap import estimate_mean
from sammoe_pipeline.evaluation.judgement import Judgement, Scores, Tool, summarise, write_cases
from sammoe_pipeline.evaluation.judgement_table import judgement_table
from sammoe_pipeline.evaluation.surface import BOTH_EMPTY, Empty, MaskScores

FIRST = [0.5, 0.6, 0.7, 0.8, 0.9, 0.4]
SECOND = [0.55, 0.58, 0.81, 0.83, 0.97, 0.41]


def mask(dice: float, empty: Empty = "neither") -> MaskScores:
    return MaskScores(
        dice=dice,
        iou=dice / (2 - dice),
        surface_dice=dice,
        hd95_mm=10 * (1 - dice),
        volume_error_ml=0.25,
        reference_ml=1.0,
        prediction_ml=1.25,
        empty=empty,
    )


def scores_of(**tools: list[float]) -> dict[str, dict[str, dict[str, MaskScores]]]:
    return {
        tool: {f"case_{index}": {"liver": mask(dice)} for index, dice in enumerate(values)}
        for tool, values in tools.items()
    }


def judgement_of(scores: Scores, classes: tuple[str, ...] = ("liver",), missing: tuple[str, ...] = ()) -> Judgement:
    return summarise(
        scores,
        classes={name: (index,) for index, name in enumerate(classes, start=1)},
        tolerances_mm=dict.fromkeys(classes, 1.5),
        tools={tool: Tool(folder=tool, missing=missing, without_reference=()) for tool in scores},
        references="references",
        patients={case: case for judged in scores.values() for case in judged},
        provenance=Provenance(versions={}, commit=None, seed=3, device="cpu", threads=1),
    )


def test_means_and_intervals_are_those_of_the_bootstrap() -> None:
    found = judgement_of(scores_of(a=FIRST)).classes["liver"].tools["a"].means["dice"]
    assert found == estimate_mean(np.array(FIRST)[:, None], [""] * len(FIRST), seed=3)


def test_tools_are_compared_with_the_first_case_by_case() -> None:
    tools = judgement_of(scores_of(a=FIRST, b=SECOND)).classes["liver"].tools
    assert tools["a"].differences == {}
    found = tools["b"].differences["dice"]
    differences = np.subtract(SECOND, FIRST)
    assert found.estimate.mean == pytest.approx(differences.mean())
    assert found.p_value == pytest.approx(wilcoxon(differences).pvalue)


def test_tools_that_agree_do_not_differ() -> None:
    found = judgement_of(scores_of(a=FIRST, b=FIRST)).overall["b"].differences["dice"]
    assert (found.estimate.mean, found.estimate.interval, found.p_value) == (0, (0, 0), 1)


def test_cases_that_one_tool_lacks_are_not_compared() -> None:
    scores = scores_of(a=FIRST, b=SECOND)
    del scores["b"]["case_0"]
    tools = judgement_of(scores).classes["liver"].tools
    assert tools["a"].means["dice"].cases == 6
    assert tools["b"].means["dice"].cases == 5
    assert tools["b"].differences["dice"].estimate.mean == pytest.approx(np.subtract(SECOND, FIRST)[1:].mean())


def test_empty_masks_are_counted_and_count_in_the_mean() -> None:
    scores = scores_of(a=[0.8])
    scores["a"] |= {"missed": {"liver": mask(0, "prediction")}, "invented": {"liver": mask(0, "reference")}}
    scores["a"] |= {"none": {"liver": BOTH_EMPTY}, "not found": {}}
    found = judgement_of(scores).classes["liver"].tools["a"]
    assert (found.judged, found.prediction_empty, found.reference_empty, found.both_empty) == (5, 1, 1, 2)
    assert found.means["dice"].mean == pytest.approx(0.8 / 3)
    assert found.means["volume_error_ml"].cases == 5


def test_overall_every_class_weighs_the_same() -> None:
    scores = scores_of(a=[0.5, 0.7])
    scores["a"]["case_0"] |= {"tumour": mask(0.2)}
    overall = judgement_of(scores, ("liver", "tumour")).overall["a"]
    assert overall.means["dice"].mean == pytest.approx((0.6 + 0.2) / 2)
    assert overall.judged == 4


def test_a_judgement_survives_its_file(tmp_path: Path) -> None:
    judgement = judgement_of(scores_of(a=FIRST, b=SECOND))
    judgement.save(tmp_path / "j.json")
    assert Judgement.load(tmp_path / "j.json") == judgement
    assert "NaN" not in (tmp_path / "j.json").read_text()


def test_cases_are_a_line_a_tool_case_and_class(tmp_path: Path) -> None:
    write_cases(tmp_path / "c.csv", scores_of(a=[0.5], b=[0.25]), ["liver", "tumour"])
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["predictions"], row["class_name"], row["dice"], row["empty"]) for row in rows] == [
        ("a", "liver", "0.5", "neither"),
        ("a", "tumour", "", "both"),
        ("b", "liver", "0.25", "neither"),
        ("b", "tumour", "", "both"),
    ]


def test_the_table_has_a_row_a_class_and_tool_and_names_what_is_missing() -> None:
    lines = judgement_table(judgement_of(scores_of(a=FIRST, b=SECOND), missing=("case_9",))).splitlines()
    liver = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| liver")]
    assert [row[:6] for row in liver] == [
        ["liver (1.5 mm)", "a", "6", "0", "0", "0"],
        ["liver (1.5 mm)", "b", "6", "0", "0", "0"],
    ]
    assert liver[1][-2].startswith("+4.2 (")
    assert "b: references without a prediction, which are in no mean (1): case_9." in lines
    assert len({len(line) for line in lines if line.startswith("|")}) == 1


def test_the_table_of_one_tool_compares_nothing() -> None:
    table = judgement_table(judgement_of(scores_of(a=FIRST)))
    assert "over a" not in table
    assert "Wilcoxon" not in table


def test_classes_that_nobody_has_are_shown_without_numbers() -> None:
    table = judgement_table(judgement_of({"a": {"case": {}}, "b": {"case": {}}}))
    assert "nan" not in table.lower()
