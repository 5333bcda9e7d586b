from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.training import gate_prompts as module
from sammoe_pipeline.training.gate_prompts import (
    OFF_TASK,
    GatePrompt,
    Member,
    choose_cases,
    prompts_in,
)
from tests.conftest import Workspace

CASES = ("case_0", "case_1", "case_2")


@pytest.fixture(scope="module")
def model(workspace: Workspace) -> SamMed3D:
    return workspace.foundation.load_model()


def _prompts(workspace: Workspace, model: SamMed3D, *, seed: int = 0, off_task: int = 5) -> list[GatePrompt]:
    member = Member(planned=workspace.planned, raw=workspace.raw, experts={"near": 3})
    settings = {"model": model, "foundation": workspace.foundation, "seed": seed, "off_task": off_task}
    return [prompt for case in CASES for prompt in prompts_in(case, member, **settings)]


@pytest.fixture(scope="module")
def prompts(workspace: Workspace, model: SamMed3D) -> list[GatePrompt]:
    """Prompts of three cases; expert 3 serves `near`, nobody `far`."""
    return _prompts(workspace, model)


def test_every_target_of_every_class_is_clicked_on(prompts: list[GatePrompt]) -> None:
    counts = Counter((prompt.labelled.name, prompt.class_name) for prompt in prompts)
    for case in CASES:
        assert counts[case, "near"] == 1
        assert counts[case, "far"] == 2
        assert counts[case, OFF_TASK] == 5


def test_some_classes_are_clicked_on_more_often(workspace: Workspace, model: SamMed3D) -> None:
    member = Member(planned=workspace.planned, raw=workspace.raw, experts={})
    settings = {"model": model, "foundation": workspace.foundation, "seed": 0, "clicks": {"near": 3, "far": 1}}
    counts = Counter(prompt.class_name for prompt in prompts_in("case_0", member, **settings))
    assert counts == {"near": 3, "far": 2}


def test_prompts_belong_to_the_expert_of_their_class(prompts: list[GatePrompt]) -> None:
    assert {prompt.class_name: prompt.expert for prompt in prompts} == {"near": 3, "far": None, OFF_TASK: None}


def _value_at(prompt: GatePrompt, array: np.ndarray) -> float:
    x, y, z = (int(value) for value in prompt.click.position)
    return float(array[x, y, z])


def test_clicks_lie_in_their_class(prompts: list[GatePrompt]) -> None:
    values = {"near": 1, "far": 2, OFF_TASK: 0}
    assert all(_value_at(prompt, prompt.labelled.labels) == values[prompt.class_name] for prompt in prompts)


def test_clicks_beside_all_tasks_avoid_the_darkest_quarter(prompts: list[GatePrompt]) -> None:
    for prompt in prompts:
        if prompt.class_name == OFF_TASK:
            image = prompt.labelled.image.orientation.to_canonical(prompt.labelled.image.channels[0].data)
            assert _value_at(prompt, image) > np.percentile(image, 25)


def test_prompts_beside_all_tasks_are_left_out_where_not_asked_for(workspace: Workspace, model: SamMed3D) -> None:
    assert OFF_TASK not in {prompt.class_name for prompt in _prompts(workspace, model, off_task=0)}


def test_prompts_depend_on_the_seed_alone(workspace: Workspace, model: SamMed3D, prompts: list[GatePrompt]) -> None:
    clicks = [prompt.click for prompt in prompts]
    assert [prompt.click for prompt in _prompts(workspace, model)] == clicks
    assert [prompt.click for prompt in _prompts(workspace, model, seed=1)] != clicks


def test_dice_is_with_what_the_click_means(prompts: list[GatePrompt]) -> None:
    near = next(prompt for prompt in prompts if prompt.class_name == "near")
    far = next(prompt for prompt in prompts if prompt.class_name == "far")
    for prompt in (near, far):
        target = prompt.labelled.target(prompt.class_name, prompt.click)
        assert prompt.dice_of(target) == 1.0
        assert prompt.dice_of(np.zeros_like(target)) == 0.0
    assert 0.5 < far.dice_of(far.labelled.truth("far")) < 1.0


def test_of_many_cases_a_choice_is_clicked_on(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(planned=workspace.planned, raw=workspace.raw, experts={})
    assert choose_cases(member, CASES, 0) == list(CASES)
    monkeypatch.setattr(module, "MOST_CASES", 2)
    monkeypatch.setattr(module, "_FEWEST_CASES", 1)
    chosen = {tuple(choose_cases(member, CASES, seed)) for seed in range(20)}
    assert len(chosen) == 3 and all(len(set(cases)) == 2 for cases in chosen)


def test_cases_of_a_rare_class_are_among_the_choice(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = replace(workspace.planned)
    rare, *others = CASES
    classes_of = {rare: ("near",), **dict.fromkeys(others, ("far",))}
    vars(planned)["cases"] = {
        case: workspace.planned.cases[case].model_copy(update={"classes": classes})
        for case, classes in classes_of.items()
    }
    monkeypatch.setattr(module, "MOST_CASES", 1)
    monkeypatch.setattr(module, "_FEWEST_CASES", 1)
    member = Member(planned=planned, raw=workspace.raw, experts={})
    assert all(rare in choose_cases(member, CASES, seed) for seed in range(20))
