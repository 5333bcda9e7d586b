"""Second lessons for an encoder that is trained from scratch: what every cell of the mask grid shows.

A click asks about one structure, so clicks alone teach an encoder slowly where borders run: after 2,000 iterations
masks still followed the embedding's coarse cells. So it is also asked for the image, and for the structure, at every
cell of the mask grid.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sammoe_pipeline.model.layers import PatchConvTranspose3d

UNKNOWN = -1
"""Structure of voxels that teach nothing: outside the case, or of a class that is not to be learnt."""
_RECONSTRUCTION_WEIGHT = 0.5
_STRUCTURE_WEIGHT = 0.25


class DenseLessons(nn.Module):
    """Linear maps from each cell of the embedding to the part of the image that it covers; dropped after training.

    Args:
        channels: C, of the embedding.
        cells: mask cells a side of one embedding cell.
        structures: how many structures there are, with the background.
    """

    def __init__(self, *, channels: int, cells: int, structures: int) -> None:
        super().__init__()
        self.image = PatchConvTranspose3d(channels, 1, size=cells)
        self.structure = PatchConvTranspose3d(channels, structures, size=cells)

    def loss(self, embedding: Tensor, images: Tensor, structures: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the weighted sum of both lessons.

        Args:
            embedding: (B, C, g, g, g).
            images: (B, 1, P, P, P), normalised.
            structures: (B, P, P, P), integers; `UNKNOWN` teaches nothing.
            rng: draws which voxel of each cell names its structure.
        """
        cells = embedding.permute(0, 2, 3, 4, 1)
        reconstruction = _RECONSTRUCTION_WEIGHT * self._reconstruction(cells, images)
        return reconstruction + _STRUCTURE_WEIGHT * self._recognition(cells, structures, rng)

    def _reconstruction(self, cells: Tensor, images: Tensor) -> Tensor:
        """Mean squared error of the image averaged onto the mask grid."""
        given = self.image(cells)[..., 0].float()
        return F.mse_loss(given, F.adaptive_avg_pool3d(images, given.shape[1])[:, 0])

    def _recognition(self, cells: Tensor, structures: Tensor, rng: np.random.Generator) -> Tensor:
        """Cross-entropy of the structure; rarer ones weigh more, by the root of how often the batch shows them."""
        logits: Tensor = self.structure(cells)
        step = structures.shape[1] // logits.shape[1]
        x, y, z = (int(first) for first in rng.integers(step, size=3))
        shown = structures[:, x::step, y::step, z::step].flatten().long()
        known = shown != UNKNOWN
        if not known.any():
            return logits.sum() * 0
        shown, logits = shown[known], logits.flatten(0, 3)[known].float()
        weights = torch.bincount(shown, minlength=logits.shape[1]).clamp(min=1).float().rsqrt()
        loss: Tensor = F.cross_entropy(logits, shown, weight=weights)
        return loss
