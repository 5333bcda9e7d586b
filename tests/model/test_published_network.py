"""The `vit_b` network against the public implementation of SAM-Med3D, with the same weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sammoe_pipeline.model import SamMed3D, build_sam_med3d
from sammoe_pipeline.model.attention import WindowAttention
from sammoe_pipeline.model.image_encoder import Block, ImageEncoder

published = pytest.importorskip("medim.models.sam_med3d", reason="medim holds the public implementation")


def make_every_part_matter(model: nn.Module) -> None:
    """Draws what is initialised to zero, so that a part left out would show."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.3)


@pytest.fixture(scope="module")
def pair() -> tuple[Any, SamMed3D]:
    """The public network and ours with its weights."""
    torch.manual_seed(0)  # The bound in float32 is near to what two orders of summing differ by.
    reference = published.build_sam3D_vit_b_ori().eval()
    make_every_part_matter(reference)
    with torch.device("meta"):
        model = build_sam_med3d("vit_b").eval()
    model.load_state_dict(reference.state_dict(), strict=True, assign=True)
    return reference, model


@pytest.fixture(scope="module")
def prompts() -> tuple[Tensor, Tensor, Tensor]:
    """Two prompts of a positive, a negative and a padding click, with previous logits."""
    torch.manual_seed(1)
    return torch.rand(2, 3, 3) * 127, torch.tensor([[1, 0, -1], [1, 1, 0]]), torch.randn(2, 1, 32, 32, 32)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_keys_and_shapes_are_those_of_the_checkpoint(pair: tuple[Any, SamMed3D]) -> None:
    reference, model = pair
    ours = {name: value.shape for name, value in model.state_dict().items()}
    assert ours == {name: value.shape for name, value in reference.state_dict().items()}


@pytest.mark.parametrize(("window_size", "global_blocks"), [(5, (1,)), (7, (0,)), (5, (0, 1)), (3, (1,)), (2, ())])
def test_small_encoder_is_the_published_one(window_size: int, global_blocks: tuple[int, ...]) -> None:
    """In float64 on a grid of 4^3: in one window of other paddings than the builder's, or cut into windows."""
    reference = published.ImageEncoderViT3D(
        img_size=8,
        patch_size=2,
        embed_dim=12,
        depth=2,
        num_heads=2,
        out_chans=6,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=window_size,
        global_attn_indexes=global_blocks,
    ).double()
    make_every_part_matter(reference)
    sides = [4 if index in global_blocks else window_size for index in range(2)]
    blocks = [
        Block(attention=WindowAttention(width=12, num_heads=2, window_size=side), width=12, mlp_width=48)
        for side in sides
    ]
    encoder = ImageEncoder(patch_size=8, stride=2, width=12, blocks=blocks, embedding_channels=6).double()
    encoder.load_state_dict(reference.state_dict(), strict=True)
    image = torch.randn(2, 1, 8, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(encoder(image), reference(image), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "tolerance", "patches"), [(torch.float32, 1e-5, [0, 1]), (torch.float64, 1e-12, [0, 0])]
)
@torch.no_grad()
def test_encoder_is_the_published_one(
    pair: tuple[Any, SamMed3D], precision: torch.dtype, tolerance: float, patches: list[int]
) -> None:
    """In batches of 1, 2 and 4; the published one embeds each patch once and alone, which takes it seconds."""
    reference, model = (copy.deepcopy(network.image_encoder).to(precision) for network in pair)
    images = torch.randn(2, 1, 128, 128, 128, dtype=precision, generator=torch.Generator().manual_seed(2))
    expected = {index: reference(images[[index]]) for index in set(patches)}
    first, second = patches
    for batch in ([first], [second, first], [first, second, second, first]):
        theirs = torch.cat([expected[index] for index in batch])
        torch.testing.assert_close(model(images[batch]), theirs, rtol=0, atol=tolerance)


@torch.no_grad()
def test_prompt_encoder_is_the_published_one(
    pair: tuple[Any, SamMed3D], prompts: tuple[Tensor, Tensor, Tensor]
) -> None:
    reference, model = pair
    points, labels, previous = prompts
    theirs = reference.prompt_encoder(points=(points, labels), boxes=None, masks=previous)
    for ours, expected in zip(model.prompt_encoder(points, labels, previous), theirs, strict=True):
        assert_same(ours, expected)
    assert_same(model.prompt_encoder.dense_position_embedding(), reference.prompt_encoder.get_dense_pe())


@torch.no_grad()
def test_decoder_is_the_published_one(pair: tuple[Any, SamMed3D], prompts: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, model = pair
    points, labels, previous = prompts
    sparse, dense = model.prompt_encoder(points, labels, previous)
    inputs = (torch.randn(2, 384, 8, 8, 8), model.prompt_encoder.dense_position_embedding(), sparse, dense)
    every_mask, _ = reference.mask_decoder.predict_masks(*inputs)
    assert_same(model.mask_decoder(*inputs, clicks=points, labels=labels), every_mask[:, :1])


@torch.no_grad()
def test_decoding_is_the_published_one(pair: tuple[Any, SamMed3D], prompts: tuple[Tensor, Tensor, Tensor]) -> None:
    reference, model = pair
    points, labels, _ = prompts
    embedding = torch.randn(2, 384, 8, 8, 8)
    sparse, dense = reference.prompt_encoder(points=(points, labels), boxes=None, masks=torch.zeros(2, 1, 32, 32, 32))
    position = reference.prompt_encoder.get_dense_pe()
    expected, _ = reference.mask_decoder(embedding, position, sparse, dense, multimask_output=False)
    assert_same(model.decode(embedding, points, labels), expected)
