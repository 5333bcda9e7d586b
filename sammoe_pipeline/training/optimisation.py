"""Optimiser, learning rate and precision that all training shares."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import nn

WARM_UP = 0.03
"""Share of the iterations over which the learning rate rises."""
_WEIGHT_DECAY = 0.05


def make_optimiser(model: nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """Returns AdamW over the trainable parameters; weight decay acts on matrices and kernels only."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=learning_rate,
        fused=True,
    )


def learning_rate_at(iteration: int, iterations: int, highest: float) -> float:
    """Returns the learning rate of an iteration: a linear warm-up, then half a cosine down to a hundredth."""
    warm_up = max(1, round(WARM_UP * iterations))
    if iteration < warm_up:
        return highest * (iteration + 1) / warm_up
    progress = (iteration - warm_up) / max(1, iterations - warm_up)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def autocast(device: str) -> AbstractContextManager[object]:
    """Returns bfloat16 autocast, on every device: matrix products of processors with bfloat16 units gain the most."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
