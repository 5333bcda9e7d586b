import pytest
import torch

from sammoe_pipeline.model.prompt_encoder import PositionEmbedding, PromptEncoder


@pytest.fixture
def encoder() -> PromptEncoder:
    """Patch of 24 voxels, embedding of 3 cells, mask of 12 cells of two voxels."""
    torch.manual_seed(0)
    return PromptEncoder(
        patch_size=24,
        embedding_size=3,
        channels=12,
        mask_channels=8,
        dense_axes=(0, 1, 2),
        draw_clicks=True,
        no_mask_embedding=False,
    )


@pytest.mark.parametrize(("dense_axes", "cell"), [((0, 1, 2), (3, 0, 2)), ((1, 0, 2), (0, 3, 2))])
def test_dense_embedding_is_that_of_a_cells_centre(dense_axes: tuple[int, int, int], cell: tuple[int, ...]) -> None:
    embedding = PositionEmbedding(num_frequencies=5, dense_axes=dense_axes)
    centre = (torch.tensor([3, 0, 2]) + 0.5) / 4
    x, y, z = cell
    torch.testing.assert_close(embedding.dense(4)[0][:, x, y, z], embedding(centre))


def test_positions_keep_their_precision_under_autocast() -> None:
    embedding = PositionEmbedding(num_frequencies=5, dense_axes=(0, 1, 2))
    positions = torch.rand(7, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = embedding(positions)
    torch.testing.assert_close(under_autocast, embedding(positions))


def test_tokens_tell_positive_from_negative_clicks(encoder: PromptEncoder) -> None:
    points = torch.tensor([[[5.0, 6.0, 7.0], [5.0, 6.0, 7.0]]])
    tokens, _ = encoder(points, torch.tensor([[1, 0]]))
    negative, positive = (embedding.weight[0] for embedding in encoder.point_embeddings)
    torch.testing.assert_close(tokens[0, 0] - tokens[0, 1], positive - negative)


def test_padding_is_one_token_wherever_it_lies_and_always_last(encoder: PromptEncoder) -> None:
    tokens, _ = encoder(torch.tensor([[[5.0, 6.0, 7.0], [1.0, 2.0, 3.0]]]), torch.tensor([[1, -1]]))
    assert tokens.shape == (1, 3, 12)
    torch.testing.assert_close(tokens[0, 1:], encoder.not_a_point_embed.weight.expand(2, -1))


def test_no_previous_mask_is_an_all_zero_mask(encoder: PromptEncoder) -> None:
    points, labels = torch.tensor([[[5.0, 6.0, 7.0]]]), torch.tensor([[1]])
    _, expected = encoder(points, labels, torch.zeros(1, 1, 12, 12, 12))
    torch.testing.assert_close(encoder(points, labels)[1], expected)


def test_mask_embedding_follows_the_axes_of_the_mask(encoder: PromptEncoder) -> None:
    points, labels = torch.zeros(1, 1, 3), torch.tensor([[-1]])
    mask = torch.zeros(1, 1, 12, 12, 12)
    mask[0, 0, 1, 5, 10] = 1
    difference = encoder(points, labels, mask)[1] - encoder(points, labels)[1]
    assert difference.abs().sum((0, 1)).nonzero().tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("label", "height"), [(1, 1.0), (0, -1.0)])
def test_click_is_drawn_in_its_mask_cell(encoder: PromptEncoder, label: int, height: float) -> None:
    """The voxels 4 and 5 fill cell 2, whose centre lies between them."""
    drawn = encoder.click_map(torch.tensor([[[4.5, 8.5, 20.5]]]), torch.tensor([[label]]))[0, 0]
    assert (drawn * height == (drawn * height).max()).nonzero().tolist() == [[2, 4, 10]]
    assert drawn[2, 4, 10] == pytest.approx(height)


def test_drawn_click_falls_off_over_one_mask_cell(encoder: PromptEncoder) -> None:
    drawn = encoder.click_map(torch.tensor([[[4.5, 8.5, 20.5]]]), torch.tensor([[1]]))[0, 0]
    assert drawn[3, 4, 10] == pytest.approx(0.6065, abs=1e-4)


def test_every_voxel_is_drawn_strongest_in_its_own_cell(encoder: PromptEncoder) -> None:
    points = torch.arange(24.0)[None, :, None].expand(1, 24, 3).transpose(0, 1)
    drawn = encoder.click_map(points, torch.ones(24, 1, dtype=torch.int64))
    peaks = drawn.flatten(1).argmax(1)
    cells = torch.arange(24) // 2
    assert torch.equal(peaks, cells * (144 + 12 + 1))


def test_padding_is_not_drawn(encoder: PromptEncoder) -> None:
    assert not encoder.click_map(torch.tensor([[[4.0, 8.0, 20.0]]]), torch.tensor([[-1]])).any()
