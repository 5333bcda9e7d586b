"""How far those who could have answered a prompt agree with the answer: what tells a mask to look at again.

The network's own estimate of its quality was never trained. What is compared instead: an expert with the general one,
the mean of an expert's folds with each of them, and the answer with what clicks elsewhere in it give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click, deep_voxels
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.segment import window_clicks
from sammoe_pipeline.model import MaskDecoder

REVIEW = 0.7
"""Answers with a mean agreement below this are to be looked at."""
_OTHER_CLICKS = 3


def agreements(
    case: EncodedCase,
    clicks: Sequence[Click],
    configuration: Configuration,
    decoders: Sequence[MaskDecoder | None],
) -> dict[str, float]:
    """Compares masks of the window around the first click, which is encoded already.

    Args:
        case: the image.
        clicks: in canonical voxels, the first positive.
        configuration: in which it was answered.
        decoders: that answered; (None,) for the general expert.

    Returns:
        Dice with the answer, from 0 to 1: "clicks", what clicks elsewhere in the mask give, on average; for an expert
        "general"; and where there are several folds "folds", on average. A mask that is empty agrees with nothing.
    """
    encoded = case.at(configuration)
    local = [case.image.click_in_configuration(click, configuration) for click in clicks]
    start = encoded.window_around(local[0].position)
    shown = window_clicks(local, local[0], start, encoded.size)
    with torch.inference_mode():
        each = encoded.logits(start, shown, *decoders).float().cpu()
        mask = each.mean(dim=0, keepdim=True) > 0
        elsewhere = [_mean(encoded, start, (click,), decoders) > 0 for click in _in_mask(encoded, mask[0, 0])]
        found = {"clicks": _mean_dice(mask, elsewhere)}
        if any(decoder is not None for decoder in decoders):
            found["general"] = _mean_dice(mask, [_mean(encoded, start, shown, (None,)) > 0])
        if len(decoders) > 1:
            found["folds"] = _mean_dice(mask, [fold[None] > 0 for fold in each])
    return found


def _mean(
    encoded: EncodedImage,
    start: tuple[int, int, int],
    clicks: tuple[Click, ...],
    decoders: Sequence[MaskDecoder | None],
) -> Tensor:
    return encoded.logits(start, clicks, *decoders).float().mean(dim=0, keepdim=True).cpu()


def _in_mask(encoded: EncodedImage, mask: Tensor) -> list[Click]:
    """Draws clicks well inside a mask (m, m, m), in voxels of the window; the same whenever asked."""
    deep = deep_voxels(mask.numpy())
    rng = np.random.default_rng(0)
    cell = encoded.size / mask.shape[0]
    clicks = []
    for _ in range(_OTHER_CLICKS if len(deep) else 0):
        x, y, z = (deep[rng.integers(len(deep))] + 0.5) * cell - 0.5
        clicks.append(Click(position=(float(x), float(y), float(z))))
    return clicks


def _mean_dice(mask: Tensor, others: Sequence[Tensor]) -> float:
    both = [2 * int((mask & other).sum()) / max(1, int(mask.sum()) + int(other.sum())) for other in others]
    return float(np.mean(both)) if both else 0.0
