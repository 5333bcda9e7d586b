import pytest
import torch

from sammoe_pipeline.model.detailed_encoder import VOXELS, pack
from sammoe_pipeline.model.prompt_features import num_prompt_features, prompt_features

CELLS, PATCH = 12, 48
MASK_FEATURES = 9


def _cells() -> torch.Tensor:
    """(1, 1, 12, 12, 12), whose value tells the cell: 10000 x + 100 y + z."""
    x, y, z = torch.meshgrid(*[torch.arange(float(CELLS))] * 3, indexing="ij")
    return (10000 * x + 100 * y + z)[None, None]


def _voxels() -> torch.Tensor:
    """What an embedding with detail ends with, which describes no prompt."""
    return torch.full((1, 64 * VOXELS, 3, 3, 3), torch.nan)


def _features(
    point: tuple[float, float, float], mask: torch.Tensor | None = None, *, detail: bool = False
) -> torch.Tensor:
    logits = torch.full((1, 1, CELLS, CELLS, CELLS), -30.0) if mask is None else mask
    embedding = _cells()
    if detail:
        packed = pack(_cells().movedim(1, -1))
        embedding = torch.cat([torch.full((1, 1, 3, 3, 3), torch.nan), packed, _voxels()], dim=1)
    return prompt_features(embedding, torch.tensor([point]), logits, context_channels=1, patch_size=PATCH)[0]


def _middle(*cell: int) -> tuple[float, float, float]:
    """Voxel position in the middle of a cell of four voxels."""
    x, y, z = (4 * index + 1.5 for index in cell)
    return x, y, z


def test_first_feature_is_the_cell_under_the_click() -> None:
    assert _features(_middle(1, 6, 3))[0].item() == pytest.approx(10603, abs=0.1)


def test_a_detailed_embedding_is_read_by_its_detail() -> None:
    point = _middle(5, 6, 7)
    torch.testing.assert_close(_features(point, detail=True), _features(point))


def test_a_box_around_a_click_is_averaged() -> None:
    """In the middle it averages to its middle; in a corner it holds only what the window shows."""
    assert _features(_middle(5, 6, 5))[1].item() == pytest.approx(50605, abs=0.5)
    assert _features(_middle(0, 0, 0))[1].item() == pytest.approx(5050.5, abs=0.5)


def test_what_lies_under_the_mask_is_averaged() -> None:
    mask = torch.full((1, 1, CELLS, CELLS, CELLS), -30.0)
    mask[0, 0, 4, 4, 4:6] = 30.0
    assert _features(_middle(4, 4, 4), mask)[2].item() == pytest.approx(40404.5, abs=0.1)


def test_mean_and_deviation_of_the_window_are_told() -> None:
    expected = [_cells().mean().item(), _cells().std().item()]
    assert _features(_middle(4, 4, 4))[3:5].tolist() == pytest.approx(expected)


def test_the_masks_shape_is_told_relative_to_the_click() -> None:
    mask = torch.full((1, 1, CELLS, CELLS, CELLS), -30.0)
    mask[0, 0, 6:8, 4, 4] = 30.0
    volume, *rest = _features(_middle(4, 4, 4), mask)[-MASK_FEATURES:].tolist()
    assert volume == pytest.approx(torch.log(torch.tensor(2 / CELLS**3)).item(), abs=1e-3)
    assert rest[:3] == pytest.approx([2.5 / CELLS, 0, 0], abs=1e-5)
    assert rest[3:6] == pytest.approx([0.5 / CELLS, 0, 0], abs=1e-3)
    assert rest[6:] == pytest.approx([30, 0.5], abs=1e-5)


@pytest.mark.parametrize(("context", "detail", "channels"), [(1, 0, 1), (7, 2, 2)])
def test_as_many_features_as_are_announced(context: int, detail: int, channels: int) -> None:
    embedding = torch.randn(2, context + 64 * (detail + VOXELS if detail else 0), 3, 3, 3)
    found = prompt_features(
        embedding, torch.rand(2, 3), torch.randn(2, 1, CELLS, CELLS, CELLS), context_channels=context, patch_size=24
    )
    assert found.shape == (2, num_prompt_features(context, detail))
    assert num_prompt_features(context, detail) == 5 * channels + MASK_FEATURES


def test_features_do_not_lose_precision_where_the_networks_compute_in_less() -> None:
    mask = torch.full((1, 1, CELLS, CELLS, CELLS), -30.0)
    mask[..., 5:7, 5:7, 5:7] = 30.0
    exact = _features(_middle(5, 5, 5), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(_features(_middle(5, 5, 5), mask), exact)
