"""Clicks as tensors, and the simulated user who corrects a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.clicks import Click, next_click


def click_tensors(clicks: Sequence[Sequence[Click]], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Packs clicks for `SamMed3D.decode`; shorter lists are padded with clicks that count for nothing.

    Args:
        clicks: for each prompt its clicks, in voxels of the window.
        device: where the tensors go.

    Returns:
        Points (B, N, 3) float32 and labels (B, N) int64: 1 positive, 0 negative, -1 padding.
    """
    longest = max(len(of_one) for of_one in clicks)
    points = torch.zeros(len(clicks), longest, 3)
    labels = torch.full((len(clicks), longest), -1, dtype=torch.int64)
    for row, of_one in enumerate(clicks):
        for column, click in enumerate(of_one):
            points[row, column] = torch.tensor(click.position)
            labels[row, column] = int(click.positive)
    return points.to(device), labels.to(device)


def correct(
    clicks: Sequence[list[Click]], masks: Tensor, targets: Tensor, valid: Tensor, rng: np.random.Generator
) -> None:
    """Adds to each prompt the click with which its mask would be corrected; none where the mask is right.

    Args:
        clicks: for each of B prompts its clicks so far; extended in place.
        masks: (B, x, y, z) booleans, the masks so far.
        targets: (B, x, y, z) booleans.
        valid: (B, x, y, z) booleans, False where the truth is unknown.
        rng: where chance comes from.
    """
    predicted, truth, known = masks.cpu().numpy(), targets.cpu().numpy(), valid.cpu().numpy()
    for index, of_one in enumerate(clicks):
        click = next_click(predicted[index], truth[index], rng, known[index])
        if click is not None:
            of_one.append(click)
