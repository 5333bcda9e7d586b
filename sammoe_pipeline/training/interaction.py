"""Clicks as tensors, and the simulated user who corrects a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sammoe_pipeline.clicks import Click, next_click
from sammoe_pipeline.model import MaskDecoder, SamMed3D, Seen
from sammoe_pipeline.training.losses import MaskLoss


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


Chance = np.random.Generator | Sequence[np.random.Generator]
"""One generator for all prompts of a batch, or one for each: then a prompt's clicks depend on no other prompt."""


def correct(clicks: Sequence[list[Click]], masks: Tensor, targets: Tensor, valid: Tensor, rng: Chance) -> None:
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
        own = rng if isinstance(rng, np.random.Generator) else rng[index]
        click = next_click(predicted[index], truth[index], own, known[index])
        if click is not None:
            of_one.append(click)


def interactive_loss(
    model: SamMed3D,
    embedding: Tensor | Seen,
    clicks: Sequence[Click | Sequence[Click]],
    targets: Tensor,
    valid: Tensor,
    *,
    loss_of: MaskLoss,
    rounds: int,
    rng: Chance,
    decoder: MaskDecoder | None = None,
    coarse: bool = False,
    given_logits: Tensor | None = None,
) -> Tensor:
    """Plays an interaction as prediction will have it, and returns the mean loss over its rounds.

    Each decoding gets all clicks so far and the previous logits; after each, the simulated user corrects the mask.

    Args:
        model: the foundation.
        embedding: (B, `embedding_channels`, g, g, g); or what the decoder saw in it.
        clicks: of each of B prompts the first click, or all that it begins with.
        targets: (B, 1, P, P, P), 0 or 1.
        valid: (B, 1, P, P, P), False where the truth is unknown.
        loss_of: the loss of one mask.
        rounds: decodings.
        rng: where the user's chance comes from.
        decoder: the expert being trained; None trains the general decoder.
        coarse: compare on the mask grid, with averaged targets, where a cell counts if all of it is known: a small part
            of the work, at the cost of half a cell at the border.
        given_logits: (B, 1, m, m, m), the mask that a prompt begins with, 0 where it begins without; None: all do.
    """
    so_far = [[click] if isinstance(click, Click) else list(click) for click in clicks]
    total = torch.zeros((), device=targets.device)
    if coarse:
        cells = model.mask_size
        coarse_targets = F.adaptive_avg_pool3d(targets, cells)
        coarse_valid = F.adaptive_avg_pool3d(valid.float(), cells) == 1
    previous = given_logits
    for index in range(rounds):
        points, labels = click_tensors(so_far, targets.device)
        logits = model.decode(embedding, points, labels, previous, mask_decoder=decoder).float()
        if coarse:
            total = total + loss_of(logits, coarse_targets, coarse_valid)
        else:
            total = total + loss_of(model.upsample(logits), targets, valid)
        if index + 1 < rounds:
            previous = logits.detach()
            correct(so_far, model.upsample(previous)[:, 0] > 0, targets[:, 0] > 0, valid[:, 0], rng)
    return total / rounds
