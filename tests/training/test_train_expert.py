import csv
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from sammoe_pipeline.artefacts import CandidateExpert, ExpertCard, FoundationCard, sha256_of
from sammoe_pipeline.errors import ArtefactError, TrainingError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.paths import (
    CHECKPOINT,
    EXAMPLES_PNG,
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    FOUNDATION_JSON,
    TRAINING_LOG,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training import train_expert as module
from sammoe_pipeline.training.checkpoint import load_checkpoint
from sammoe_pipeline.training.expert_job import ExpertJob
from sammoe_pipeline.training.expert_lesson import Lesson
from sammoe_pipeline.training.expert_scores import CLICKS, ByClicks
from sammoe_pipeline.training.train_expert import train_expert
from tests.conftest import MakeWorkspace, Workspace


def _job(workspace: Workspace, root: Path, planned: PlannedDataset | None = None, **changes: Any) -> ExpertJob:
    planned, foundation = planned or workspace.planned, workspace.foundation
    places = Results(root=root, foundation=foundation.card.name)
    return ExpertJob(planned, planned.plan.tasks[0], 0, foundation, places, "cpu", **changes)


def _train(workspace: Workspace, root: Path, planned: PlannedDataset | None = None, **changes: Any) -> ExpertCard:
    card = train_expert(_job(workspace, root, planned, **changes))
    assert card is not None
    return card


def _folder(workspace: Workspace, root: Path) -> Path:
    places = Results(root=root, foundation=workspace.foundation.card.name)
    return places.expert_fold(workspace.planned.name, "boxes", 0)


def _with(planned: PlannedDataset, *, iterations: int, **training: object) -> PlannedDataset:
    plan = planned.plan
    budget = plan.tasks[0].budget.model_copy(update={"iterations": iterations})
    changed = {
        "tasks": (plan.tasks[0].model_copy(update={"budget": budget}),),
        "training": plan.training.model_copy(update=training),
    }
    return replace(planned, plan=plan.model_copy(update=changed))


@pytest.fixture(scope="module")
def expert(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an expert of both classes."""
    root = tmp_path_factory.mktemp("experts")
    _train(workspace, root)
    return _folder(workspace, root)


def test_expert_is_a_decoder_that_has_learnt_beside_an_unchanged_foundation(workspace: Workspace, expert: Path) -> None:
    general = workspace.foundation.load_model().mask_decoder.state_dict()
    weights = load_file(expert / EXPERT_WEIGHTS)
    assert weights.keys() == general.keys()
    assert any(not torch.equal(weights[name], general[name]) for name in general)
    assert sha256_of(workspace.foundation.weights) == workspace.foundation.card.sha256


def test_card_says_what_the_expert_serves_and_belongs_to(workspace: Workspace, expert: Path) -> None:
    card, planned = ExpertCard.load(expert / EXPERT_JSON), workspace.planned
    assert (card.dataset, card.task, card.classes, card.fold) == (planned.name, "boxes", ("near", "far"), 0)
    assert card.configuration == workspace.foundation.native
    assert card.foundation_sha256 == workspace.foundation.card.sha256
    assert card.recipe == planned.recipe(0, planned.plan.tasks[0])
    assert card.sha256 == sha256_of(expert / EXPERT_WEIGHTS)
    assert card.iterations == 6
    assert card.calibration_dice.keys() == card.general_calibration_dice.keys() == {"near", "far"}


def test_log_and_checkpoint_follow_the_training(expert: Path) -> None:
    with (expert / TRAINING_LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert load_checkpoint(expert / CHECKPOINT)["iteration"] == 6


def test_same_plan_gives_the_same_weights(workspace: Workspace, expert: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    first, second = (_train(workspace, tmp_path / name).sha256 for name in ("a", "b"))
    torch.set_num_threads(threads)
    assert first == second


def test_held_out_cases_are_never_read(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]], tmp_path: Path
) -> None:
    a, b, c, d = boxes
    made = make_workspace(boxes, {"near": 1, "far": 2}, folds=[((a, b), (c,), (d,))])
    paths = made.planned.paths
    for file in (paths.image("native", d), paths.segmentation("native", d), paths.properties("native", d)):
        file.unlink()
    _train(made, tmp_path / "expert", _with(made.planned, iterations=1))


def _scripted(values: list[float]) -> Callable[..., ByClicks]:
    """Returns a stand-in for measuring: Dice of each check, then of the expert and of the general one."""
    left: Iterator[float] = iter(values)
    return lambda *_, clicks=CLICKS, **__: {1: {"near": next(left)}} if 1 in clicks else {}


def test_weights_of_the_first_best_check_are_kept(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "dice_by_clicks", _scripted([0.2, 0.6, 0.3, 0.6, 0.6, 0.1]))
    best = _train(workspace, tmp_path / "best", _with(workspace.planned, iterations=4))
    assert (best.best_iteration, best.iterations) == (2, 4)
    assert best.general_calibration_dice == {"near": 0.1}
    state = load_checkpoint(_folder(workspace, tmp_path / "best") / CHECKPOINT)
    weights = load_file(_folder(workspace, tmp_path / "best") / EXPERT_WEIGHTS)
    torch.testing.assert_close(weights, dict(state["best_weights"]))
    assert any(not torch.equal(weights[name], value) for name, value in state["student"].items())


class _Killed(BaseException):
    """Stands for a signal."""


def test_stopped_training_ends_with_the_weights_of_one_that_was_not(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = _train(workspace, tmp_path / "whole")
    step, last = torch.optim.AdamW.step, int(np.random.default_rng().integers(1, 6))
    steps = 0

    def killed_at_a_random_step(*arguments: Any, **more: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > last:
            raise _Killed
        return step(*arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", killed_at_a_random_step)
    with pytest.raises(_Killed):
        _train(workspace, tmp_path / "stopped")
    assert load_checkpoint(_folder(workspace, tmp_path / "stopped") / CHECKPOINT)["iteration"] == last
    assert not (_folder(workspace, tmp_path / "stopped") / EXPERT_JSON).exists()
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    continued = _train(workspace, tmp_path / "stopped")
    torch.set_num_threads(threads)
    assert continued.sha256 == whole.sha256, f"stopped after {last} steps"
    # The last weights too, whichever were kept.
    last = [
        load_checkpoint(_folder(workspace, tmp_path / name) / CHECKPOINT)["student"] for name in ("whole", "stopped")
    ]
    torch.testing.assert_close(*last, rtol=0, atol=0)


def test_checkpoint_of_another_plan_is_not_continued(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "dice_by_clicks", lambda *_, **__: {1: {"near": 0.5}})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    other, plan = _with(workspace.planned, learning_rate=0.1, iterations=3), _with(workspace.planned, iterations=3)
    _train(workspace, tmp_path / "again", other)
    card = _train(workspace, tmp_path / "again", plan)
    expected = _train(workspace, tmp_path / "fresh", plan)
    torch.set_num_threads(threads)
    assert "another plan, split or foundation" in caplog.text
    assert card.sha256 == expected.sha256


def test_loss_that_is_not_finite_ends_the_training(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lesson, "loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainingError, match=r"The loss is nan at iteration 0\. Lower training\.learning_rate"):
        _train(workspace, tmp_path / "expert")
    assert not (_folder(workspace, tmp_path / "expert") / EXPERT_JSON).exists()


def test_plan_without_iterations_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Raise budget\.iterations"):
        _train(workspace, tmp_path / "expert", _with(workspace.planned, iterations=0))


def _starting_from(planned: PlannedDataset, expert: ExpertCard) -> PlannedDataset:
    key = "Dataset009_Others/lumps"
    candidate = CandidateExpert(expert=key, fold=1, sha256=expert.sha256)
    tasks = (planned.plan.tasks[0].model_copy(update={"start_from": key}),)
    return replace(planned, plan=planned.plan.model_copy(update={"tasks": tasks, "candidate_experts": (candidate,)}))


def test_finetuning_goes_on_from_another_datasets_expert(workspace: Workspace, expert: Path, tmp_path: Path) -> None:
    """Without a step to speak of, the new expert is the one it started from."""
    other = Results(root=tmp_path, foundation=workspace.foundation.card.name).expert_fold(
        "Dataset009_Others", "lumps", 1
    )
    shutil.copytree(expert, other)
    planned = _starting_from(
        _with(workspace.planned, iterations=1, learning_rate=1e-12), ExpertCard.load(expert / EXPERT_JSON)
    )
    card = _train(workspace, tmp_path, planned)
    assert card.start_from == "Dataset009_Others/lumps"
    learnt, first = (load_file(f / EXPERT_WEIGHTS) for f in (_folder(workspace, tmp_path), expert))
    for name in first:
        torch.testing.assert_close(learnt[name], first[name])
    (other / EXPERT_WEIGHTS).write_bytes(b"trained again")
    with pytest.raises(ArtefactError, match="was changed or belongs to something else"):
        _train(workspace, tmp_path, planned)


def test_a_start_that_the_plan_does_not_list_is_an_error(workspace: Workspace, expert: Path, tmp_path: Path) -> None:
    planned = _starting_from(workspace.planned, ExpertCard.load(expert / EXPERT_JSON))
    alone = replace(planned, plan=planned.plan.model_copy(update={"candidate_experts": ()}))
    with pytest.raises(ArtefactError, match=r"tasks.boxes.start_from is 'Dataset009_Others/lumps'. It may be: general"):
        _train(workspace, tmp_path, alone)


def test_training_ends_early_where_calibration_is_long_no_better(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "dice_by_clicks", _scripted([0.6, *[0.5] * 20]))
    card = _train(workspace, tmp_path, _with(workspace.planned, iterations=10))
    assert (card.best_iteration, card.iterations, card.stopped_early) == (1, 6, True)


def test_card_has_a_table_by_number_of_clicks_and_examples_lie_beside_it(expert: Path) -> None:
    card = ExpertCard.load(expert / EXPERT_JSON)
    assert card.calibration_by_clicks.keys() == card.general_calibration_by_clicks.keys() == {"1", "3"}
    assert card.calibration_by_clicks["1"] == card.calibration_dice
    assert (expert / EXAMPLES_PNG).read_bytes().startswith(b"\x89PNG")
    assert card.unfrozen == "nothing"


def test_finished_training_is_continued_with_a_larger_budget(workspace: Workspace, tmp_path: Path) -> None:
    _train(workspace, tmp_path, _with(workspace.planned, iterations=3))
    longer = _with(workspace.planned, iterations=6)
    _train(workspace, tmp_path, longer, must_continue=True)
    state = load_checkpoint(_folder(workspace, tmp_path) / CHECKPOINT)
    assert [row["iteration"] for row in state["log"]] == [1, 2, 3, 4, 5, 6]
    assert state["extended"][0] == 3


def test_checkpoint_of_another_plan_is_an_error_where_it_was_to_be_continued(
    workspace: Workspace, tmp_path: Path
) -> None:
    _train(workspace, tmp_path, _with(workspace.planned, iterations=1))
    with pytest.raises(UsageError, match="cannot be continued"):
        _train(workspace, tmp_path, _with(workspace.planned, iterations=1, batch_size=3), must_continue=True)


@pytest.mark.parametrize("part", ["neck", "all"])
def test_unfrozen_training_changes_that_part_of_the_encoder_alone(
    workspace: Workspace, tmp_path: Path, part: str
) -> None:
    job = _job(workspace, tmp_path, _with(workspace.planned, iterations=2), unfrozen=part)
    card = train_expert(job)
    assert card is not None and card.unfrozen == part
    assert not (_folder(workspace, tmp_path) / EXPERT_JSON).exists()
    own = Foundation(card=FoundationCard.load(job.folder / FOUNDATION_JSON), folder=job.folder)
    learnt, first = own.verify().state_dict(), workspace.foundation.load_model().state_dict()
    changed = {name for name in first if not torch.equal(learnt[name], first[name])}
    assert any(name.startswith("mask_decoder.") for name in changed)
    assert any(name.startswith("image_encoder.neck.") for name in changed)
    assert any(name.startswith("image_encoder.blocks.") for name in changed) == (part == "all")
    assert not any(name.startswith("prompt_encoder.") for name in changed)


def test_start_from_scratch_is_a_decoder_of_random_weights(workspace: Workspace, tmp_path: Path) -> None:
    planned = _with(workspace.planned, iterations=1, learning_rate=1e-12)
    scratch = replace(
        planned,
        plan=planned.plan.model_copy(
            # The foundation of the tests has the random weights of seed 0.
            update={"seed": 5, "tasks": (planned.plan.tasks[0].model_copy(update={"start_from": "scratch"}),)}
        ),
    )
    _train(workspace, tmp_path, scratch)
    learnt, general = load_file(_folder(workspace, tmp_path) / EXPERT_WEIGHTS), workspace.foundation.load_model()
    assert not torch.allclose(learnt["mask_tokens.weight"], general.mask_decoder.mask_tokens.weight, atol=1e-3)


def test_expert_of_a_class_that_no_calibration_case_has_is_judged_on_its_training_cases(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = dict(boxes)
    a, b, c, d = cases
    cases[c] = np.zeros_like(cases[c])
    rare = make_workspace(cases, {"near": 1, "far": 2}, folds=[((a, b), (c,), (d,))])
    card = _train(rare, tmp_path)
    assert card.judged_on == "train" and set(card.calibration_dice) == {"near", "far"}
    assert "the training cases tell which weights are kept" in caplog.text
