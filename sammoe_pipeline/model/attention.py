"""Attention: plain, and with the relative positions and padded windows of the published image encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention: (B, heads, N, c), (B, heads, M, c), (B, heads, M, c) -> (B, heads, N, c).

    Written out, because on a few hundred tokens it is as fast as the fused kernel, and training in bfloat16 on a
    processor is a quarter faster with it. The fused kernel rounds less: below float32, what is not trained goes there.
    """
    if query.dtype in (torch.bfloat16, torch.float16) and not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(query, key, value)
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
    """Multi-head self-attention of the published SAM-Med3D encoder, within windows.

    The published code pads a window that hangs over the grid with zero tokens, and these take part as keys. All of them
    have the key projection's bias as key and the value projection's bias as value, so in the softmax they collapse
    exactly into one extra key, whose logit carries the log of the sum of their exponentiated position biases. Only the
    queries of the grid are computed.

    The position bias is the published one, which adds its terms to other axes than a decomposed relative position
    would: with q(d, h, w) the unscaled query at a position of the window, and R[i, k] the row of a table for query
    index i and key index k, the logit between the query at (d, h, w) and the key at (kd, kh, kw) gains

        q(d, h, w) . R_d[d, kw]  +  q(d, h, kd) . R_h[h, kw]  +  q(d, h, kh) . R_w[kh, kw]

    The published weights were trained with it.

    Args:
        width: channels of the tokens.
        num_heads: heads, a divisor of `width`.
        window_size: side of a window, in tokens. At the grid's side, attention is global and nothing is padded; a
            smaller grid is one padded window; a larger one is cut into windows, of which those at the end are padded.
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
        """(B, g, g, g, width) -> (B, g, g, g, width)."""
        if x.shape[1] <= self.window_size:
            return self._attend_within(x)
        output = torch.empty_like(x)
        starts = range(0, x.shape[1], self.window_size)
        for corner in product(starts, repeat=3):
            window = (slice(None), *(slice(start, start + self.window_size) for start in corner))
            output[window] = self._attend_within(x[window])
        return output

    def _attend_within(self, x: Tensor) -> Tensor:
        """The part of one window that lies in the grid, (B, d, h, w, width) with sides up to the window's."""
        batch, *sides = x.shape[:4]
        num_real, num_padded = math.prod(sides), self.window_size**3 - math.prod(sides)
        query, key, value = (split_heads(part, self.num_heads) for part in self.qkv(x.flatten(1, 3)).chunk(3, dim=-1))
        padded_query, padded_key, padded_value = self.qkv.bias.reshape(3, 1, self.num_heads, 1, -1).to(query.dtype)
        along_d, along_h, along_w = self._bias_terms(query.reshape(*query.shape[:2], *sides, -1), padded_query)

        bias = query.new_empty(batch, self.num_heads, num_real, num_real + (1 if num_padded else 0))
        _fill_within_grid(bias[..., :num_real], along_d, along_h, along_w, sides)
        if num_padded:
            bias[..., num_real] = _log_sum_over_padding(along_d, along_h, along_w, sides).flatten(2)
            key = torch.cat([key, padded_key.expand(batch, -1, -1, -1)], dim=2)
            value = torch.cat([value, padded_value.expand(batch, -1, -1, -1)], dim=2)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        output: Tensor = self.proj(join_heads(attended))
        return output.reshape(x.shape)

    def _bias_terms(self, query: Tensor, padded_query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three terms of the position bias, for s the window's side, at least in float32.

        Args:
            query: (B, heads, d, h, w, channels per head).
            padded_query: (1, heads, 1, channels per head), the query of padding.

        Returns:
            (B, heads, d, h, w, kw) with kw in [0, s); (B, heads, d, h, kd, kw) and (B, heads, d, h, kh, kw) with both
            in [0, s).
        """
        batch, _, d, h, w, _ = query.shape
        # The second and third terms run over a whole row of the window, padding included.
        padding = padded_query[..., None, None, :].expand(batch, -1, d, h, self.window_size - w, -1)
        rows = torch.cat([query, padding], dim=4)
        side = torch.arange(self.window_size, device=query.device)
        relative = side[:, None] - side[None, :] + self.window_size - 1
        terms = (
            torch.einsum("bndhwc,dkc->bndhwk", query, self.rel_pos_d[relative[:d]]),
            torch.einsum("bndhwc,hkc->bndhwk", rows, self.rel_pos_h[relative[:h]]),
            torch.einsum("bndhwc,wkc->bndhwk", rows, self.rel_pos_w[relative]),
        )
        along_d, along_h, along_w = (term.to(torch.promote_types(term.dtype, torch.float32)) for term in terms)
        return along_d, along_h, along_w


def _fill_within_grid(bias: Tensor, along_d: Tensor, along_h: Tensor, along_w: Tensor, sides: Sequence[int]) -> None:
    """Writes the position bias between the grid's positions into (B, heads, d h w, kd kh kw).

    It is the largest tensor of the block, so it is written in place, and in long rows: the terms are first spread over
    all (kh, kw).
    """
    d, h, w = sides
    shared = (along_h[..., :d, None, :w] + along_w[..., None, :h, :w]).flatten(-2)
    own = along_d[..., None, :w].expand(*along_d.shape[:-1], h, w).flatten(-2)
    rows = bias.view(*bias.shape[:2], d, h, w, d, h * w)
    rows.copy_(shared[:, :, :, :, None])
    rows += own.to(bias.dtype)[..., None, :]


def _log_sum_over_padding(along_d: Tensor, along_h: Tensor, along_w: Tensor, sides: Sequence[int]) -> Tensor:
    """Log of the sum of exp(bias) over the window's positions outside the grid, (B, heads, d, h, w).

    For one kw the bias is a term of kd plus a term of kh, so the sum over (kd, kh) is a product of two sums. Where kw
    lies within the grid, the positions with kd and kh within it as well are left out: padded kd with every kh, and real
    kd with padded kh.
    """
    d, h, w = sides
    real_d, padded_d = along_h[..., :d, :].logsumexp(-2), along_h[..., d:, :].logsumexp(-2)
    real_h, padded_h = along_w[..., :h, :].logsumexp(-2), along_w[..., h:, :].logsumexp(-2)
    all_d, all_h = torch.logaddexp(real_d, padded_d), torch.logaddexp(real_h, padded_h)
    partly = torch.logaddexp(padded_d + all_h, real_d + padded_h)[..., :w]
    wholly = (all_d + all_h)[..., w:]
    return (along_d + torch.cat([partly, wholly], dim=-1)[..., None, :]).logsumexp(-1)
