from __future__ import annotations

from collections.abc import Callable

import pytest

from sammoe_pipeline.evaluation.comparison import Table, compare
from sammoe_pipeline.evaluation.records import CaseRecord


@pytest.fixture
def table(cases: list[CaseRecord]) -> Table:
    return compare(cases, seed=0)


def test_classes_with_an_expert_come_first(table: Table) -> None:
    assert [(row.class_name, row.task) for row in table.rows] == [("nerve", "nerve"), ("liver", None), ("vein", None)]


def test_a_row_has_the_means_over_cases(table: Table) -> None:
    nerve = table.rows[0]
    expected = {"general_native": 0.2, "general": 0.3, "expert": 0.7, "mixture": 0.65}
    assert nerve.scored.dice == pytest.approx(expected)
    assert (nerve.cases, nerve.configuration) == (4, "fine")


def test_seeds_are_averaged_before_cases(record: Callable[..., CaseRecord]) -> None:
    cases = [record("mixture", 0.0, case="a", seed=seed) for seed in range(3)] + [record("mixture", 1.0, case="b")]
    assert compare(cases, seed=0).rows[0].scored.dice == {"mixture": 0.5}


def test_differences_come_with_an_interval_that_holds_them(table: Table) -> None:
    nerve = table.rows[0]
    for estimate, expected in ((nerve.scored.over_native, 0.45), (nerve.scored.over_general, 0.35)):
        assert estimate is not None
        assert estimate.interval is not None
        assert estimate.mean == pytest.approx(expected)
        assert estimate.interval[0] < estimate.mean < estimate.interval[1]


def test_a_difference_is_taken_over_cases_that_both_have(record: Callable[..., CaseRecord]) -> None:
    cases = [
        record("general_native", 0.5, case="a"),
        record("mixture", 0.6, case="a"),
        record("general_native", None, case="b"),
        record("mixture", 0.0, case="b"),
    ]
    estimate = compare(cases, seed=0).rows[0].scored.over_native
    assert estimate is not None
    assert (estimate.mean, estimate.cases) == (pytest.approx(0.1), 1)


def test_empty_answers_are_counted_and_leave_the_mean_alone(record: Callable[..., CaseRecord]) -> None:
    cases = [record("mixture", 0.5, case="a"), *(record("mixture", None, case="b", seed=seed) for seed in range(3))]
    [row] = compare(cases, seed=0).rows
    assert (row.scored.dice, row.both_empty, row.cases) == ({"mixture": 0.5}, {"mixture": 3}, 2)


def test_a_class_that_is_empty_everywhere_has_no_mean(record: Callable[..., CaseRecord]) -> None:
    table = compare([record("mixture", None), record("general_native", None)], seed=0)
    [row] = table.rows
    assert (row.scored.dice, row.scored.over_native, row.both_empty) == ({}, None, {"general_native": 1, "mixture": 1})
    assert (table.groups["all"].scored.dice, table.groups["all"].worst_class) == ({}, None)


def test_a_case_that_one_method_did_not_answer_is_counted(record: Callable[..., CaseRecord]) -> None:
    cases = [record("general", 0.5, case="a"), record("general", 0.5, case="b"), record("mixture", 0.5, case="a")]
    assert compare(cases, seed=0).rows[0].missing == {"mixture": 1}


def test_groups_are_means_over_classes(table: Table) -> None:
    assert {name: group.classes for name, group in table.groups.items()} == {"special": 1, "general": 2, "all": 3}
    assert table.groups["general"].scored.dice == pytest.approx(
        {"general_native": 0.725, "general": 0.725, "mixture": 0.7}
    )
    assert table.groups["all"].scored.dice["mixture"] == pytest.approx((0.65 + 0.85 + 0.55) / 3)


def test_the_worst_class_of_a_group_is_named(table: Table) -> None:
    general = table.groups["general"]
    assert general.worst_class == "Dataset002_Trunk/vein"
    assert general.worst_difference == pytest.approx(-0.05)


def test_a_group_without_a_class_is_left_out(record: Callable[..., CaseRecord]) -> None:
    assert compare([record("mixture", 0.5, task=None)], seed=0).groups.keys() == {"general", "all"}


def test_recovered_gain_is_the_share_of_the_experts_gain(table: Table) -> None:
    assert table.recovered_gain == pytest.approx(0.35 / 0.4)
    assert table.worthwhile_tasks == 1


def test_recovered_gain_weighs_tasks_not_classes(record: Callable[..., CaseRecord]) -> None:
    cases = []
    for task, class_name, mixture, expert in [
        ("t", "one", 0.6, 0.9),
        ("t", "two", 0.6, 0.7),
        ("u", "three", 0.5, 0.7),
        ("idle", "four", 0.1, 0.505),
    ]:
        fields = {"task": task, "class_name": class_name}
        cases += [record("general", 0.5, **fields), record("expert", expert, **fields)]
        cases.append(record("mixture", mixture, **fields))
    table = compare(cases, seed=0)
    # Task t: mixture +0.1 of +0.3; task u: 0 of +0.2; the idle task's expert gains too little to count.
    assert table.recovered_gain == pytest.approx(0.1 / 0.5)
    assert table.worthwhile_tasks == 2


def test_without_a_worthwhile_expert_there_is_no_recovered_gain(record: Callable[..., CaseRecord]) -> None:
    table = compare([record("general", 0.5), record("expert", 0.5), record("mixture", 0.5)], seed=0)
    assert (table.recovered_gain, table.worthwhile_tasks) == (None, 0)


def test_the_time_of_an_answer_is_a_median(record: Callable[..., CaseRecord]) -> None:
    cases = [record("mixture", 0.5, seed=seed, seconds=seconds) for seed, seconds in enumerate([1.0, 2.0, 90.0])]
    table = compare(cases, seed=0)
    assert (table.seconds, table.seeds) == ({"mixture": 2.0}, (0, 1, 2))


def test_empty_masks_are_counted_by_which_of_both_is_empty(record: Callable[..., CaseRecord]) -> None:
    cases = [
        record("mixture", 0.0, case="a", empty="prediction"),
        record("mixture", 0.0, case="b", empty="reference"),
        record("general", 0.5, case="a"),
    ]
    [row] = compare(cases, seed=0).rows
    assert (row.prediction_empty, row.reference_empty, row.both_empty) == ({"mixture": 1}, {"mixture": 1}, {})


def test_cases_that_lack_a_class_are_counted(record: Callable[..., CaseRecord]) -> None:
    table = compare([record("mixture", 0.5)], seed=0, absent={("Dataset001_Head", "nerve"): 3})
    assert table.rows[0].absent == 3


def test_every_score_has_a_mean_with_an_interval(table: Table) -> None:
    means = table.rows[0].scored.means
    assert means["surface_dice"]["mixture"].mean == pytest.approx(0.65)
    assert means["hd95_mm"]["mixture"].mean == pytest.approx(3.5)
    assert means["volume_error_ml"]["mixture"].mean == pytest.approx(0.35)
    for by_method in means.values():
        assert all(estimate.interval is not None for estimate in by_method.values())


def test_methods_are_tested_against_each_other_over_cases(record: Callable[..., CaseRecord]) -> None:
    from scipy.stats import wilcoxon

    gains = [0.1, 0.02, 0.3, -0.05, 0.15, 0.07]
    cases = []
    for case, gain in enumerate(gains):
        cases += [record("general_native", 0.5, case=str(case)), record("mixture", 0.5 + gain, case=str(case))]
    scored = compare(cases, seed=0).groups["all"].scored
    found = scored.difference("mixture", "general_native")
    assert found is not None
    assert found.p_value == pytest.approx(wilcoxon(gains).pvalue)
    assert scored.difference("mixture", "general_native", "hd95_mm").estimate.mean < 0  # type: ignore[union-attr]
    assert scored.difference("mixture", "expert") is None


def test_cases_of_a_patient_are_averaged_before_the_test(record: Callable[..., CaseRecord]) -> None:
    from scipy.stats import wilcoxon

    gains = [0.1, 0.02, 0.3, -0.05, 0.15, 0.07]
    cases = []
    for case, gain in enumerate(gains):
        cases += [record("general_native", 0.5, case=str(case)), record("mixture", 0.5 + gain, case=str(case))]
    patients = {("Dataset001_Head", str(case)): "pqr"[case // 2] for case in range(5)}
    found = compare(cases, seed=0, patients=patients).rows[0].scored.difference("mixture", "general_native")
    assert found is not None
    assert found.p_value == pytest.approx(wilcoxon([0.06, 0.125, 0.15, 0.07]).pvalue)
    assert (found.estimate.mean, found.estimate.cases) == (pytest.approx(sum(gains) / 6), 6)


def test_a_patient_a_case_changes_no_number(cases: list[CaseRecord], table: Table) -> None:
    patients = {(one.dataset, one.case): f"patient {ord('z') - ord(one.case)}" for one in cases}
    assert compare(cases, seed=0, patients=patients) == table


def test_methods_that_never_differ_are_not_told_apart(record: Callable[..., CaseRecord]) -> None:
    cases = [record(method, 0.5, case=case) for method in ("general_native", "mixture") for case in "abc"]
    found = compare(cases, seed=0).rows[0].scored.difference("mixture", "general_native")
    assert found is not None
    assert (found.estimate.mean, found.p_value) == (0.0, 1.0)
