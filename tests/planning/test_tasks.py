from __future__ import annotations

import pytest

from planning.tasks import group_into_tasks, shared_configuration, training_budget
from sammoe_pipeline.artefacts import Task

DATASET = "Dataset004_Head_Neck"


def task(*classes: str) -> Task:
    return Task(name="task", classes=classes, configuration="native", start_from="general")


def test_classes_are_grouped_by_configuration() -> None:
    tasks = group_into_tasks({"a": "native", "b": "1mm", "c": "native"}, {"a": 9, "b": 9, "c": 10}, DATASET, "by_scale")
    assert [(t.name, t.classes, t.configuration) for t in tasks] == [
        ("Head_Neck_native", ("a", "c"), "native"),
        ("b", ("b",), "1mm"),
    ]
    assert {t.start_from for t in tasks} == {"general"}


def test_very_different_scales_are_split() -> None:
    names = dict.fromkeys(("large", "thin", "thick", "thinner"), "native")
    tasks = group_into_tasks(names, {"large": 70, "thin": 6, "thick": 30, "thinner": 5.5}, DATASET, "by_scale")
    assert [t.classes for t in tasks] == [("thin", "thinner"), ("large", "thick")]


def test_names_are_folders_of_their_own() -> None:
    names = {"left kidney": "a", "Left_Kidney": "b", "locator": "c", "x": "0.75mm", "y": "0.75mm"}
    tasks = group_into_tasks(names, dict.fromkeys(names, 5.0), DATASET, "by_scale")
    assert [t.name for t in tasks] == ["left_kidney", "Left_Kidney_2", "locator_2", "Head_Neck_0_75mm"]


def test_a_user_may_have_one_expert_for_each_class_or_for_all() -> None:
    names = {"large": "native", "thin": "native"}
    each, one = (group_into_tasks(names, {"large": 70, "thin": 6}, DATASET, how) for how in ("one_each", "one"))
    assert [t.classes for t in each] == [("large",), ("thin",)]
    assert [t.classes for t in one] == [("large", "thin")]


def test_one_expert_for_all_sees_what_suits_most() -> None:
    assert shared_configuration({"a": "1mm", "b": "native", "c": "1mm"}) == "1mm"
    assert shared_configuration({"a": "2mm", "b": "1mm"}) == "2mm"


def test_no_class_makes_no_task() -> None:
    assert group_into_tasks({}, {}, DATASET, "by_scale") == ()


def test_sides_forbid_mirroring() -> None:
    assert training_budget([], {}, ["kidney_left", "liver"]).mirror_axes == ()
    assert training_budget([], {}, ["spleen", "liver"]).mirror_axes == (0,)


@pytest.mark.parametrize(("cases", "views", "iterations"), [(3, 400, 300), (60, 1440, 720), (500, 3000, 1500)])
def test_the_budget_grows_with_the_targets(cases: int, views: int, iterations: int) -> None:
    budget = training_budget([task("a", "b"), task("c")], {"a": cases, "b": cases, "c": cases}, ["a", "b", "c"])
    assert (budget.views, budget.iterations) == (views, iterations)
