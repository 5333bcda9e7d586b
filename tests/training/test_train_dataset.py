import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sammoe_pipeline.artefacts import Budget
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.model import BUILDERS
from sammoe_pipeline.paths import CHECKPOINT, EXPERT_JSON, EXPERT_WEIGHTS, LOCATOR_JSON, Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training import train_dataset as module
from sammoe_pipeline.training.train_dataset import _train as train_one
from tests.conftest import Workspace, build_nano

Started = list[tuple[str, int]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Trainings that were begun, as (task or "locator", fold); none is carried out."""
    begun: Started = []
    monkeypatch.setattr(module, "train_expert", lambda job: begun.append((job.task.name, job.fold)))
    monkeypatch.setattr(module, "train_locator", lambda _, fold, **__: begun.append(("locator", fold)))
    return begun


def _train(
    workspace: Workspace,
    results: Path,
    *,
    planned: PlannedDataset | None = None,
    foundation: Foundation | None = None,
    folds: Sequence[int] | None = None,
    tasks: Sequence[str] | None = None,
    must_continue: bool = False,
    device: str = "cpu",
    workers: int | None = None,
) -> None:
    module.train_dataset(
        planned or workspace.planned,
        folds=folds,
        tasks=tasks,
        must_continue=must_continue,
        foundation=foundation or workspace.foundation,
        results=results,
        device=device,
        workers=workers,
    )


def _expert(workspace: Workspace, results: Path, fold: int) -> Path:
    places = Results(root=results, foundation=workspace.foundation.card.name)
    return places.expert_fold(workspace.planned.name, "boxes", fold)


def test_every_task_and_the_locator_are_trained_in_every_fold(
    workspace: Workspace, started: Started, tmp_path: Path
) -> None:
    _train(workspace, tmp_path)
    assert started == [("boxes", 0), ("boxes", 1), ("locator", 0), ("locator", 1)]


def test_chosen_folds_alone_are_trained(workspace: Workspace, started: Started, tmp_path: Path) -> None:
    _train(workspace, tmp_path, folds=[1])
    assert started == [("boxes", 1), ("locator", 1)]


def test_chosen_tasks_are_trained_without_the_locator(workspace: Workspace, started: Started, tmp_path: Path) -> None:
    _train(workspace, tmp_path, tasks=["boxes"])
    assert started == [("boxes", 0), ("boxes", 1)]


@pytest.mark.parametrize("choice", [{"folds": [2]}, {"tasks": ["boxs"]}])
def test_unknown_choice_is_an_error_before_anything_is_trained(
    workspace: Workspace, started: Started, tmp_path: Path, choice: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        _train(workspace, tmp_path, **choice)
    assert started == []


def test_a_second_look_without_detail_to_add_to_is_an_error(
    workspace: Workspace, started: Started, tmp_path: Path
) -> None:
    plan = workspace.planned.plan
    training = plan.training.model_copy(update={"second_look": True})
    planned = replace(workspace.planned, plan=plan.model_copy(update={"training": training}))
    with pytest.raises(UsageError, match=r"training\.second_look is true, but foundation 'nano' has no detail"):
        _train(workspace, tmp_path, planned=planned)
    assert not started


def test_what_is_finished_is_left_alone(trained: Workspace, started: Started) -> None:
    _train(trained, trained.folders.results)
    assert started == []


def _other_split(planned: PlannedDataset) -> PlannedDataset:
    first, *others = planned.splits.folds
    first = first.model_copy(update={"train": first.val, "val": first.train})
    return replace(planned, splits=planned.splits.model_copy(update={"folds": (first, *others)}))


def _other_settings(planned: PlannedDataset) -> PlannedDataset:
    training = planned.plan.training.model_copy(update={"batch_size": 3})
    return replace(planned, plan=planned.plan.model_copy(update={"training": training}))


def _other_budget_of_the_expert(planned: PlannedDataset) -> PlannedDataset:
    (task,) = planned.plan.tasks
    task = task.model_copy(update={"budget": Budget(views=8, iterations=7)})
    return replace(planned, plan=planned.plan.model_copy(update={"tasks": (task,)}))


def _other_budget_of_the_locator(planned: PlannedDataset) -> PlannedDataset:
    budget = Budget(views=8, iterations=7)
    return replace(planned, plan=planned.plan.model_copy(update={"locator_budget": budget}))


def _other_foundation(planned: PlannedDataset) -> PlannedDataset:
    return replace(planned, plan=planned.plan.model_copy(update={"foundation_sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_other_split, [("boxes", 0), ("locator", 0)]),
        (_other_settings, [("boxes", 0), ("boxes", 1), ("locator", 0), ("locator", 1)]),
        (_other_budget_of_the_expert, [("boxes", 0), ("boxes", 1)]),
        (_other_budget_of_the_locator, [("locator", 0), ("locator", 1)]),
        (_other_foundation, [("boxes", 0), ("boxes", 1), ("locator", 0), ("locator", 1)]),
    ],
)
def test_what_another_plan_split_or_foundation_made_is_trained_again(
    trained: Workspace, started: Started, change: Callable[[PlannedDataset], PlannedDataset], expected: Started
) -> None:
    _train(trained, trained.folders.results, planned=change(trained.planned))
    assert started == expected


@pytest.mark.parametrize("name", [EXPERT_WEIGHTS, EXPERT_JSON])
def test_expert_without_its_weights_or_card_is_trained_again(
    trained: Workspace, started: Started, tmp_path: Path, name: str
) -> None:
    source, folder = (_expert(trained, results, 0) for results in (trained.folders.results, tmp_path))
    folder.mkdir(parents=True)
    for file in {EXPERT_WEIGHTS, EXPERT_JSON} - {name}:
        (folder / file).write_bytes((source / file).read_bytes())
    _train(trained, tmp_path, folds=[0], tasks=["boxes"])
    assert started == [("boxes", 0)]


def test_broken_card_is_named_and_its_expert_trained_again(
    workspace: Workspace, started: Started, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = _expert(workspace, tmp_path, 0)
    folder.mkdir(parents=True)
    (folder / EXPERT_WEIGHTS).touch()
    (folder / EXPERT_JSON).write_text(json.dumps({"schema_version": 1}))
    _train(workspace, tmp_path, folds=[0], tasks=["boxes"])
    assert started == [("boxes", 0)]
    assert str(folder / EXPERT_JSON) in caplog.text


def test_nothing_that_was_stopped_is_nothing_to_continue(
    workspace: Workspace, started: Started, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--c: no training of Dataset007_Boxes in folds 0, 1 was stopped"):
        _train(workspace, tmp_path, must_continue=True)
    assert started == []


def test_finished_experts_are_nothing_to_continue(trained: Workspace, started: Started) -> None:
    with pytest.raises(UsageError, match="nothing to continue"):
        _train(trained, trained.folders.results, must_continue=True)


def test_stopped_training_is_continued(workspace: Workspace, started: Started, tmp_path: Path) -> None:
    folder = _expert(workspace, tmp_path, 1)
    folder.mkdir(parents=True)
    (folder / CHECKPOINT).touch()
    _train(workspace, tmp_path, must_continue=True, tasks=["boxes"])
    assert started == [("boxes", 0), ("boxes", 1)]


def test_training_leaves_experts_and_locators_where_they_are_looked_for(trained: Workspace) -> None:
    places = Results(root=trained.folders.results, foundation="nano")
    for fold in range(2):
        assert (places.expert_fold("Dataset007_Boxes", "boxes", fold) / EXPERT_JSON).is_file()
        assert (places.locator_fold("Dataset007_Boxes", fold) / LOCATOR_JSON).is_file()


def test_what_takes_longest_is_trained_first(workspace: Workspace, started: Started, tmp_path: Path) -> None:
    long = workspace.planned.plan.model_copy(update={"locator_budget": Budget(views=8, iterations=10_000)})
    _train(workspace, tmp_path, planned=replace(workspace.planned, plan=long))
    assert started == [("locator", 0), ("locator", 1), ("boxes", 0), ("boxes", 1)]


def _train_nano(one: Any) -> None:
    """Does the work of a process that knows the network of the tests."""
    BUILDERS["nano"] = build_nano
    train_one(one)


def test_training_side_by_side_gives_the_same_weights(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_train", _train_nano)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        _train(workspace, tmp_path / "two", folds=[0], workers=2)
        torch.set_num_threads(1)
        _train(workspace, tmp_path / "one", folds=[0])
    finally:
        torch.set_num_threads(threads)
    weights = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.safetensors")}
    assert len(weights) == 2
    for path in weights:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


@pytest.mark.parametrize(
    ("cards", "asked", "workers"), [(1, None, 1), (2, None, 2), (2, 4, 4), (8, None, 4), (2, 1, 1)]
)
def test_every_card_trains_one_unless_told_otherwise(
    cards: int, asked: int | None, workers: int, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(module, "run_jobs", lambda _, jobs, *, workers, **__: begun.append(workers))
    _train(workspace, tmp_path, device="cuda", workers=asked)
    assert begun == [workers]


@pytest.mark.parametrize(
    ("cards", "place", "device"), [(1, 0, "cuda"), (2, 0, "cuda:0"), (2, 1, "cuda:1"), (2, 3, "cuda:1")]
)
def test_processes_share_the_cards(
    cards: int, place: int, device: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[str] = set()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(module, "worker_place", lambda: place)
    monkeypatch.setattr(module, "train_expert", lambda job: used.add(job.device))
    monkeypatch.setattr(module, "train_locator", lambda *_, device, **__: used.add(device))
    _train(workspace, tmp_path, device="cuda", workers=1)
    assert used == {device}
