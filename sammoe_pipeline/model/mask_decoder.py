"""The mask decoder: embeddings of image and prompts to mask logits. An expert of a mixture is one such decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .detailed_encoder import detail_of, voxels_of
from .layers import MLP, PatchConvTranspose3d
from .refinement import Refinement
from .second_look import SecondLook
from .transformer import TwoWayTransformer

_EPSILON = 1e-6
_REFINED = 16


@dataclass(frozen=True, eq=False)
class Seen:
    """What a decoder sees in a window, whatever it is then asked.

    Attributes:
        context: (B, C, g, g, g).
        detail: (B, m, m, m, D); None where the embedding has none.
    """

    context: Tensor
    detail: Tensor | None


class MaskDecoder(nn.Module):
    """Predicts a mask from embeddings.

    Args:
        transformer: lets tokens and image read each other.
        channels: C, channels of the embeddings and of the transformer, a multiple of eight.
        num_mask_tokens: mask tokens and heads. All tokens take part in the attention; only the first was ever trained,
            and only its mask is computed.
        quality_width: hidden channels of the head for each mask's overlap with the truth, or None for no such head. The
            published network has one, which was never trained; nothing reads it.
        detail_channels: D, channels of each mask cell's detail in the image embedding; 0 where it has none, as in the
            published network.
    """

    def __init__(
        self,
        *,
        transformer: TwoWayTransformer,
        channels: int,
        num_mask_tokens: int,
        quality_width: int | None,
        detail_channels: int = 0,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.detail_channels = detail_channels
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
        self.second_look: SecondLook | None = None
        """Of an expert that has one; the general decoder never does."""
        self.detail = self.refinement = None
        if detail_channels:
            self.detail = nn.Linear(3 * detail_channels, channels // 8)
            self.refinement = Refinement(channels=channels // 8, width=_REFINED, depth=2)

    def see(self, image_embedding: Tensor) -> Seen:
        """Reads an embedding before anything is asked: once a window, whatever the number of prompts.

        Args:
            image_embedding: (B, C, g, g, g), or (B, C + 64 (D + V), g, g, g) with detail.
        """
        if not self.detail_channels:
            return Seen(image_embedding, None)
        context, detail = image_embedding[:, : self.channels], detail_of(image_embedding, self.channels)
        if self.second_look is not None:
            detail = self.second_look(context, detail, voxels_of(image_embedding))
        return Seen(context, detail)

    def forward(
        self,
        image_embedding: Tensor | Seen,
        image_position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        clicks: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """Predicts the mask of each prompt.

        Args:
            image_embedding: (B or 1, C, g, g, g), or (B or 1, C + 64 (D + V), g, g, g) with detail; or what this
                decoder saw in it.
            image_position: (1, C, g, g, g), position embedding of its cells.
            sparse: (B, N, C), tokens of the clicks.
            dense: (B or 1, C, g, g, g), embedding of the previous mask. Where it and the image embedding are one for
                all prompts, so is the first block's reading of them.
            clicks: (B, n, 3), fractions of the patch in [0, 1]; read only where the embedding has detail.
            labels: (B, n), 1 positive, 0 negative, -1 padding.

        Returns:
            Logits (B, 1, m, m, m) with m = 4 g.
        """
        seen = image_embedding if isinstance(image_embedding, Seen) else self.see(image_embedding)
        batch, size = sparse.shape[0], seen.context.shape[2:]
        own = [embedding.weight for embedding in (self.iou_token, self.mask_tokens) if embedding is not None]
        tokens = torch.cat([torch.cat(own).expand(batch, -1, -1), sparse], dim=1)
        image = (seen.context + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens, image, image_position.flatten(2).transpose(1, 2))

        first_mask = 0 if self.iou_token is None else 1
        *upscale, activate = self.output_upscaling
        upscaled = image.unflatten(1, size)
        for layer in upscale:
            upscaled = layer(upscaled)
        if self.detail is not None and seen.detail is not None:
            upscaled = upscaled + self.detail(compared(seen.detail, clicks, labels))
        upscaled = activate(upscaled)
        if self.refinement is not None:
            upscaled = self.refinement(upscaled, clicks, labels)
        weights = self.output_hypernetworks_mlps[0](tokens[:, first_mask])
        logits: Tensor = weights[:, None] @ upscaled.flatten(1, 3).transpose(1, 2)
        return logits.reshape(batch, 1, *upscaled.shape[1:4])


def compared(detail: Tensor, clicks: Tensor, labels: Tensor) -> Tensor:
    """Puts beside the detail of each mask cell how like it is to what lies under the clicks.

    A decoder that is trained from scratch finds out very late that what looks like the clicked place belongs to it, so
    it is told.

    Args:
        detail: (B or 1, m, m, m, D).
        clicks: (B, n, 3), fractions of the patch in [0, 1].
        labels: (B, n), 1 positive, 0 negative, -1 padding.

    Returns:
        (B, m, m, m, 3 D): the detail; channel by channel its likeness, from 0 to 1, to the likest positive click; and
        to the likest negative one, 0 without any.
    """
    batch, size = clicks.shape[0], detail.shape[1]
    x, y, z = (clicks * size).long().clamp(0, size - 1).unbind(-1)
    index = torch.arange(batch, device=clicks.device)[:, None] if detail.shape[0] == batch else torch.zeros_like(x)
    under = detail[index, x, y, z]
    likest = {sign: detail.new_zeros(batch, *detail.shape[1:]) for sign in (1, 0)}
    for number in range(clicks.shape[1]):
        likeness = torch.exp(-(detail - under[:, number, None, None, None]).square())
        for sign, known in likest.items():
            counts = (labels[:, number] == sign)[:, None, None, None, None]
            likest[sign] = torch.maximum(known, likeness * counts)
    return torch.cat([detail.expand(batch, -1, -1, -1, -1), likest[1], likest[0]], dim=-1)
