import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sammoe_pipeline.model.attention import Attention, WindowAttention, attend


def brute_force(attention: WindowAttention, x: Tensor) -> Tensor:
    """Window attention with its padding spelled out, one logit at a time as the bias is defined."""
    grid, side, heads = x.shape[1], attention.window_size, attention.num_heads
    padded = functional.pad(x, (0, 0, *[0, side - grid] * 3))
    query, key, value = attention.qkv(padded).reshape(1, side, side, side, 3, heads, -1).unbind(4)
    scale = query.shape[-1] ** -0.5
    index = torch.arange(side)
    offset = index[:, None] - index[None, :] + side - 1
    r_d, r_h, r_w = attention.rel_pos_d[offset], attention.rel_pos_h[offset], attention.rel_pos_w[offset]
    attended = torch.zeros(1, grid, grid, grid, heads, query.shape[-1], dtype=x.dtype)
    for d, h, w in torch.cartesian_prod(*[torch.arange(grid)] * 3).tolist():
        row = query[0, d, h]  # (w, heads, channels)
        logits = scale * torch.einsum("nc,defnc->ndef", row[w], key[0])
        logits += torch.einsum("nc,kc->nk", row[w], r_d[d])[:, None, None, :]
        logits += torch.einsum("inc,kc->nik", row, r_h[h])[:, :, None, :]
        logits += torch.einsum("inc,ikc->nik", row, r_w)[:, None, :, :]
        weights = logits.flatten(1).softmax(-1).reshape(logits.shape)
        attended[0, d, h, w] = torch.einsum("ndef,defnc->nc", weights, value[0])
    output: Tensor = attention.proj(attended.flatten(4))
    return output


@pytest.mark.parametrize("window_size", [3, 4, 5, 8])
def test_window_attention_equals_attention_over_the_padded_window(window_size: int) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(width=8, num_heads=2, window_size=window_size).double()
    for name, parameter in attention.named_parameters():
        if "rel_pos" in name or "bias" in name:
            torch.nn.init.normal_(parameter)
    x = torch.randn(1, 3, 3, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(attention(x), brute_force(attention, x))


def test_written_out_attention_equals_torchs() -> None:
    query, key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
    expected = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attend(query, key, value), expected)


def test_plain_attention_does_not_depend_on_the_order_of_tokens() -> None:
    attention = Attention(width=8, num_heads=2)
    x = torch.randn(1, 3, 3, 3, 8)
    torch.testing.assert_close(attention(x.transpose(1, 3)), attention(x).transpose(1, 3))
