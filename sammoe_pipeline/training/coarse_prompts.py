"""Coarse masks and boxes as a user or another tool would give them, simulated from the truth."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_MASK_SHIFT, _BOX_SHIFT = 1, 2
"""Most cells that a mask, and each face of a box, is moved by."""
_BLUR = (1, 3, 5)
_THRESHOLD = (0.2, 0.7)


def coarse_mask(target: Tensor, cells: int, rng: np.random.Generator) -> Tensor:
    """Returns a target as a poor segmentation would have it: smoothed, too large or too small, and moved.

    Args:
        target: (P, P, P) booleans.
        cells: m, side of the decoder's mask.
        rng: where chance comes from.

    Returns:
        (m, m, m) of 0 and 1; empty where nothing is left of the target.
    """
    shares = F.adaptive_avg_pool3d(target[None, None].float(), cells)
    kernel = int(rng.choice(_BLUR))
    smooth = F.avg_pool3d(shares, kernel, stride=1, padding=kernel // 2)[0, 0]
    coarse = smooth >= float(rng.uniform(*_THRESHOLD)) * smooth.max().clamp(min=1e-6)
    return _moved(coarse, rng.integers(-_MASK_SHIFT, _MASK_SHIFT + 1, size=3).tolist()).float()


def loose_box(target: Tensor, cells: int, rng: np.random.Generator) -> Tensor:
    """Returns the box around a target as a user would draw it: each face a little off.

    Args:
        target: (P, P, P) booleans, not empty.
        cells: m, side of the decoder's mask.
        rng: where chance comes from.

    Returns:
        (m, m, m) of 0 and 1.
    """
    inside = torch.nonzero(F.adaptive_max_pool3d(target[None, None].float(), cells)[0, 0])
    low = inside.amin(dim=0).numpy() - rng.integers(-1, _BOX_SHIFT + 1, size=3)
    high = inside.amax(dim=0).numpy() + 1 + rng.integers(-1, _BOX_SHIFT + 1, size=3)
    box = torch.zeros((cells,) * 3)
    box[tuple(slice(max(0, int(a)), max(int(a) + 1, int(b))) for a, b in zip(low, high, strict=True))] = 1
    return box


def _moved(mask: Tensor, by: list[int]) -> Tensor:
    """Moves a mask by whole cells; what leaves the window is lost."""
    out = torch.zeros_like(mask)
    side = mask.shape[0]
    to = tuple(slice(max(0, step), side + min(0, step)) for step in by)
    of = tuple(slice(max(0, -step), side + min(0, -step)) for step in by)
    out[to] = mask[of]
    return out
