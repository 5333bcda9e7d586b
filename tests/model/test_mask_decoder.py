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
    assert build(1, None)(*inputs, **NO_CLICKS).shape == (2, 1, 12, 12, 12)


def test_heads_that_were_never_trained_are_not_computed(inputs: tuple[Tensor, ...]) -> None:
    decoder = build(4, 8)
    called: list[torch.nn.Module] = []
    for head in (*decoder.output_hypernetworks_mlps, decoder.iou_prediction_head):
        head.register_forward_hook(lambda module, *_: called.append(module))
    decoder(*inputs, **NO_CLICKS)
    assert called == [decoder.output_hypernetworks_mlps[0]]


@pytest.mark.parametrize("num_mask_tokens", [1, 4])
def test_what_is_one_for_all_prompts_is_read_once(inputs: tuple[Tensor, ...], num_mask_tokens: int) -> None:
    decoder = build(num_mask_tokens, None).double()
    image, position, sparse, dense = (tensor.double() for tensor in inputs)
    rows: list[int] = []
    decoder.transformer.layers[0].cross_attn_token_to_image.k_proj.register_forward_hook(
        lambda _, given, __: rows.append(len(given[0]))
    )
    shared = decoder(image[:1], position, sparse, dense[:1], **NO_CLICKS)
    repeated = decoder(image[:1].expand_as(image), position, sparse, dense[:1].expand_as(dense), **NO_CLICKS)
    torch.testing.assert_close(shared, repeated)
    assert rows == [1, 2]


def test_order_of_clicks_does_not_matter(inputs: tuple[Tensor, ...]) -> None:
    decoder = build(1, None)
    image, position, sparse, dense = inputs
    torch.testing.assert_close(
        decoder(image, position, sparse.flip(1), dense, **NO_CLICKS), decoder(*inputs, **NO_CLICKS)
    )
