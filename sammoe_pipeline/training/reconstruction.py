"""A second lesson for an encoder that is trained from scratch: keep what the mask grid can show.

A mask is at most as fine as what the embedding remembers of the image. From clicks alone that memory comes late; asked
to give back the image at the resolution of the mask grid, the encoder learns it within a few hundred iterations.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sammoe_pipeline.model.layers import PatchConvTranspose3d


class Reconstruction(nn.Module):
    """A linear map from each cell of the embedding to the part of the image that it covers; dropped after training.

    Args:
        channels: C, of the embedding.
        cells: mask cells a side of one embedding cell.
    """

    def __init__(self, *, channels: int, cells: int) -> None:
        super().__init__()
        self.expand = PatchConvTranspose3d(channels, 1, size=cells)

    def loss(self, embedding: Tensor, images: Tensor) -> Tensor:
        """Returns the mean squared error of the image averaged onto the mask grid.

        Args:
            embedding: (B, C, g, g, g).
            images: (B, 1, P, P, P), normalised.
        """
        given = self.expand(embedding.permute(0, 2, 3, 4, 1))[..., 0].float()
        return F.mse_loss(given, F.adaptive_avg_pool3d(images, given.shape[1])[:, 0])
