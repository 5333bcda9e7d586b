import numpy as np
import pytest
import torch

from sammoe_pipeline.mask_prompts import CERTAIN, mask_logits
from sammoe_pipeline.training.coarse_prompts import coarse_mask, loose_box


@pytest.fixture
def target() -> torch.Tensor:
    mask = torch.zeros(16, 16, 16, dtype=torch.bool)
    mask[4:12, 6:10, 2:14] = True
    return mask


def test_logits_of_a_mask_are_certain_inside_and_outside_and_between_at_the_border() -> None:
    mask = torch.zeros(1, 1, 8, 8, 8)
    mask[..., :3] = 1
    along = mask_logits(mask, 4)[0, 0, 0, 0]
    assert along.tolist() == [CERTAIN, 0.0, -CERTAIN, -CERTAIN]


def test_coarse_masks_are_near_the_target_and_seldom_equal_to_it(target: torch.Tensor) -> None:
    exact = target[::2, ::2, ::2].float()
    masks = [coarse_mask(target, 8, np.random.default_rng(seed)) for seed in range(40)]
    dice = [float(2 * (mask * exact).sum() / (mask.sum() + exact.sum())) for mask in masks]
    assert min(dice) > 0.2
    assert 0.35 < np.mean(dice) < 0.95
    assert sum(value == 1 for value in dice) < 10


def test_loose_boxes_are_boxes_about_the_target(target: torch.Tensor) -> None:
    for seed in range(20):
        box = loose_box(target, 8, np.random.default_rng(seed))
        inside = torch.nonzero(box)
        low, high = inside.amin(dim=0), inside.amax(dim=0) + 1
        assert box.sum() == (high - low).prod()
        assert ((low - torch.tensor([2, 3, 1])).abs() <= 2).all()
        assert ((high - torch.tensor([6, 5, 7])).abs() <= 2).all()


def test_tiny_target_keeps_a_coarse_mask() -> None:
    one = torch.zeros(16, 16, 16, dtype=torch.bool)
    one[8, 8, 8] = True
    assert all(loose_box(one, 8, np.random.default_rng(seed)).any() for seed in range(10))
