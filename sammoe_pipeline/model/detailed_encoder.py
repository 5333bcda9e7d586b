"""An image encoder that keeps detail: a pyramid of convolutions around the vision transformer.

A transformer on cubes of eight voxels needs long training before it remembers where in a cube a border runs. Here
convolutions lead down to the tokens and up again to the mask grid, and what they arrive at goes to the decoder beside
the tokens, as the high-resolution features of SAM 2 do (Ravi et al., arXiv 2408.00714). The voxels themselves go with
it, for experts that look a second time.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .image_encoder import Block
from .layers import LocalMixing, PatchConv3d, PatchConvTranspose3d

_EPSILON = 1e-6
_CELLS = 4
"""Mask cells a side of one cell of the embedding."""
_VOXELS_A_SIDE = 2
VOXELS = _VOXELS_A_SIDE**3
"""V, voxels of one mask cell."""


class DetailedImageEncoder(nn.Module):
    """Embeds one patch of an image, with detail.

    The patch is halved three times: to the mask grid, to a middle grid, and to the tokens of the transformer. From its
    embedding the way leads up again, joined at each grid by what was there on the way down.

    Args:
        patch_size: P, side of the patch in voxels, a multiple of eight; the embedding has g = P / 8 cells a side.
        widths: channels on the mask grid and on the middle grid.
        width: channels of the transformer.
        blocks: its blocks, from first to last.
        context_channels: C, channels of the transformer's embedding.
        detail_channels: D, channels of each mask cell's detail.
    """

    def __init__(
        self,
        *,
        patch_size: int,
        widths: tuple[int, int],
        width: int,
        blocks: Iterable[Block],
        context_channels: int,
        detail_channels: int,
    ) -> None:
        super().__init__()
        fine, middle = widths
        self.patch_size = patch_size
        self.embedding_size = patch_size // 8
        self.embedding_channels = context_channels + (detail_channels + VOXELS) * _CELLS**3
        self.to_fine = nn.Sequential(PatchConv3d(1, fine, size=2), nn.LayerNorm(fine, eps=_EPSILON), nn.GELU())
        self.to_middle = nn.Sequential(PatchConv3d(fine, middle, size=2), LocalMixing(middle))
        self.to_tokens = nn.Sequential(nn.LayerNorm(middle, eps=_EPSILON), PatchConv3d(middle, width, size=2))
        self.pos_embed = nn.Parameter(torch.zeros(1, *[self.embedding_size] * 3, width))
        self.blocks = nn.Sequential(*blocks)
        self.neck = nn.Sequential(nn.Linear(width, context_channels), nn.LayerNorm(context_channels, eps=_EPSILON))
        self.from_context = PatchConvTranspose3d(context_channels, middle, size=2)
        self.mix_middle = LocalMixing(middle)
        self.from_middle = PatchConvTranspose3d(middle, fine, size=2)
        self.mix_fine = LocalMixing(fine)
        self.detail = nn.Sequential(nn.Linear(fine, detail_channels), nn.LayerNorm(detail_channels, eps=_EPSILON))

    def forward(self, image: Tensor) -> Tensor:
        """Embeds a normalised patch.

        Args:
            image: (B, 1, P, P, P), axes x, y, z.

        Returns:
            (B, C + 64 (D + V), g, g, g), axes x, y, z: the context, then the detail and the voxels of each cell's mask
            cells (see `detail_of`, `voxels_of`).
        """
        fine = self.to_fine(image.movedim(1, -1))
        middle = self.to_middle(fine)
        context = self.neck(self.blocks(self.to_tokens(middle) + self.pos_embed))
        middle = self.mix_middle(middle + self.from_context(context))
        detail = self.detail(self.mix_fine(fine + self.from_middle(middle)))
        voxels = _by_mask_cell(image[:, 0])
        return torch.cat([context.movedim(-1, 1), pack(detail), pack(voxels)], dim=1)


def detail_of(embedding: Tensor, context_channels: int) -> Tensor:
    """Returns the detail (B, m, m, m, D) in an embedding (B, C + 64 (D + V), g, g, g)."""
    return unpack(embedding[:, context_channels : -VOXELS * _CELLS**3])


def voxels_of(embedding: Tensor) -> Tensor:
    """Returns the voxels (B, m, m, m, V) of each mask cell in an embedding (B, C + 64 (D + V), g, g, g)."""
    return unpack(embedding[:, -VOXELS * _CELLS**3 :])


def _by_mask_cell(image: Tensor) -> Tensor:
    """(B, P, P, P) -> (B, m, m, m, V)."""
    batch, size = len(image), image.shape[1] // _VOXELS_A_SIDE
    cells = image.reshape(batch, *[size, _VOXELS_A_SIDE] * 3).permute(0, 1, 3, 5, 2, 4, 6)
    return cells.flatten(4)


def pack(of_cells: Tensor) -> Tensor:
    """Files channels of mask cells under the embedding's cells: (B, 4 g, 4 g, 4 g, D) -> (B, 64 D, g, g, g)."""
    batch, size, *_, channels = of_cells.shape
    cells = of_cells.reshape(batch, *[size // _CELLS, _CELLS] * 3, channels).permute(0, 2, 4, 6, 7, 1, 3, 5)
    return cells.reshape(batch, _CELLS**3 * channels, *[size // _CELLS] * 3)


def unpack(packed: Tensor) -> Tensor:
    """Undoes `pack`."""
    batch, channels, size = packed.shape[:3]
    cells = packed.reshape(batch, *[_CELLS] * 3, channels // _CELLS**3, *[size] * 3).permute(0, 5, 1, 6, 2, 7, 3, 4)
    return cells.reshape(batch, *[size * _CELLS] * 3, channels // _CELLS**3)
