"""Masks and boxes as prompts: what a decoder gets in place of the logits of an earlier decoding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

CERTAIN = 4.0
"""Logit of cells that lie wholly in a mask; those wholly outside have its negative. A network's own logits are of this
size, so a mask that was given is neither overlooked nor beyond what it may correct."""


def mask_logits(masks: Tensor, mask_size: int) -> Tensor:
    """Turns masks into the logits that a decoding starts from. A box is the mask of what lies in it.

    Args:
        masks: (B, 1, P, P, P), 0 or 1, or shares between.
        mask_size: m, side of the decoder's mask in cells.

    Returns:
        (B, 1, m, m, m).

    Example:
        >>> logits = model.decode(embedding, points, labels, mask_logits(mask, model.mask_size))
    """
    return CERTAIN * (2 * F.adaptive_avg_pool3d(masks.float(), mask_size) - 1)
