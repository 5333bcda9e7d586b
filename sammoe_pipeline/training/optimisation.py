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


def rate_after_extension(iteration: int, iterations: int, planned: float, at: int, rate: float) -> float:
    """Returns the learning rate of an iteration after another budget was taken up.

    It goes over from what it was to what the new budget's curve has, without a jump, over as many iterations as a
    warm-up takes. A budget that is smaller than what was done already leaves it where the curve ends.

    Args:
        iteration: from `at` on.
        iterations: the new budget.
        planned: rate of the iteration on the new budget's curve.
        at: iteration at which the budget was changed.
        rate: of the step before it.
    """
    share = min(1.0, (iteration - at + 1) / max(1, round(WARM_UP * iterations)))
    return (1 - share) * rate + share * planned


def autocast(device: str) -> AbstractContextManager[object]:
    """Returns bfloat16 autocast, where the device has kernels for it: matrix products gain the most.

    Training computes in it throughout, the frozen encoder included: what it rounds off is far less than what
    augmentation and the noise of the gate's teaching add. Answers are never computed in it unless that is asked for.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        has_kernels = torch.cuda.is_bf16_supported(False)
    else:
        # Elsewhere torch falls back to loops that take several times as long as float32.
        # A build without the library, as Apple's, has not even the question.
        has_library = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        has_kernels = has_library and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=has_kernels)
