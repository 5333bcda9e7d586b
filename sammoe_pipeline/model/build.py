"""The networks by name, and all their numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .attention import Attention, WindowAttention
from .detailed_encoder import DetailedImageEncoder
from .image_encoder import Block, ImageEncoder
from .mask_decoder import MaskDecoder
from .patch_size import resize_tables
from .prompt_encoder import PromptEncoder
from .sam_med3d import SamMed3D
from .transformer import TwoWayTransformer


def _vit_b(patch_size: int = 128) -> SamMed3D:
    """The published SAM-Med3D, with every property its weights were trained with."""
    stride, width, num_heads, channels = 16, 768, 12, 384
    embedding_size = _cells(patch_size, stride)
    window_sizes = [embedding_size if index in (2, 5, 8, 11) else 14 for index in range(12)]
    return SamMed3D(
        image_encoder=ImageEncoder(
            patch_size=patch_size,
            stride=stride,
            width=width,
            blocks=[
                Block(
                    attention=WindowAttention(width=width, num_heads=num_heads, window_size=window_size),
                    width=width,
                    mlp_width=4 * width,
                )
                for window_size in window_sizes
            ],
            embedding_channels=channels,
        ),
        prompt_encoder=PromptEncoder(
            patch_size=patch_size,
            embedding_size=embedding_size,
            channels=channels,
            mask_channels=16,
            dense_axes=(1, 0, 2),
            draw_clicks=False,
            no_mask_embedding=True,
        ),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(depth=2, width=channels, cross_width=192, num_heads=8, mlp_width=2048),
            channels=channels,
            num_mask_tokens=4,
            quality_width=256,
        ),
    )


def _tiny(patch_size: int = 48) -> SamMed3D:
    """A small network to learn with and to test on: trained in minutes on a processor, on patches of 48 voxels."""
    width, channels, detail = 192, 192, 16
    embedding_size = _cells(patch_size, 8)
    model = SamMed3D(
        image_encoder=DetailedImageEncoder(
            patch_size=patch_size,
            widths=(16, 32),
            width=width,
            blocks=[
                Block(attention=Attention(width=width, num_heads=6), width=width, mlp_width=4 * width) for _ in range(6)
            ],
            context_channels=channels,
            detail_channels=detail,
        ),
        prompt_encoder=PromptEncoder(
            patch_size=patch_size,
            embedding_size=embedding_size,
            channels=channels,
            mask_channels=32,
            dense_axes=(0, 1, 2),
            draw_clicks=True,
            no_mask_embedding=False,
        ),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(depth=2, width=channels, cross_width=channels, num_heads=4, mlp_width=768),
            channels=channels,
            num_mask_tokens=1,
            quality_width=None,
            detail_channels=detail,
        ),
    )
    return _initialise(model)


BUILDERS: dict[str, Callable[..., SamMed3D]] = {"vit_b": _vit_b, "tiny": _tiny}
"""Each takes the patch size, and has the one that it was made for as default."""


def build_sam_med3d(builder: str, patch_size: int | None = None) -> SamMed3D:
    """Builds a network with random weights.

    On the meta device it takes no time and no memory, for weights that are assigned on loading.

    Args:
        builder: a name in `BUILDERS`.
        patch_size: voxels a side; by default the builder's own. Weights of another size are made to fit by
            `resize_tables`.

    Raises:
        ValueError: there is no such builder, or the patch size is no multiple of its stride.

    Example:
        >>> with torch.device("meta"):
        ...     model = build_sam_med3d("vit_b")
        >>> model.load_state_dict(weights, assign=True)
    """
    if builder not in BUILDERS:
        raise ValueError(f"builder {builder!r} is unknown; choose from {', '.join(BUILDERS)}")
    model = BUILDERS[builder]() if patch_size is None else BUILDERS[builder](patch_size)
    model.builder = builder
    return model


def has_detail(builder: str) -> bool:
    """Tells whether the embedding of a network has detail, to which an expert's second look can add."""
    with torch.device("meta"):
        return build_sam_med3d(builder).detail_channels > 0


def at_patch_size(model: SamMed3D, patch_size: int) -> SamMed3D:
    """Returns a frozen network for windows of another size.

    It computes with the very weights of the given one, wherever these are and in whatever precision; only tables of
    positions are copies, resized.

    Args:
        model: frozen, as it was built by name.
        patch_size: voxels a side, a multiple of the encoder's stride.

    Raises:
        ValueError: the patch size is no such multiple.
    """
    if patch_size == model.patch_size:
        return model
    with torch.device("meta"):
        resized = build_sam_med3d(model.builder, patch_size)
    resized.load_state_dict(resize_tables(model.state_dict(), resized.state_dict()), strict=True, assign=True)
    for mine, theirs in zip(resized.modules(), model.modules(), strict=True):
        if isinstance(mine, Block) and isinstance(theirs, Block):
            mine.precision = theirs.precision
    return resized.requires_grad_(False).eval()


def _cells(patch_size: int, stride: int) -> int:
    """Returns the side of the embedding in cells."""
    if patch_size < stride or patch_size % stride:
        raise ValueError(f"patch size {patch_size} is not a multiple of {stride}, the voxels a side of one token")
    return patch_size // stride


def _initialise(model: SamMed3D) -> SamMed3D:
    """Draws small weights and sets biases to zero, the usual start of a vision transformer."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d | nn.ConvTranspose3d | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if not isinstance(module, nn.Embedding) and module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.image_encoder.pos_embed, std=0.02)
    if model.mask_decoder.refinement is not None:
        nn.init.zeros_(model.mask_decoder.refinement.leave.weight)
    return model
