import pytest
import torch
from torch import Tensor

from sammoe_pipeline.training.losses import MaskLoss

SHAPE = (2, 1, 6, 6, 6)


@pytest.fixture
def target() -> Tensor:
    """A box in the first mask, another in the second."""
    mask = torch.zeros(SHAPE)
    mask[0, 0, 1:4, 1:5, 2:5] = 1
    mask[1, 0, 3:, :2, :] = 1
    return mask


def test_perfect_mask_costs_nothing_and_the_opposite_much(target: Tensor) -> None:
    loss, known = MaskLoss(), torch.ones(SHAPE, dtype=torch.bool)
    assert loss(40 * target - 20, target, known).item() == pytest.approx(0.0, abs=1e-4)
    assert loss(20 - 40 * target, target, known).item() > 10


def test_empty_target_rightly_left_empty_costs_nothing() -> None:
    loss = MaskLoss()
    assert loss(torch.full(SHAPE, -20.0), torch.zeros(SHAPE), torch.ones(SHAPE)).item() == pytest.approx(0.0, abs=1e-4)


def test_unknown_voxels_have_neither_cost_nor_gradient(target: Tensor) -> None:
    loss, known = MaskLoss(), torch.ones(SHAPE, dtype=torch.bool)
    known[:, :, 3:] = False
    logits = torch.randn(SHAPE, requires_grad=True)
    value = loss(logits, target, known)
    value.backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, 3:] == 0).all() and (logits.grad[:, :, :3] != 0).all()
    other = torch.where(known, logits, 5.0)
    assert loss(other, torch.where(known, target, 1 - target), known).item() == pytest.approx(value.item())


def test_masks_of_a_batch_are_judged_each_for_itself(target: Tensor) -> None:
    loss, known, logits = MaskLoss(), torch.ones(SHAPE, dtype=torch.bool), torch.randn(SHAPE)
    single = [loss(logits[i : i + 1], target[i : i + 1], known[i : i + 1]).item() for i in range(2)]
    assert loss(logits, target, known).item() == pytest.approx(sum(single) / 2, abs=1e-5)


def test_loss_is_computed_in_full_precision(target: Tensor) -> None:
    logits = torch.randn(SHAPE).to(torch.bfloat16)
    assert MaskLoss()(logits, target, torch.ones(SHAPE)).dtype == torch.float32


def test_loss_of_a_batch_is_the_mean_of_those_of_its_masks() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 1, 6, 6, 6), (torch.rand(3, 1, 6, 6, 6) > 0.7).float()
    valid = torch.ones(3, 1, 6, 6, 6)
    valid[0, :, :4] = 0
    loss = MaskLoss()
    each = [loss(logits[i : i + 1], target[i : i + 1], valid[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(logits, target, valid), torch.stack(each).mean())
