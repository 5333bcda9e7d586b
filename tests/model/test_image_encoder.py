import pytest
import torch

from sammoe_pipeline.model.attention import Attention
from sammoe_pipeline.model.image_encoder import Block, ImageEncoder


@pytest.fixture
def encoder() -> ImageEncoder:
    torch.manual_seed(0)
    blocks = [Block(attention=Attention(width=12, num_heads=2), width=12, mlp_width=24) for _ in range(2)]
    return ImageEncoder(patch_size=12, stride=4, width=12, blocks=blocks, embedding_channels=6)


def test_embedding_has_one_cell_per_stride(encoder: ImageEncoder) -> None:
    assert encoder(torch.randn(2, 1, 12, 12, 12)).shape == (2, 6, 3, 3, 3)


def test_patches_of_a_batch_do_not_mix(encoder: ImageEncoder) -> None:
    image = torch.randn(2, 1, 12, 12, 12)
    torch.testing.assert_close(encoder(image)[1:], encoder(image[1:]))


def test_axes_of_the_embedding_follow_the_image() -> None:
    """Without blocks, a change in the image stays within the neck's reach of one cell."""
    encoder = ImageEncoder(patch_size=20, stride=4, width=12, blocks=[], embedding_channels=6)
    image = torch.randn(1, 1, 20, 20, 20)
    changed = image.clone()
    changed[0, 0, 18, 9, 1] += 1
    where = (encoder(changed) - encoder(image)).abs().sum((0, 1)).nonzero()
    assert where.amin(0).tolist() == [3, 1, 0]
    assert where.amax(0).tolist() == [4, 3, 1]
