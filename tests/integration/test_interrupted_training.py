"""A training that is killed ends with the weights of one that was not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from sammoe_pipeline.commands.train_expert import main as sammoe_train_expert
from sammoe_pipeline.training.expert_lesson import Lesson
from tests.integration.conftest import DATASET, Workspace


class _Killed(BaseException):
    """Stands for a signal: no handler of the pipeline catches it."""


def _train(root: Path, planned: Workspace, *more: str) -> Path:
    workspace = Workspace(root=root, foundation=planned.foundation)
    folders = [flag for flag in workspace.flags if not flag.startswith("--raw")]
    assert sammoe_train_expert(["-d", "7", "-f", "0", *more, *folders, *workspace.model_flags]) == 0
    return next((workspace.results / DATASET).glob("*/fold_0/expert.safetensors"))


def test_killed_expert_training_ends_with_the_same_weights(
    planned: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shutil.copytree(planned.root, tmp_path / "whole")
    shutil.copytree(planned.root, tmp_path / "killed")
    whole = _train(tmp_path / "whole", planned)
    loss = Lesson.loss

    def killed_at_the_third(lesson: Lesson, iteration: int) -> torch.Tensor:
        if iteration == 2:
            raise _Killed
        return loss(lesson, iteration)

    with monkeypatch.context() as patched, pytest.raises(_Killed):
        patched.setattr(Lesson, "loss", killed_at_the_third)
        _train(tmp_path / "killed", planned)
    continued = _train(tmp_path / "killed", planned, "--c")
    torch.set_num_threads(threads)
    assert continued.read_bytes() == whole.read_bytes()


def test_nothing_to_continue_is_an_error(planned: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [flag for flag in planned.flags if not flag.startswith("--raw")]
    assert sammoe_train_expert(["-d", "7", "-f", "0", "--c", *folders, *planned.model_flags]) == 1
    assert "nothing to continue" in capsys.readouterr().err
