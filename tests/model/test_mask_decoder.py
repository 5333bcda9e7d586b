import pytest
import torch
from torch import Tensor

from sammoe_pipeline.model.mask_decoder import MaskDecoder
from sammoe_pipeline.model.transformer import TwoWayTransformer

NO_CLICKS = {"clicks": torch.zeros(2, 0, 3), "labels": torch.zeros(2, 0, dtype=torch.int64)}
"""A decoder without detail does not look at them."""


def build(num_mask_tokens: int, quality_width: int | None) -> MaskDecoder:
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=2, width=16, cross_width=8, num_heads=2, mlp_width=32)
    return MaskDecoder(
        transformer=transformer, channels=16, num_mask_tokens=num_mask_tokens, quality_width=quality_width
    )


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return (
        torch.randn(2, 16, 3, 3, 3),
        torch.randn(1, 16, 3, 3, 3),
        torch.randn(2, 4, 16),
        torch.randn(2, 16, 3, 3, 3),
    )


def test_one_mask_at_four_times_the_embeddings_side(inputs: tuple[Tensor, ...]) -> None:
    logits, overlaps = build(1, None)(*inputs, **NO_CLICKS)
    assert logits.shape == (2, 1, 12, 12, 12)
    assert overlaps is None


def test_first_mask_is_the_same_alone_and_among_all(inputs: tuple[Tensor, ...]) -> None:
    decoder = build(4, 8)
    every, overlaps = decoder(*inputs, **NO_CLICKS, num_masks=4)
    assert every.shape == (2, 4, 12, 12, 12)
    assert overlaps.shape == (2, 4)
    torch.testing.assert_close(decoder(*inputs, **NO_CLICKS)[0], every[:, :1])


def test_order_of_clicks_does_not_matter(inputs: tuple[Tensor, ...]) -> None:
    decoder = build(1, None)
    image, position, sparse, dense = inputs
    torch.testing.assert_close(
        decoder(image, position, sparse.flip(1), dense, **NO_CLICKS)[0], decoder(*inputs, **NO_CLICKS)[0]
    )
