from __future__ import annotations

import pytest

from planning.tasks import group_into_tasks, locator_budget, shared_configuration, task_budget, training_settings
from sammoe_pipeline.artefacts import Budget

DATASET = "Dataset004_Head_Neck"
CASES = {"a": 9, "b": 9, "c": 10}


def test_classes_are_grouped_by_configuration() -> None:
    names = {"a": "native", "b": "1mm", "c": "native"}
    tasks = group_into_tasks(names, {"a": 9, "b": 9, "c": 10}, CASES, DATASET, "by_scale", 1.0)
    assert [(t.name, t.classes, t.configuration) for t in tasks] == [
        ("Head_Neck_native", ("a", "c"), "native"),
        ("b", ("b",), "1mm"),
    ]
    assert {t.start_from for t in tasks} == {"general"}


def test_very_different_scales_are_split() -> None:
    names = dict.fromkeys(("large", "thin", "thick", "thinner"), "native")
    thickness = {"large": 70, "thin": 6, "thick": 30, "thinner": 5.5}
    tasks = group_into_tasks(names, thickness, dict.fromkeys(names, 9), DATASET, "by_scale", 1.0)
    assert [t.classes for t in tasks] == [("thin", "thinner"), ("large", "thick")]


def test_names_are_folders_of_their_own() -> None:
    names = {"left kidney": "a", "Left_Kidney": "b", "locator": "c", "x": "0.75mm", "y": "0.75mm"}
    tasks = group_into_tasks(names, dict.fromkeys(names, 5.0), dict.fromkeys(names, 9), DATASET, "by_scale", 1.0)
    assert [t.name for t in tasks] == ["left_kidney", "Left_Kidney_2", "locator_2", "Head_Neck_0_75mm"]


def test_a_user_may_have_one_expert_for_each_class_or_for_all() -> None:
    names = {"large": "native", "thin": "native"}
    thickness, cases = {"large": 70, "thin": 6}, {"large": 9, "thin": 9}
    each, one = (group_into_tasks(names, thickness, cases, DATASET, how, 1.0) for how in ("one_each", "one"))
    assert [t.classes for t in each] == [("large",), ("thin",)]
    assert [t.classes for t in one] == [("large", "thin")]


def test_one_expert_for_all_sees_what_suits_most() -> None:
    assert shared_configuration({"a": "1mm", "b": "native", "c": "1mm"}) == "1mm"
    assert shared_configuration({"a": "2mm", "b": "1mm"}) == "2mm"


def test_no_class_makes_no_task() -> None:
    assert group_into_tasks({}, {}, {}, DATASET, "by_scale", 1.0) == ()


def test_sides_forbid_mirroring() -> None:
    assert training_settings(["kidney_left", "liver"], 4, has_detail=False).mirror_axes == ()
    assert training_settings(["spleen", "liver"], 4, has_detail=False).mirror_axes == (0,)


@pytest.mark.parametrize("has_detail", [True, False])
def test_experts_look_a_second_time_where_there_is_detail_to_add_to(has_detail: bool) -> None:
    assert training_settings(["spleen"], 4, has_detail=has_detail).second_look == has_detail


@pytest.mark.parametrize(("targets", "views", "iterations"), [(3, 240, 300), (60, 600, 750), (500, 3000, 3750)])
def test_an_experts_budget_grows_with_its_targets(targets: int, views: int, iterations: int) -> None:
    budget = task_budget(targets, 1.0)
    assert (budget.views, budget.iterations) == (views, iterations)


def test_each_task_has_a_budget_of_its_own() -> None:
    cases = {"a": 100, "b": 60, "c": 40}
    tasks = group_into_tasks(
        {"a": "1mm", "b": "native", "c": "native"}, dict.fromkeys(cases, 5.0), cases, DATASET, "by_scale", 1.0
    )
    assert [task.budget for task in tasks] == [task_budget(100, 1.0), task_budget(100, 1.0)]


def test_effort_makes_trainings_longer_or_shorter() -> None:
    (task,) = group_into_tasks({"a": "1mm"}, {"a": 5.0}, {"a": 100}, DATASET, "by_scale", 0.5)
    assert task.budget == Budget(views=500, iterations=625)
    assert locator_budget(60, 2, 2.0) == Budget(views=2400, iterations=3000)


@pytest.mark.parametrize(
    ("cases", "classes", "views"), [(3, 2, 320), (60, 2, 1200), (500, 2, 3000), (3, 40, 640), (60, 40, 1200)]
)
def test_a_locators_budget_grows_with_cases_and_with_classes(cases: int, classes: int, views: int) -> None:
    assert locator_budget(cases, classes, 1.0).views == views
