import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.training.interaction import click_tensors, correct, interactive_loss
from sammoe_pipeline.training.losses import MaskLoss

SIZE = 8


class Painter(nn.Module):
    """Stands for a foundation and its decoder: always the same mask, half of the window; keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        logits = torch.full((1, 1, SIZE, SIZE, SIZE), -4.0)
        logits[:, :, :4] = 4.0
        self.logits = nn.Parameter(logits)
        self.given: list[tuple[Tensor, Tensor, Tensor | None, object]] = []

    def decode(
        self,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        previous_logits: Tensor | None = None,
        *,
        mask_decoder: object = None,
    ) -> Tensor:
        self.given.append((points, labels, previous_logits, mask_decoder))
        return self.logits.expand(len(points), -1, -1, -1, -1)

    def upsample(self, logits: Tensor) -> Tensor:
        return logits


@pytest.fixture
def targets() -> Tensor:
    """Two targets (2, 1, 8, 8, 8): three quarters of the window, and what the painter paints."""
    masks = torch.zeros(2, 1, SIZE, SIZE, SIZE)
    masks[0, :, :6] = 1
    masks[1, :, :4] = 1
    return masks


CLICKS = [Click(position=(1.0, 4.0, 4.0)), Click(position=(2.0, 3.0, 3.0))]


def _loss(painter: Painter, targets: Tensor, rounds: int, valid: Tensor | None = None, seed: int = 0) -> Tensor:
    return interactive_loss(
        painter,  # type: ignore[arg-type]
        torch.zeros(2, 1, 1, 1, 1),
        CLICKS,
        targets,
        torch.ones_like(targets, dtype=torch.bool) if valid is None else valid,
        loss_of=MaskLoss(),
        rounds=rounds,
        rng=np.random.default_rng(seed),
    )


def test_shorter_lists_of_clicks_are_padded_with_clicks_that_do_not_count() -> None:
    points, labels = click_tensors(
        [[Click(position=(1.0, 2.0, 3.5)), Click(position=(4.0, 5.0, 6.0), positive=False)], [CLICKS[0]]], "cpu"
    )
    assert (points.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert labels.tolist() == [[1, 0], [1, -1]]
    assert points.tolist() == [[[1.0, 2.0, 3.5], [4.0, 5.0, 6.0]], [[1.0, 4.0, 4.0], [0.0, 0.0, 0.0]]]


def test_correction_adds_a_click_where_the_mask_is_wrong_and_none_where_it_is_right(targets: Tensor) -> None:
    masks = torch.zeros(2, SIZE, SIZE, SIZE, dtype=torch.bool)
    masks[:, :4] = True
    clicks = [[click] for click in CLICKS]
    correct(clicks, masks, targets[:, 0] > 0, torch.ones_like(masks), np.random.default_rng(0))
    (first, added), right = clicks
    assert first == CLICKS[0] and right == [CLICKS[1]]
    assert added.positive and 4 <= added.position[0] < 6


def test_each_round_gets_all_clicks_so_far_and_the_previous_logits(targets: Tensor) -> None:
    painter = Painter()
    _loss(painter, targets, rounds=3)
    assert [labels.tolist() for _, labels, _, _ in painter.given] == [
        [[1], [1]],
        [[1, 1], [1, -1]],
        [[1, 1, 1], [1, -1, -1]],
    ]
    for points, _, _, _ in painter.given:
        assert points[:, 0].tolist() == [list(click.position) for click in CLICKS]
        assert ((points[0, 1:, 0] >= 4) & (points[0, 1:, 0] < 6)).all()
    previous = [logits for _, _, logits, _ in painter.given]
    assert previous[0] is None
    for logits in previous[1:]:
        assert logits is not None and not logits.requires_grad
        assert torch.equal(logits, painter.logits.detach().expand(2, -1, -1, -1, -1))


def test_nobody_corrects_where_the_truth_is_unknown(targets: Tensor) -> None:
    painter, valid = Painter(), torch.ones_like(targets, dtype=torch.bool)
    valid[:, :, 4:] = False
    _loss(painter, targets, rounds=2, valid=valid)
    assert [labels.tolist() for _, labels, _, _ in painter.given] == [[[1], [1]], [[1], [1]]]


def test_loss_is_the_mean_over_rounds(targets: Tensor) -> None:
    # The painter does not listen, so each round costs the same.
    one, three = (_loss(Painter(), targets, rounds).item() for rounds in (1, 3))
    assert three == pytest.approx(one)


def test_gradient_reaches_the_decoder(targets: Tensor) -> None:
    painter = Painter()
    _loss(painter, targets, rounds=2).backward()
    assert painter.logits.grad is not None and painter.logits.grad.any()


def test_expert_that_is_trained_decodes_in_place_of_the_general_one(targets: Tensor) -> None:
    painter, expert = Painter(), nn.Identity()
    interactive_loss(
        painter,  # type: ignore[arg-type]
        torch.zeros(2, 1, 1, 1, 1),
        CLICKS,
        targets,
        torch.ones_like(targets, dtype=torch.bool),
        loss_of=MaskLoss(),
        rounds=2,
        rng=np.random.default_rng(0),
        decoder=expert,  # type: ignore[arg-type]
    )
    assert [decoder for _, _, _, decoder in painter.given] == [expert, expert]


def test_simulated_user_depends_on_the_generator_alone(targets: Tensor) -> None:
    painters = [Painter(), Painter()]
    for painter in painters:
        _loss(painter, targets, rounds=2, seed=3)
    first, second = (painter.given[1][0] for painter in painters)
    assert torch.equal(first, second)
