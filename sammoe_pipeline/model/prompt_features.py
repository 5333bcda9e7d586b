"""A prompt in numbers: what the frozen embedding says where it points, and around."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .detailed_encoder import detail_of

_BOX = 0.2
"""Side of the box around a click that is averaged, in sides of the window; at least three cells."""
_MASK_FEATURES = 9


def num_prompt_features(context_channels: int, detail_channels: int) -> int:
    """Returns F, how many numbers describe a prompt in one configuration.

    Args:
        context_channels: C of the embedding.
        detail_channels: D of the embedding; 0 where it has no detail.
    """
    return 5 * (detail_channels or context_channels) + _MASK_FEATURES


def prompt_features(
    embedding: Tensor, point: Tensor, mask_logits: Tensor, *, context_channels: int, patch_size: int
) -> Tensor:
    """Describes a prompt by the frozen embedding where it points.

    Where in the window a click lies says nothing about what was clicked on, since windows are centred on clicks; so the
    description holds image features alone, from the finest grid that the embedding has: its detail, or else its
    context. They are read at the click, in a box around it, and under the general decoder's soft mask, whose own
    size, place, spread and certainty follow. Their mean and deviation over the window tell what the image looks like,
    so that the same tissue of patients who look different can be known for the same.

    Args:
        embedding: (B, C + 64 (D + V), g, g, g), or (B, C, g, g, g) without detail.
        point: (B, 3), the click in voxels of the window.
        mask_logits: (B, 1, m, m, m), the general decoder's answer.
        context_channels: C.
        patch_size: P, voxels a side of the window.

    Returns:
        (B, F), see `num_prompt_features`.
    """
    # Also where the networks compute in less: the spread of a mask is a small difference of large numbers.
    with torch.autocast(embedding.device.type, enabled=False):
        has_detail = embedding.shape[1] > context_channels
        cells = (detail_of(embedding, context_channels) if has_detail else embedding.movedim(1, -1)).float()
        at = (point.float() + 0.5) / patch_size
        soft = mask_logits.float().sigmoid()
        weight = F.adaptive_avg_pool3d(soft, cells.shape[1]).flatten(1)
        share = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
        window = cells.flatten(1, 3)
        under_mask = torch.einsum("bc,bcd->bd", share, window)
        shape = _shape_of(soft, mask_logits.float(), share, at)
        around = [_averaged(cells, at, 0), _averaged(cells, at, max(1, round(cells.shape[1] * _BOX / 2))), under_mask]
        return torch.cat([*around, window.mean(dim=1), window.std(dim=1), shape], dim=1)


def _averaged(cells: Tensor, at: Tensor, reach: int) -> Tensor:
    """Averages cells over a cube around a place.

    It is a product of one weighting an axis, so nothing is averaged where nobody asks.

    Args:
        cells: (B, m, m, m, D).
        at: (B, 3), fractions of the window; between cells it is interpolated.
        reach: cells on each side of the place that a cube has, as far as they lie in the window.

    Returns:
        (B, D).
    """
    order = torch.arange(cells.shape[1], device=cells.device)
    cubes = ((order[:, None] - order).abs() <= reach).to(cells.dtype)
    cubes = cubes / cubes.sum(dim=1, keepdim=True)
    place = (at * len(order) - 0.5).clamp(0, len(order) - 1)
    near = (1 - (place[..., None] - order).abs()).clamp(min=0)
    along_x, along_y, along_z = (near @ cubes).unbind(dim=1)
    read = torch.einsum("bx,bxyzd->byzd", along_x, cells)
    read = torch.einsum("by,byzd->bzd", along_y, read)
    return torch.einsum("bz,bzd->bd", along_z, read)


def _shape_of(soft: Tensor, logits: Tensor, share: Tensor, at: Tensor) -> Tensor:
    """Returns (B, 9) of a soft mask: log of its volume, its middle relative to the click, its spread along each axis,
    its highest logit and how sure it is on average.

    Args:
        soft: (B, 1, m, m, m), probabilities.
        logits: the same before the sigmoid.
        share: (B, c^3) of the mask's mass in each cell.
        at: (B, 3) click, fractions of the window.
    """
    cells = round(share.shape[1] ** (1 / 3))
    middles = (torch.arange(cells, device=share.device) + 0.5) / cells
    places = torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij"), dim=-1).reshape(-1, 3)
    middle = share @ places
    spread = (share @ places.square() - middle.square()).clamp(min=0).sqrt()
    volume = soft.mean(dim=(1, 2, 3, 4)).clamp(min=1e-6).log()
    peak = logits.flatten(1).amax(dim=1)
    certainty = (soft - 0.5).abs().mean(dim=(1, 2, 3, 4))
    return torch.cat([volume[:, None], middle - at, spread, peak[:, None], certainty[:, None]], dim=1)
