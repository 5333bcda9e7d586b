"""The image encoder at full size, ours and that of the package `medim`, with the same random weights."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from medim.models.sam_med3d import build_sam3D_vit_b_ori
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.model.image_encoder import ImageEncoder

DEPTH, PATCH = 12, 128
_TOKENS, _WIDTH, _CUBE, _CHANNELS = 512, 768, 16**3, 384


def save_random_weights(path: Path, depth: int) -> None:
    """Writes weights in which what is zero at first, such as relative positions and biases, is not."""
    torch.manual_seed(0)
    encoder = build_sam3D_vit_b_ori(encoder_depth=depth).image_encoder
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias") or "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.3)
    save_file(encoder.state_dict(), path)


def public_encoder(weights: Path, depth: int) -> nn.Module:
    with torch.device("meta"):
        encoder: nn.Module = build_sam3D_vit_b_ori(encoder_depth=depth).image_encoder
    return _loaded(encoder, weights)


def our_encoder(weights: Path, depth: int, precision: torch.dtype = torch.float32) -> ImageEncoder:
    with torch.device("meta"):
        encoder = build_sam_med3d("vit_b").image_encoder
    encoder.blocks = encoder.blocks[:depth]
    _loaded(encoder, weights)
    if precision != torch.float32:
        for block in encoder.blocks:
            block.compute_in(precision)
    assert isinstance(encoder, ImageEncoder)
    return encoder


def _loaded(encoder: nn.Module, weights: Path) -> nn.Module:
    # Copied, since a mapped file would come into memory only with the first use.
    state = {name: value.clone() for name, value in load_file(weights).items()}
    encoder.load_state_dict(state, strict=True, assign=True)
    return encoder.eval().requires_grad_(False)


def patches(batch: int) -> Tensor:
    """Returns (batch, 1, P, P, P) of noise, the same whenever asked."""
    return torch.randn(batch, 1, PATCH, PATCH, PATCH, generator=torch.Generator().manual_seed(1))


def gigaflop(depth: int) -> float:
    """Floating-point operations of one patch in matrix products and convolutions, in 1e9, a multiplication and an
    addition counted as two."""
    linear = 12 * _WIDTH**2  # query, key, value, projection and a perceptron four times as wide
    attention = 2 * (_TOKENS + 1) * _WIDTH
    embedding, neck = _CUBE * _WIDTH, _WIDTH * _CHANNELS + 27 * _CHANNELS**2
    return 2 * _TOKENS * (depth * (linear + attention) + embedding + neck) / 1e9


def median_seconds(work: Callable[[], object], runs: int, warm_up: int = 1) -> float:
    """Runs work some times and returns the median of its seconds; on a card, until the card is done."""
    seconds = []
    for run in range(warm_up + runs):
        _finish()
        began = time.perf_counter()
        work()
        _finish()
        if run >= warm_up:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def multiply_rate(precision: torch.dtype, device: str, side: int, runs: int = 9) -> float:
    """Returns the 1e9 operations a second at which a device multiplies square matrices."""
    matrix = torch.randn(side, side, device=device, dtype=precision)
    return 2 * side**3 / median_seconds(lambda: matrix @ matrix, runs, warm_up=2) / 1e9


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
