"""Another patch size than the one a network was trained at: its tables of positions, resized."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

_ABSOLUTE = "pos_embed"
_RELATIVE = ("rel_pos_d", "rel_pos_h", "rel_pos_w")


def resize_tables(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fits the tables of positions in a state dict to a network of another patch size.

    A relative table has a row for every distance along an axis and is interpolated linearly, as the public SAM-Med3D
    does where its grid is larger or smaller than the table. The absolute table, which the public code has in one size
    only, is interpolated trilinearly in the same way.

    Args:
        state: the weights, by name.
        expected: those of the network, of which only names and shapes count.

    Returns:
        The weights. Tables that have the right shape, and all that is no table, are the tensors that came in.
    """
    return {
        name: _resized(name.rpartition(".")[2], table, expected[name]) if name in expected else table
        for name, table in state.items()
    }


def _resized(name: str, table: Tensor, expected: Tensor) -> Tensor:
    if table.shape == expected.shape or table.shape[-1:] != expected.shape[-1:] or table.ndim != expected.ndim:
        return table
    if name in _RELATIVE:
        distances = functional.interpolate(table.t()[None], size=expected.shape[0], mode="linear")
        return distances[0].t().contiguous()
    if name == _ABSOLUTE:
        cells = functional.interpolate(table.movedim(-1, 1), size=expected.shape[1:4], mode="trilinear")
        return cells.movedim(1, -1).contiguous()
    return table
