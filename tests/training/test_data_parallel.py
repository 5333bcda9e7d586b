"""Two processes train one expert as one process does with the same batches."""

from __future__ import annotations

import multiprocessing
import os
import socket
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.model import BUILDERS
from sammoe_pipeline.paths import Results
from sammoe_pipeline.training import embedded_views, expert_lesson, expert_scores
from sammoe_pipeline.training.data_parallel import ALONE, Team, team
from sammoe_pipeline.training.expert_job import ExpertJob
from sammoe_pipeline.training.train_expert import train_expert
from tests.conftest import Workspace, build_nano


def test_without_torchrun_a_process_is_alone() -> None:
    with team("cpu") as (together, device):
        assert (together, device) == (ALONE, "cpu")


@pytest.mark.parametrize(("positions", "size"), [(4, 2), (5, 2), (4, 4), (3, 1)])
def test_every_position_of_a_batch_has_one_process(positions: int, size: int) -> None:
    shares = [Team(rank, size).own(positions) for rank in range(size)]
    assert sorted(position for share in shares for position in share) == list(range(positions))


def test_more_processes_than_views_in_a_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="a batch has only 2 views"):
        Team(0, 3).own(2)


def _job(workspace: Workspace, root: Path) -> ExpertJob:
    planned, foundation = workspace.planned, workspace.foundation
    places = Results(root=root, foundation=foundation.card.name)
    return ExpertJob(planned, planned.plan.tasks[0], 0, foundation, places, "cpu")


def _train_exactly(job: ExpertJob, together: Team) -> list[Tensor]:
    """Trains in float32, and returns the gradients of the first step."""
    gradients: list[Tensor] = []
    add_up = Team.add_up

    def recording(self: Team, parameters: Any, loss: Tensor) -> float:
        total = add_up(self, parameters, loss)
        if not gradients:
            gradients.extend(nn.utils.parameters_to_vector([p.grad]) for p in parameters if p.grad is not None)
        return total

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Team, "add_up", recording)
        for module in (embedded_views, expert_lesson, expert_scores):
            patch.setattr(module, "autocast", lambda _: nullcontext())
        train_expert(replace(job, team=together))
    return gradients


def _second(job: ExpertJob, environment: dict[str, str]) -> None:
    BUILDERS["nano"] = build_nano
    torch.set_num_threads(1)
    os.environ.update(environment)
    with team("cpu") as (together, _):
        _train_exactly(job, together)


def test_two_processes_reach_the_gradients_and_weights_of_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = _job(workspace, tmp_path / "one"), _job(workspace, tmp_path / "two")
    expected = _train_exactly(one, ALONE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    other = multiprocessing.get_context("spawn").Process(target=_second, args=(two, {**shared, "RANK": "1"}))
    other.start()
    for name, value in {**shared, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with team("cpu") as (together, _):
        gradients = _train_exactly(two, together)
    other.join(60)
    assert other.exitcode == 0
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)
    learnt, wanted_weights = load_file(two.weights), load_file(one.weights)
    first = workspace.foundation.load_model().mask_decoder.state_dict()
    far = sum(float((wanted_weights[name] - first[name]).square().sum()) for name in first)
    apart = sum(float((wanted_weights[name] - learnt[name]).square().sum()) for name in first)
    assert far > 0 and apart < 1e-4 * far
