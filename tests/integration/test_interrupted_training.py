"""A training that is killed ends with the weights of one that was not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from sammoe_pipeline import cli
from sammoe_pipeline.training import train_expert
from tests.integration.conftest import DATASET, Workspace


class _Killed(BaseException):
    """Stands for a signal: no handler of the pipeline catches it."""


def _train(root: Path, planned: Workspace, *more: str) -> Path:
    workspace = Workspace(root=root, foundation=planned.foundation)
    folders = [flag for flag in workspace.flags if not flag.startswith("--raw")]
    assert cli.train_expert(["-d", "7", "-f", "0", *more, *folders, *workspace.model_flags]) == 0
    return next((workspace.results / DATASET).glob("*/fold_0/expert.safetensors"))


def test_killed_expert_training_ends_with_the_same_weights(
    planned: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shutil.copytree(planned.root, tmp_path / "whole")
    shutil.copytree(planned.root, tmp_path / "killed")
    whole = _train(tmp_path / "whole", planned)
    batch_loss = train_expert._batch_loss
    calls = 0

    def killed_at_the_third(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise _Killed
        return batch_loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(train_expert, "_batch_loss", killed_at_the_third)
    with pytest.raises(_Killed):
        _train(tmp_path / "killed", planned)
    monkeypatch.setattr(train_expert, "_batch_loss", batch_loss)
    continued = _train(tmp_path / "killed", planned, "--c")
    torch.set_num_threads(threads)
    assert continued.read_bytes() == whole.read_bytes()


def test_nothing_to_continue_is_an_error(planned: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [flag for flag in planned.flags if not flag.startswith("--raw")]
    assert cli.train_expert(["-d", "7", "-f", "0", "--c", *folders, *planned.model_flags]) == 1
    assert "nothing to continue" in capsys.readouterr().err
