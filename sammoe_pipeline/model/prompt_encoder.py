"""The prompt encoder: clicks and the previous mask as embeddings for the decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .layers import PatchConv3d

_EPSILON = 1e-6


class PositionEmbedding(nn.Module):
    """Random Fourier features of positions (Tancik et al., NeurIPS 2020), laid out as sine, cosine, sine.

    Args:
        num_frequencies: random directions; the embedding has three times as many channels.
        dense_axes: which axis of the grid each coordinate of a dense embedding runs along: (0, 1, 2) where the dense
            embedding at a cell is the embedding of the point at its centre; (1, 0, 2) in the published network, which
            was trained with x and y exchanged.
    """

    def __init__(self, *, num_frequencies: int, dense_axes: tuple[int, int, int]) -> None:
        super().__init__()
        self.dense_axes = dense_axes
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, num_frequencies))

    def forward(self, positions: Tensor) -> Tensor:
        """Embeds positions.

        Args:
            positions: (..., 3), x, y, z as fractions of the patch in [0, 1].

        Returns:
            (..., 3 * num_frequencies).
        """
        matrix = self.positional_encoding_gaussian_matrix
        # Not a matrix product: autocast would round the phases.
        phases = 2 * math.pi * ((2 * positions.to(matrix.dtype) - 1).unsqueeze(-1) * matrix).sum(-2)
        return torch.cat([phases.sin(), phases.cos(), phases.sin()], dim=-1)

    def dense(self, size: int) -> Tensor:
        """Embeddings of the centres of size^3 cells that fill the patch: (1, 3 * num_frequencies, size, size, size)."""
        matrix = self.positional_encoding_gaussian_matrix
        centres = (torch.arange(size, device=matrix.device, dtype=matrix.dtype) + 0.5) / size
        grid = torch.meshgrid(centres, centres, centres, indexing="ij")
        positions = torch.stack([grid[axis] for axis in self.dense_axes], dim=-1)
        embedding: Tensor = self(positions)
        return embedding.movedim(-1, 0).unsqueeze(0)


class PromptEncoder(nn.Module):
    """Embeds clicks as tokens, and the previous mask as a grid.

    Args:
        patch_size: P, side of the patch in voxels.
        embedding_size: g, side of the image embedding; masks have m = 4 g cells a side.
        channels: C, channels of the embeddings, a multiple of three.
        mask_channels: channels of the mask's embedding before the last layer, a multiple of four.
        dense_axes: see `PositionEmbedding`.
        draw_clicks: give the mask's layers a second channel in which the clicks are drawn.
        no_mask_embedding: hold the published network's embedding for the absence of a mask. Nothing reads it: decoding
            starts from an all-zero mask, as the published weights were trained.
    """

    def __init__(
        self,
        *,
        patch_size: int,
        embedding_size: int,
        channels: int,
        mask_channels: int,
        dense_axes: tuple[int, int, int],
        draw_clicks: bool,
        no_mask_embedding: bool,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.embedding_size = embedding_size
        self.mask_size = 4 * embedding_size
        self.draw_clicks = draw_clicks
        self.pe_layer = PositionEmbedding(num_frequencies=channels // 3, dense_axes=dense_axes)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, channels) for _ in ("negative", "positive")])
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            PatchConv3d(2 if draw_clicks else 1, mask_channels // 4, size=2),
            nn.LayerNorm(mask_channels // 4, eps=_EPSILON),
            nn.GELU(),
            PatchConv3d(mask_channels // 4, mask_channels, size=2),
            nn.LayerNorm(mask_channels, eps=_EPSILON),
            nn.GELU(),
            PatchConv3d(mask_channels, channels, size=1),
        )
        if no_mask_embedding:
            self.no_mask_embed = nn.Embedding(1, channels)

    def forward(self, points: Tensor, labels: Tensor, previous_logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeds prompts.

        Args:
            points: (B, N, 3), voxel indices x, y, z within the patch; index 0 is the centre of the first voxel.
            labels: (B, N), 1 positive, 0 negative, -1 padding.
            previous_logits: (B, 1, m, m, m), or None for an all-zero mask.

        Returns:
            The tokens (B, N + 1, C), of which the last is always padding as in the published code, and the mask's
            embedding (B, C, g, g, g), or (1, C, g, g, g) where it is one for all: without a mask or drawn clicks.
        """
        if previous_logits is None:
            dtype = self.pe_layer.positional_encoding_gaussian_matrix.dtype
            batch = points.shape[0] if self.draw_clicks else 1
            previous_logits = points.new_zeros(batch, 1, *[self.mask_size] * 3, dtype=dtype)
        channels = [previous_logits]
        if self.draw_clicks:
            channels.append(self.click_map(points, labels).to(previous_logits.dtype))
        mask = self.mask_downscaling(torch.cat(channels, dim=1).movedim(1, -1))
        return self._embed_points(points, labels), mask.movedim(-1, 1)

    def dense_position_embedding(self) -> Tensor:
        """Position embedding of the image embedding's cells, (1, C, g, g, g)."""
        return self.pe_layer.dense(self.embedding_size)

    def click_map(self, points: Tensor, labels: Tensor) -> Tensor:
        """Draws every click as a Gaussian of one mask cell's width and height 1, or -1 for a negative click.

        Args:
            points: (B, N, 3), voxel indices x, y, z within the patch.
            labels: (B, N), 1 positive, 0 negative, -1 padding, which is not drawn.

        Returns:
            (B, 1, m, m, m).
        """
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        cells = torch.arange(self.mask_size, device=points.device, dtype=matrix.dtype)
        centres = (points.to(matrix.dtype) + 0.5) * (self.mask_size / self.patch_size) - 0.5
        x, y, z = torch.exp(-0.5 * (centres.unsqueeze(-1) - cells).square()).unbind(2)
        signs = (labels == 1).to(x) - (labels == 0).to(x)
        return torch.einsum("bn,bnx,bny,bnz->bxyz", signs, x, y, z).unsqueeze(1)

    def _embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        points = torch.cat([points, points.new_zeros(points.shape[0], 1, 3)], dim=1)
        labels = torch.cat([labels, labels.new_full((labels.shape[0], 1), -1)], dim=1).unsqueeze(-1)
        position = self.pe_layer((points + 0.5) / self.patch_size)
        negative, positive = (position + embedding.weight for embedding in self.point_embeddings)
        tokens = torch.where(labels == 1, positive, negative)
        return torch.where(labels == -1, self.not_a_point_embed.weight, tokens)
