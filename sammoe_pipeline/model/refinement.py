"""The last step to a mask: neighbouring cells compare notes, knowing where the clicks are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import LocalMixing

_REACHES = (0.05, 0.2)
"""How far a click is felt, in sides of the patch: within a thin structure, and within an organ."""
_SIGNS = (1, 0)


class Refinement(nn.Module):
    """Residual convolutions on the mask grid, which add nothing before they are trained.

    Without them, every cell of the mask is decided by itself, from what the encoder says of it: a tube is then never
    told from the one that runs beside it.

    Args:
        channels: of the mask cells.
        width: channels of the convolutions.
        depth: convolutions; each lets a cell see one cell further.
    """

    def __init__(self, *, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels + len(_SIGNS) * len(_REACHES), width)
        self.mix = nn.Sequential(*(LocalMixing(width) for _ in range(depth)))
        self.leave = nn.Linear(width, channels)

    def forward(self, cells: Tensor, clicks: Tensor, labels: Tensor) -> Tensor:
        """Refines the mask cells of each prompt.

        Args:
            cells: (B, m, m, m, channels).
            clicks: (B, n, 3), fractions of the patch in [0, 1].
            labels: (B, n), 1 positive, 0 negative, -1 padding.

        Returns:
            (B, m, m, m, channels).
        """
        near = nearness(clicks, labels, cells.shape[1]).to(cells.dtype)
        added: Tensor = self.leave(self.mix(self.enter(torch.cat([cells, near], dim=-1))))
        return cells + added


def nearness(clicks: Tensor, labels: Tensor, size: int) -> Tensor:
    """Tells each cell how near the nearest positive and the nearest negative click are.

    Args:
        clicks: (B, n, 3), fractions of the patch in [0, 1].
        labels: (B, n), 1 positive, 0 negative, -1 padding.
        size: m, cells a side.

    Returns:
        (B, m, m, m, 4): 1 at a click, falling off exponentially with distance, 0 where there is none of its sign;
        positive clicks over a short and a long reach, then negative ones.
    """
    middles = (torch.arange(size, device=clicks.device, dtype=clicks.dtype) + 0.5) / size
    x, y, z = ((middles - along[..., None]).square() for along in clicks.unbind(-1))
    distance = (x[..., :, None, None] + y[..., None, :, None] + z[..., None, None, :]).sqrt()
    nowhere = distance.new_full((len(clicks), 1, size, size, size), torch.inf)
    maps = []
    for sign in _SIGNS:
        of_sign = torch.where((labels == sign)[..., None, None, None], distance, torch.inf)
        nearest = torch.cat([nowhere, of_sign], dim=1).amin(dim=1)
        maps += [torch.exp(-nearest / reach) for reach in _REACHES]
    return torch.stack(maps, dim=-1)
