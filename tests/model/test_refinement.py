from __future__ import annotations

import pytest
import torch

from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.model.refinement import Refinement, nearness


def test_it_adds_nothing_before_it_is_trained() -> None:
    torch.manual_seed(0)
    refinement = build_sam_med3d("tiny").mask_decoder.refinement
    cells = torch.randn(2, 8, 8, 8, 24)
    clicks, labels = torch.rand(2, 3, 3), torch.tensor([[1, 0, -1], [1, 1, 0]])
    assert torch.equal(refinement(cells, clicks, labels), cells)


def test_it_learns_from_the_first_step() -> None:
    torch.manual_seed(0)
    refinement = build_sam_med3d("tiny").mask_decoder.refinement
    refinement(torch.randn(1, 8, 8, 8, 24), torch.rand(1, 1, 3), torch.ones(1, 1)).square().sum().backward()
    assert refinement.leave.weight.grad.abs().sum() > 0


def test_a_cell_sees_as_many_cells_further_as_there_are_convolutions() -> None:
    torch.manual_seed(0)
    refinement = Refinement(channels=4, width=6, depth=2).double()
    cells = torch.randn(1, 9, 9, 9, 4, dtype=torch.float64)
    clicks, labels = torch.full((1, 1, 3), 0.5, dtype=torch.float64), torch.ones(1, 1)
    before = refinement(cells, clicks, labels)
    cells[0, 4, 4, 4] += 1
    changed = (refinement(cells, clicks, labels) != before).any(dim=-1)[0].nonzero()
    assert changed.amin(dim=0).tolist() == [2, 2, 2]
    assert changed.amax(dim=0).tolist() == [6, 6, 6]


def test_nearness_is_one_at_a_click_and_falls_off() -> None:
    positive = nearness(torch.tensor([[[0.125, 0.375, 0.625]]]), torch.ones(1, 1), 4)[0, ..., :2]
    assert positive[0, 1, 2].tolist() == [1, 1]
    assert (positive[0, 1, 3] < positive[0, 1, 2]).all()
    assert positive[0, 1, 3, 0] < positive[0, 1, 3, 1]
    assert positive[0, 1, 3, 1] == pytest.approx(torch.exp(torch.tensor(-0.25 / 0.2)).item())


def test_signs_are_told_apart_and_padding_counts_for_nothing() -> None:
    clicks = torch.rand(1, 2, 3)
    near = nearness(clicks, torch.tensor([[0, -1]]), 4)[0]
    assert not near[..., :2].any()
    assert torch.equal(near[None], nearness(clicks[:, :1], torch.tensor([[0]]), 4))


def test_without_clicks_nothing_is_near() -> None:
    assert not nearness(torch.zeros(2, 0, 3), torch.zeros(2, 0), 4).any()
