"""A second look: what an expert's task, or a locator's dataset, needs to see, read from the window's voxels themselves.

The encoder is frozen, and was trained on other structures: borders that it does not tell apart no decoder can draw, and
what it takes for the same no locator can name. So both may add to the detail that the encoder gives them what a few
convolutions of their own find in the same voxels. The encoder still runs once for everyone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .detailed_encoder import VOXELS
from .layers import LocalMixing, PatchConv3d, PatchConvTranspose3d

_WIDTH = 16


class SecondLook(nn.Module):
    """A small U of convolutions that adds to the detail of each mask cell, and nothing before it is trained.

    Args:
        context_channels: C, of the embedding's context.
        detail_channels: D, of each mask cell's detail.
    """

    def __init__(self, *, context_channels: int, detail_channels: int) -> None:
        super().__init__()
        fine, middle = _WIDTH, 2 * _WIDTH
        self.enter = nn.Linear(detail_channels + VOXELS, fine)
        self.mix_fine = nn.Sequential(LocalMixing(fine), LocalMixing(fine))
        self.to_middle = PatchConv3d(fine, middle, size=2)
        self.from_context = PatchConvTranspose3d(context_channels, middle, size=2)
        self.mix_middle = nn.Sequential(LocalMixing(middle), LocalMixing(middle))
        self.from_middle = PatchConvTranspose3d(middle, fine, size=2)
        self.mix_last = LocalMixing(fine)
        self.leave = nn.Linear(fine, detail_channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, context: Tensor, detail: Tensor, voxels: Tensor) -> Tensor:
        """Adds to the detail.

        Args:
            context: (B, C, g, g, g).
            detail: (B, m, m, m, D) with m = 4 g.
            voxels: (B, m, m, m, `VOXELS`), the normalised voxels of each mask cell.

        Returns:
            (B, m, m, m, D).
        """
        fine = self.mix_fine(self.enter(torch.cat([detail, voxels], dim=-1)))
        middle = self.mix_middle(self.to_middle(fine) + self.from_context(context.movedim(1, -1)))
        added: Tensor = self.leave(self.mix_last(fine + self.from_middle(middle)))
        return detail + added


def looks_again(names: Iterable[str]) -> bool:
    """Tells by the names of its weights whether an expert or a locator has a second look."""
    return any(name.startswith("second_look.") for name in names)
