import csv
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from sammoe_pipeline.artefacts import CandidateExpert, ExpertCard, sha256_of
from sammoe_pipeline.errors import ArtefactError, TrainingError
from sammoe_pipeline.paths import CHECKPOINT, EXPERT_JSON, EXPERT_WEIGHTS, TRAINING_LOG, Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training import train_expert as module
from sammoe_pipeline.training.checkpoint import load_checkpoint
from sammoe_pipeline.training.train_expert import train_expert
from tests.conftest import MakeWorkspace, Workspace


def _train(workspace: Workspace, root: Path, planned: PlannedDataset | None = None) -> ExpertCard:
    planned, foundation = planned or workspace.planned, workspace.foundation
    places = Results(root=root, foundation=foundation.card.name)
    return train_expert(planned, planned.plan.tasks[0], 0, foundation=foundation, places=places, device="cpu")


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


def _scripted(values: list[float]) -> Callable[..., dict[str, float]]:
    """Returns a stand-in for measuring: Dice of the general expert first, then of each check."""
    left: Iterator[float] = iter(values)
    return lambda *_: {"near": next(left)}


def test_weights_of_the_first_best_check_are_kept(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_dice_by_class", _scripted([0.1, 0.2, 0.6, 0.3, 0.6, 0.6]))
    best = _train(workspace, tmp_path / "best", _with(workspace.planned, iterations=4))
    assert (best.best_iteration, best.iterations) == (2, 4)
    assert best.general_calibration_dice == {"near": 0.1}
    state = load_checkpoint(_folder(workspace, tmp_path / "best") / CHECKPOINT)
    weights = load_file(_folder(workspace, tmp_path / "best") / EXPERT_WEIGHTS)
    torch.testing.assert_close(weights, dict(state["best_weights"]))
    assert any(not torch.equal(weights[name], value) for name, value in state["decoder"].items())


class _Killed(BaseException):
    """Stands for a signal."""


def test_stopped_training_ends_with_the_weights_of_one_that_was_not(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = _train(workspace, tmp_path / "whole")
    measure, checks = module._dice_by_class, 0

    def killed_at_the_fourth_check(*arguments: object) -> dict[str, float]:
        nonlocal checks
        checks += 1
        if checks == 5:
            raise _Killed
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_dice_by_class", killed_at_the_fourth_check)
    with pytest.raises(_Killed):
        _train(workspace, tmp_path / "stopped")
    assert load_checkpoint(_folder(workspace, tmp_path / "stopped") / CHECKPOINT)["iteration"] == 3
    assert not (_folder(workspace, tmp_path / "stopped") / EXPERT_JSON).exists()
    monkeypatch.setattr(module, "_dice_by_class", measure)
    continued = _train(workspace, tmp_path / "stopped")
    torch.set_num_threads(threads)
    assert continued.sha256 == whole.sha256
    # The last weights too, whichever were kept.
    last = [
        load_checkpoint(_folder(workspace, tmp_path / name) / CHECKPOINT)["decoder"] for name in ("whole", "stopped")
    ]
    torch.testing.assert_close(*last, rtol=0, atol=0)


def test_checkpoint_of_another_plan_is_not_continued(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_dice_by_class", lambda *_: {"near": 0.5})
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
    monkeypatch.setattr(module, "_batch_loss", lambda *_: torch.tensor(float("nan")))
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
