"""The mask decoder: embeddings of image and prompts to mask logits. An expert of a mixture is one such decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import MLP, PatchConvTranspose3d
from .transformer import TwoWayTransformer

_EPSILON = 1e-6


class MaskDecoder(nn.Module):
    """Predicts masks from embeddings.

    Args:
        transformer: lets tokens and image read each other.
        channels: C, channels of the embeddings and of the transformer, a multiple of eight.
        num_mask_tokens: masks the decoder can predict; the first is the one trained and used.
        quality_width: hidden channels of the head that predicts each mask's overlap with the truth, or None for no such
            head. The published network has one, which was never trained.
    """

    def __init__(
        self, *, transformer: TwoWayTransformer, channels: int, num_mask_tokens: int, quality_width: int | None
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.mask_tokens = nn.Embedding(num_mask_tokens, channels)
        self.output_upscaling = nn.Sequential(
            PatchConvTranspose3d(channels, channels // 4, size=2),
            nn.LayerNorm(channels // 4, eps=_EPSILON),
            nn.GELU(),
            PatchConvTranspose3d(channels // 4, channels // 8, size=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(channels, channels, channels, channels // 8) for _ in range(num_mask_tokens)
        )
        self.iou_token = self.iou_prediction_head = None
        if quality_width is not None:
            self.iou_token = nn.Embedding(1, channels)
            self.iou_prediction_head = MLP(channels, quality_width, quality_width, num_mask_tokens)

    def forward(
        self, image_embedding: Tensor, image_position: Tensor, sparse: Tensor, dense: Tensor, *, num_masks: int = 1
    ) -> tuple[Tensor, Tensor | None]:
        """Predicts the first masks.

        Args:
            image_embedding: (B or 1, C, g, g, g).
            image_position: (1, C, g, g, g), position embedding of its cells.
            sparse: (B, N, C), tokens of the clicks.
            dense: (B, C, g, g, g), embedding of the previous mask.
            num_masks: how many masks to predict, at most the number of mask tokens.

        Returns:
            Mask logits (B, num_masks, m, m, m) with m = 4 g, and the predicted overlaps (B, num_mask_tokens), or None
            without that head.
        """
        batch, size = sparse.shape[0], image_embedding.shape[2:]
        own = [embedding.weight for embedding in (self.iou_token, self.mask_tokens) if embedding is not None]
        tokens = torch.cat([torch.cat(own).expand(batch, -1, -1), sparse], dim=1)
        image = (image_embedding + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens, image, image_position.flatten(2).transpose(1, 2))

        first_mask = 0 if self.iou_token is None else 1
        upscaled = self.output_upscaling(image.unflatten(1, size))
        heads = list(self.output_hypernetworks_mlps)[:num_masks]
        weights = torch.stack([head(tokens[:, first_mask + index]) for index, head in enumerate(heads)], dim=1)
        logits = weights @ upscaled.flatten(1, 3).transpose(1, 2)

        overlaps = None if self.iou_prediction_head is None else self.iou_prediction_head(tokens[:, 0])
        return logits.unflatten(-1, upscaled.shape[1:4]), overlaps
