from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sammoe_pipeline.model import SamMed3D, build_sam_med3d, resize_tables
from sammoe_pipeline.model.attention import WindowAttention


@pytest.fixture(scope="module")
def published() -> Any:
    return pytest.importorskip("medim.models.sam_med3d", reason="medim holds the public implementation")


def resized(builder: str, patch_size: int) -> SamMed3D:
    """Returns a network of random weights at another patch size than they were made for."""
    torch.manual_seed(0)
    state = build_sam_med3d(builder).state_dict()
    with torch.device("meta"):
        model = build_sam_med3d(builder, patch_size)
    model.load_state_dict(resize_tables(state, model.state_dict()), strict=True, assign=True)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(("builder", "patch_size"), [("vit_b", 128), ("tiny", 48)])
def test_at_the_native_size_every_weight_is_the_one_that_came_in(builder: str, patch_size: int) -> None:
    with torch.device("meta"):
        state, expected = build_sam_med3d(builder).state_dict(), build_sam_med3d(builder, patch_size).state_dict()
    fitted = resize_tables(state, expected)
    assert list(fitted) == list(state)
    assert all(fitted[name] is value for name, value in state.items())


@pytest.mark.parametrize("grid", [3, 4, 6])
def test_global_attention_on_another_grid_is_the_published_one(published: Any, grid: int) -> None:
    """The public code resizes its tables whenever it runs on another grid than theirs."""
    torch.manual_seed(0)
    reference = published.Attention(8, num_heads=2, use_rel_pos=True, input_size=(4, 4, 4)).double()
    for parameter in reference.parameters():
        nn.init.normal_(parameter)
    ours = WindowAttention(width=8, num_heads=2, window_size=grid).double()
    ours.load_state_dict(resize_tables(reference.state_dict(), ours.state_dict()), strict=True)
    x = torch.randn(2, grid, grid, grid, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), reference(x))


@pytest.mark.parametrize("grid", [4, 5, 7])
def test_a_grid_beyond_the_window_is_cut_as_in_the_published_code(published: Any, grid: int) -> None:
    torch.manual_seed(0)
    reference = published.Block3D(8, num_heads=2, use_rel_pos=True, window_size=3, input_size=(4, 4, 4)).double()
    for parameter in reference.attn.parameters():
        nn.init.normal_(parameter)
    ours = WindowAttention(width=8, num_heads=2, window_size=3).double()
    ours.load_state_dict(reference.attn.state_dict(), strict=True)
    x = torch.randn(2, grid, grid, grid, 8, dtype=torch.float64)
    windows, padded = published.window_partition3D(x, 3)
    expected = published.window_unpartition3D(reference.attn(windows), 3, padded, (grid, grid, grid))
    torch.testing.assert_close(ours(x), expected)


def test_absolute_table_keeps_what_is_linear_in_place() -> None:
    """A table that grows evenly along an axis does so after resizing, away from its ends."""
    table = torch.arange(8.0)[None, :, None, None, None].expand(1, 8, 8, 8, 2)
    found = resize_tables({"pos_embed": table}, {"pos_embed": torch.empty(1, 16, 16, 16, 2)})["pos_embed"]
    assert found.shape == (1, 16, 16, 16, 2)
    expected = (torch.arange(16.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(found[0, 1:-1, 3, 9, 1], expected[1:-1])


def test_a_table_of_other_channels_is_left_for_the_check_of_shapes() -> None:
    state: dict[str, Tensor] = {"pos_embed": torch.zeros(1, 2), "rel_pos_d": torch.zeros(3, 4), "more": torch.zeros(1)}
    expected = {"pos_embed": torch.zeros(1, 2, 2, 2, 6), "rel_pos_d": torch.zeros(5, 6)}
    assert all(value is state[name] for name, value in resize_tables(state, expected).items())


def test_a_network_of_another_patch_size_answers_on_it() -> None:
    model = resized("tiny", 64)
    embedding = model.encode(torch.randn(1, 1, 64, 64, 64))
    logits = model.decode(embedding, torch.tensor([[[60.0, 3.0, 33.0]]]), torch.tensor([[1]]))
    assert model.upsample(logits).shape == (1, 1, 64, 64, 64)


def test_a_size_that_tokens_do_not_fill_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patch size 100 is not a multiple of 16"):
        build_sam_med3d("vit_b", 100)
