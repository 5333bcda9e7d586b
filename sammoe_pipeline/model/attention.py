"""Attention: plain, and with the relative positions and padded windows of the published image encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention: (B, heads, N, c), (B, heads, M, c), (B, heads, M, c) -> (B, heads, N, c).

    Written out, because on a few hundred tokens it is as fast as the fused kernel, and training in bfloat16 on a
    processor is a quarter faster with it.
    """
    weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    attended: Tensor = weights.softmax(-1) @ value
    return attended


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, tokens, width) -> (B, heads, tokens, channels per head)."""
    return x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, tokens, channels per head) -> (B, tokens, width)."""
    return x.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head self-attention over the whole grid.

    Args:
        width: channels of the tokens.
        num_heads: heads, a divisor of `width`.
    """

    def __init__(self, *, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, g, g, g, width) -> (B, g, g, g, width)."""
        query, key, value = (split_heads(part, self.num_heads) for part in self.qkv(x.flatten(1, 3)).chunk(3, dim=-1))
        output: Tensor = self.proj(join_heads(attend(query, key, value)))
        return output.reshape(x.shape)


class WindowAttention(nn.Module):
    """Multi-head self-attention of the published SAM-Med3D encoder, in one window that covers the grid.

    The published code pads the grid with zero tokens up to the window, and these take part as keys. All of them have
    the key projection's bias as key and the value projection's bias as value, so in the softmax they collapse exactly
    into one extra key, whose logit carries the log of the sum of their exponentiated position biases. Only the g^3
    queries of the grid are computed.

    The position bias is the published one, which adds its terms to other axes than a decomposed relative position
    would: with q(d, h, w) the unscaled query at a grid position, and R[i, k] the row of a table for query index i and
    key index k, the logit between the query at (d, h, w) and the key at (kd, kh, kw) gains

        q(d, h, w) . R_d[d, kw]  +  q(d, h, kd) . R_h[h, kw]  +  q(d, h, kh) . R_w[kh, kw]

    The published weights were trained with it.

    Args:
        width: channels of the tokens.
        num_heads: heads, a divisor of `width`.
        window_size: side of the window, in tokens; at least the side of the grid. At the grid's side, there is no
            padding.
    """

    def __init__(self, *, width: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * window_size - 1, width // num_heads))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window_size - 1, width // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window_size - 1, width // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, g, g, g, width) -> (B, g, g, g, width), with g at most the window's side."""
        batch, grid = x.shape[0], x.shape[1]
        query, key, value = (split_heads(part, self.num_heads) for part in self.qkv(x.flatten(1, 3)).chunk(3, dim=-1))
        padded_query, padded_key, padded_value = self.qkv.bias.reshape(3, 1, self.num_heads, 1, -1).to(query.dtype)

        # The bias's second and third terms run over a whole row of the window, padding included.
        rows = query.reshape(batch, self.num_heads, grid, grid, grid, -1)
        padding = padded_query[..., None, None, :].expand(batch, -1, grid, grid, self.window_size - grid, -1)
        along_d, along_h, along_w = self._bias_terms(rows, torch.cat([rows, padding], dim=4))

        real = (
            along_d[..., None, None, :grid]
            + along_h[..., None, :grid, None, :grid]
            + along_w[..., None, None, :grid, :grid]
        )
        bias = real.reshape(batch, self.num_heads, grid**3, grid**3)
        if self.window_size > grid:
            collapsed = _log_sum_over_padding(along_d, along_h, along_w, grid)
            bias = torch.cat([bias, collapsed.reshape(batch, self.num_heads, grid**3, 1)], dim=-1)
            key = torch.cat([key, padded_key.expand(batch, -1, -1, -1)], dim=2)
            value = torch.cat([value, padded_value.expand(batch, -1, -1, -1)], dim=2)

        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        output: Tensor = self.proj(join_heads(attended))
        return output.reshape(x.shape)

    def _bias_terms(self, grid_rows: Tensor, window_rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three terms of the position bias, for s the window's side.

        Args:
            grid_rows: queries of the grid, (B, heads, d, h, w, channels per head).
            window_rows: the same, with every row along w padded to s.

        Returns:
            (B, heads, d, h, w, kw) with kw in [0, s); (B, heads, d, h, kd, kw) and (B, heads, d, h, kh, kw) with both
            in [0, s).
        """
        grid = grid_rows.shape[2]
        side = torch.arange(self.window_size, device=grid_rows.device)
        relative = side[:, None] - side[None, :] + self.window_size - 1
        return (
            torch.einsum("bndhwc,dkc->bndhwk", grid_rows, self.rel_pos_d[relative[:grid]]),
            torch.einsum("bndhwc,hkc->bndhwk", window_rows, self.rel_pos_h[relative[:grid]]),
            torch.einsum("bndhwc,wkc->bndhwk", window_rows, self.rel_pos_w[relative]),
        )


def _log_sum_over_padding(along_d: Tensor, along_h: Tensor, along_w: Tensor, grid: int) -> Tensor:
    """Log of the sum of exp(bias) over the window's positions outside the grid, (B, heads, d, h, w).

    For one kw the bias is a term of kd plus a term of kh, so the sum over (kd, kh) is a product of two sums. Where kw
    lies within the grid, the positions with kd and kh within it as well are left out: padded kd with every kh, and real
    kd with padded kh.
    """
    real_d, padded_d = along_h[..., :grid, :].logsumexp(-2), along_h[..., grid:, :].logsumexp(-2)
    real_h, padded_h = along_w[..., :grid, :].logsumexp(-2), along_w[..., grid:, :].logsumexp(-2)
    all_d, all_h = torch.logaddexp(real_d, padded_d), torch.logaddexp(real_h, padded_h)
    partly = torch.logaddexp(padded_d + all_h, real_d + padded_h)[..., :grid]
    wholly = (all_d + all_h)[..., grid:]
    return (along_d + torch.cat([partly, wholly], dim=-1)[..., None, :]).logsumexp(-1)
