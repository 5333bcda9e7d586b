"""A second lesson for an encoder that is trained from scratch: which structure lies at every cell of the mask grid.

A click asks about one structure, so clicks alone teach an encoder slowly where borders run. Asked about all of a view
at once, it learns from every voxel that has a label.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.detailed_encoder import detail_of
from sammoe_pipeline.model.layers import PatchConvTranspose3d

UNKNOWN = -1
"""Structure of voxels that teach nothing: outside the case, or of a class that is not to be learnt."""


class Recognition(nn.Module):
    """Reads structures off the embedding by one linear map, which is dropped after training.

    It reads each mask cell's detail, or, from an encoder without detail, each cell's context.

    Args:
        model: whose embedding it reads.
        structures: how many structures there are, with the background.
    """

    def __init__(self, model: SamMed3D, structures: int) -> None:
        super().__init__()
        self.context_channels = model.context_channels
        self.read: nn.Linear | PatchConvTranspose3d
        if model.detail_channels:
            self.read = nn.Linear(model.detail_channels, structures)
        else:
            cells = model.mask_size // model.embedding_size
            self.read = PatchConvTranspose3d(model.context_channels, structures, size=cells)

    def loss(self, embedding: Tensor, structures: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the cross-entropy; rarer structures weigh more, by the root of how often the batch shows them.

        Args:
            embedding: (B, `embedding_channels`, g, g, g).
            structures: (B, P, P, P), integers; `UNKNOWN` teaches nothing.
            rng: draws which voxel of each mask cell names its structure.
        """
        if isinstance(self.read, nn.Linear):
            logits: Tensor = self.read(detail_of(embedding, self.context_channels))
        else:
            logits = self.read(embedding.permute(0, 2, 3, 4, 1))
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
