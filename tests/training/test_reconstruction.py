import torch

from sammoe_pipeline.training.reconstruction import Reconstruction


def _remembered(images: torch.Tensor, cells: int) -> torch.Tensor:
    """Returns an embedding (B, cells^3, g, g, g) whose channels are the mask cells under each of its own."""
    grid = torch.nn.functional.avg_pool3d(images, 2)[:, 0]
    blocks = grid.unfold(1, cells, cells).unfold(2, cells, cells).unfold(3, cells, cells)
    return blocks.flatten(4).permute(0, 4, 1, 2, 3)


def test_embedding_that_holds_every_cell_costs_nothing_where_each_is_put_in_its_place() -> None:
    reconstruction, images = Reconstruction(channels=8, cells=2), torch.randn(2, 1, 12, 12, 12)
    with torch.no_grad():
        reconstruction.expand.weight.copy_(torch.eye(8).reshape(8, 1, 2, 2, 2))
        reconstruction.expand.bias.zero_()
    assert reconstruction.loss(_remembered(images, 2), images).item() < 1e-10


def test_embedding_of_nothing_costs_the_variance_of_the_cells() -> None:
    reconstruction, images = Reconstruction(channels=8, cells=2), torch.randn(2, 1, 12, 12, 12)
    with torch.no_grad():
        reconstruction.expand.bias.zero_()
    expected = torch.nn.functional.avg_pool3d(images, 2).square().mean()
    torch.testing.assert_close(reconstruction.loss(torch.zeros(2, 8, 3, 3, 3), images), expected)
