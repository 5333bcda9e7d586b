"""The image encoder: a vision transformer on cubes of the patch, with a convolutional neck."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .layers import MLPBlock, PatchConv3d

_EPSILON = 1e-6


class PatchEmbedding(nn.Module):
    """Cubes of the image as tokens.

    Args:
        stride: side of a cube, in voxels.
        width: channels of the tokens.
    """

    def __init__(self, *, stride: int, width: int) -> None:
        super().__init__()
        self.proj = PatchConv3d(1, width, size=stride)

    def forward(self, image: Tensor) -> Tensor:
        """(B, P, P, P, 1) -> (B, P / stride, P / stride, P / stride, width)."""
        tokens: Tensor = self.proj(image)
        return tokens


class Block(nn.Module):
    """A pre-norm transformer block.

    Args:
        attention: self-attention on (B, g, g, g, width).
        width: channels of the tokens.
        mlp_width: channels between the perceptron's two layers.
    """

    def __init__(self, *, attention: nn.Module, width: int, mlp_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = attention
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = MLPBlock(width=width, hidden=mlp_width, activation=nn.GELU())
        self.precision: torch.dtype | None = None

    def compute_in(self, precision: torch.dtype) -> None:
        """Lets attention and perceptron compute in less than float32; what they add to stays in float32.

        Their weights are converted once, in place of at every call.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.to(precision)
        self.precision = precision

    def forward(self, x: Tensor) -> Tensor:
        """(B, g, g, g, width) -> (B, g, g, g, width)."""
        if self.precision is None:
            return self._add_branches(x)
        with torch.autocast(x.device.type, dtype=self.precision):
            return self._add_branches(x)

    def _add_branches(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        output: Tensor = x + self.mlp(self.norm2(x))
        return output


class ImageEncoder(nn.Module):
    """Embeds one patch of an image.

    Args:
        patch_size: P, side of the patch in voxels, a multiple of `stride`.
        stride: side in voxels of the cube behind one token; the embedding has g = P / stride tokens a side.
        width: channels of the transformer.
        blocks: its blocks, from first to last.
        embedding_channels: C, channels of the embedding.
    """

    def __init__(
        self, *, patch_size: int, stride: int, width: int, blocks: Iterable[Block], embedding_channels: int
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.embedding_size = patch_size // stride
        self.embedding_channels = embedding_channels
        side = self.embedding_size
        self.patch_embed = PatchEmbedding(stride=stride, width=width)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, side, width))
        self.blocks = nn.ModuleList(blocks)
        self.neck = nn.ModuleList(
            [
                PatchConv3d(width, embedding_channels, size=1, bias=False),
                nn.LayerNorm(embedding_channels, eps=_EPSILON),
                nn.Conv3d(embedding_channels, embedding_channels, kernel_size=3, padding=1, bias=False),
                nn.LayerNorm(embedding_channels, eps=_EPSILON),
            ]
        )

    def forward(self, image: Tensor) -> Tensor:
        """Embeds a normalised patch.

        Args:
            image: (B, 1, P, P, P), axes x, y, z.

        Returns:
            (B, C, g, g, g), axes x, y, z.
        """
        x = self.patch_embed(image.movedim(1, -1)) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        project, norm_projected, convolve, norm_convolved = self.neck
        x = norm_projected(project(x))
        x = convolve(x.movedim(-1, 1)).movedim(1, -1)
        embedding: Tensor = norm_convolved(x).movedim(-1, 1).contiguous()
        return embedding
