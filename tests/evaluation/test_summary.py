from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sammoe_pipeline.evaluation.markdown import markdown_table
from sammoe_pipeline.evaluation.records import CaseRecord, RoutingRecord
from sammoe_pipeline.evaluation.summary import EvaluationSummary

Summarise = Callable[..., EvaluationSummary]


def test_it_survives_its_file(
    tmp_path: Path, cases: list[CaseRecord], routing: list[RoutingRecord], summarised: Summarise
) -> None:
    summary = summarised(cases, routing)
    summary.save(tmp_path / "summary.json")
    assert EvaluationSummary.load(tmp_path / "summary.json") == summary
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_readers_of_nnunet_s_summary_find_their_keys(cases: list[CaseRecord], summarised: Summarise) -> None:
    content = json.loads(summarised(cases).model_dump_json())
    assert content["foreground_mean"]["Dice"] == pytest.approx((0.65 + 0.85 + 0.55) / 3)
    assert content["mean"]["Dataset001_Head/nerve"]["Dice"] == pytest.approx(0.65)
    first = content["metric_per_case"][0]
    assert first["reference_file"] == "Dataset001_Head/gt_segmentations/a.nii.gz"
    assert first["metrics"]["Dataset001_Head/nerve"]["Dice"] == 0.8
    assert first["metrics"]["Dataset001_Head/nerve"]["IoU"] == pytest.approx(0.8 / 1.2)
    assert len(content["metric_per_case"]) == 6


def test_an_empty_case_is_null_in_nnunet_s_keys(record: Callable[..., CaseRecord], summarised: Summarise) -> None:
    summary = summarised([record("mixture", None)])
    assert summary.foreground_mean["Dice"] is None
    assert summary.metric_per_case[0].metrics["Dataset001_Head/nerve"]["Dice"] is None


def test_clicks_come_before_automatic_prompts_and_few_before_many(
    record: Callable[..., CaseRecord], summarised: Summarise
) -> None:
    kinds = [("automatic", 0), ("click", 3), ("click", 1)]
    summary = summarised([record("mixture", 0.5, prompt=prompt, clicks=clicks) for prompt, clicks in kinds])
    assert [(table.prompt, table.clicks) for table in summary.tables] == kinds[::-1]


def test_cases_without_an_answer_are_listed(cases: list[CaseRecord], summarised: Summarise) -> None:
    summary = summarised(cases, held_out={"Dataset001_Head": ["a", "z"], "Dataset003_Hand": ["a"]})
    assert summary.missing_cases == ("Dataset001_Head/z", "Dataset003_Hand/a")


def test_routing_is_counted_by_task(
    cases: list[CaseRecord], routing: list[RoutingRecord], summarised: Summarise
) -> None:
    rows = summarised(cases, routing).routing
    assert [(row.dataset, row.task) for row in rows] == [("Dataset001_Head", "nerve"), ("Dataset002_Trunk", None)]
    assert [row.chosen for row in rows] == [
        {"Dataset001_Head/nerve": 3, "general": 1},
        {"Dataset001_Head/nerve": 1, "general": 3},
    ]


def test_routing_is_counted_by_clicks(
    cases: list[CaseRecord], routed: Callable[..., RoutingRecord], summarised: Summarise
) -> None:
    later = [routed("general"), routed("Dataset001_Head/nerve", clicks=3)]
    rows = summarised(cases, later).routing
    assert [(row.clicks, row.chosen) for row in rows] == [(1, {"general": 1}), (3, {"Dataset001_Head/nerve": 1})]


def test_it_says_what_was_evaluated_and_what_for(cases: list[CaseRecord], summarised: Summarise) -> None:
    summary = summarised(cases)
    assert (summary.mixture, summary.foundation, summary.foundation_sha256) == ("default", "tiny", "f0" * 32)
    assert (summary.experts, summary.folds) == (("Dataset001_Head/nerve",), (0,))
    assert summary.note == "For research, not a medical device."


def test_the_markdown_table_has_means_first_and_marks_what_the_foundation_saw(
    cases: list[CaseRecord], summarised: Summarise
) -> None:
    lines = markdown_table(summarised(cases)).splitlines()
    means = [line.split("|")[1].strip() for line in lines if line.startswith("| **")]
    assert means == [
        "**Mean of classes with an expert (1)**",
        "**Mean of classes without an expert (2)**",
        "**Mean of all classes (3)**",
    ]
    [nerve] = [line for line in lines if "| nerve | nerve |" in line]
    assert [cell.strip() for cell in nerve.split("|")[6:10]] == ["20.0", "30.0", "70.0", "65.0"]
    assert sum(r"Dataset002_Trunk\* |" in line for line in lines) == 2
    assert r"Dataset001_Head\*" not in "".join(lines)
    assert any(line.startswith(r"\* The foundation was trained on this dataset") for line in lines)


def test_without_seen_datasets_the_markdown_table_has_no_asterisk(
    record: Callable[..., CaseRecord], summarised: Summarise
) -> None:
    assert r"\*" not in markdown_table(summarised([record("mixture", 0.5)]))


def test_a_name_cannot_break_the_markdown_table(record: Callable[..., CaseRecord], summarised: Summarise) -> None:
    text = markdown_table(summarised([record("mixture", 0.5, class_name="a|b\nc")]))
    [row] = [line for line in text.splitlines() if line.startswith("| Dataset001_Head")]
    assert r"| a\|b c |" in row


def test_empty_and_missing_answers_are_said_below_the_table(
    record: Callable[..., CaseRecord], summarised: Summarise
) -> None:
    cases = [record("general", None, case="a"), record("general", 0.5, case="b"), record("mixture", 0.5, case="b")]
    text = markdown_table(summarised(cases, held_out={"Dataset001_Head": ["a", "b", "c"]}))
    nerve = "Dataset001_Head/nerve"
    assert f"both empty, not in the mean, one a case and draw of clicks: {nerve} (General, task's config" in text
    assert f"Answers that are missing, not in the mean, one a case and draw of clicks: {nerve} (Mixture 1)." in text
    assert "Held-out cases without any answer: Dataset001_Head/c." in text


def test_classes_that_cases_lack_are_said(cases: list[CaseRecord], summarised: Summarise) -> None:
    lacking = {("Dataset001_Head", "nerve"): 2, ("Dataset001_Head", "gland"): 4}
    summary = summarised(cases, absent=lacking)
    assert summary.absent_classes == ("Dataset001_Head/gland",)
    text = markdown_table(summary)
    assert "Held-out cases without the class, where nobody could click on it: Dataset001_Head/nerve 2." in text
    assert "Classes that no held-out case has: Dataset001_Head/gland." in text


def test_the_markdown_has_every_score_and_the_tests_of_the_means(
    cases: list[CaseRecord], summarised: Summarise
) -> None:
    lines = markdown_table(summarised(cases)).splitlines()
    [row] = [line for line in lines if line.startswith("| Mean of classes with an expert | General, native |")]
    cells = [cell.strip() for cell in row.split("|")[3:-1]]
    assert [cell.split(" ")[0] for cell in cells[:4]] == ["20.0", "20.0", "8.0", "0.8"]
    assert 0 < float(cells[4]) <= 1


def test_what_intervals_draw_is_said(cases: list[CaseRecord], summarised: Summarise) -> None:
    head = "Dataset001_Head"
    alone = summarised(cases, patients={(head, "a"): "a", (head, "not asked"): "p"})
    shared = summarised(cases, patients={(head, "a"): "p", (head, "b"): "p"})
    for summary, unit in ((alone, "cases"), (shared, "patients")):
        assert summary.sampling_unit == unit
        text = markdown_table(summary)
        assert f"Means with 95 % bootstrap intervals over {unit};" in text
        assert f"p: Wilcoxon's signed-rank test over {unit}," in text
    assert alone == summarised(cases)
    first, second = (summary.tables[0].rows[0].scored.over_native for summary in (alone, shared))
    assert first is not None and second is not None
    assert (first.mean, first.cases) == (second.mean, second.cases)
    assert first.interval != second.interval
