import math

import pytest
import torch

from sammoe_pipeline.model.attention import Attention
from sammoe_pipeline.model.detailed_encoder import VOXELS, DetailedImageEncoder, detail_of, pack, unpack, voxels_of
from sammoe_pipeline.model.image_encoder import Block
from sammoe_pipeline.model.locator import PLACES, Locator
from sammoe_pipeline.model.mask_decoder import MaskDecoder, compared
from sammoe_pipeline.model.transformer import TwoWayTransformer

CONTEXT, DETAIL = 16, 2


def _encoder(*blocks: Block) -> DetailedImageEncoder:
    torch.manual_seed(0)
    return DetailedImageEncoder(
        patch_size=32, widths=(4, 6), width=12, blocks=blocks, context_channels=CONTEXT, detail_channels=DETAIL
    )


@pytest.fixture
def encoder() -> DetailedImageEncoder:
    return _encoder(Block(attention=Attention(width=12, num_heads=2), width=12, mlp_width=24))


def test_embedding_holds_context_and_the_detail_of_64_mask_cells(encoder: DetailedImageEncoder) -> None:
    embedding = encoder(torch.randn(2, 1, 32, 32, 32))
    assert embedding.shape == (2, encoder.embedding_channels, 4, 4, 4)
    assert encoder.embedding_channels == CONTEXT + 64 * (DETAIL + VOXELS)


def test_patches_of_a_batch_do_not_mix(encoder: DetailedImageEncoder) -> None:
    image = torch.randn(2, 1, 32, 32, 32, dtype=torch.float64)
    encoder.double()
    torch.testing.assert_close(encoder(image)[1:], encoder(image[1:]))


def test_detail_stays_where_it_was_in_the_image() -> None:
    """Without blocks, a change in the image reaches no further than the convolutions."""
    encoder = _encoder()
    image = torch.randn(1, 1, 32, 32, 32)
    changed = image.clone()
    changed[0, 0, 30, 15, 1] += 1
    detail, other = (detail_of(encoder(x), CONTEXT) for x in (image, changed))
    where = (detail - other).abs().sum(dim=(0, 4))
    assert where[15, 7, 0] > 0
    assert where[:8].max() == 0 and where[:, :, 12:].max() == 0


def test_embedding_holds_the_voxels_of_each_mask_cell(encoder: DetailedImageEncoder) -> None:
    image = torch.randn(2, 1, 32, 32, 32)
    voxels = voxels_of(encoder(image))
    assert voxels.shape == (2, 16, 16, 16, VOXELS)
    assert torch.equal(voxels[1, 3, 0, 15], image[1, 0, 6:8, 0:2, 30:32].flatten())


def test_packed_detail_is_unpacked_as_it_was() -> None:
    detail = torch.randn(2, 12, 12, 12, DETAIL)
    packed = pack(detail)
    assert packed.shape == (2, 64 * DETAIL, 3, 3, 3)
    torch.testing.assert_close(unpack(packed), detail)


def test_packed_detail_lies_under_its_cell() -> None:
    detail = torch.zeros(1, 12, 12, 12, DETAIL)
    detail[0, 9, 2, 6] = 1
    assert pack(detail)[0].any(dim=0).nonzero().tolist() == [[2, 0, 1]]


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(1, CONTEXT + 64 * (DETAIL + VOXELS), 3, 3, 3)


@pytest.fixture
def other(embedding: torch.Tensor) -> torch.Tensor:
    """The same with the detail of mask cell (9, 2, 6) changed."""
    change = torch.zeros(1, 12, 12, 12, DETAIL)
    change[0, 9, 2, 6] = 1
    return embedding + torch.cat([torch.zeros(1, CONTEXT, 3, 3, 3), pack(change), torch.zeros(1, 512, 3, 3, 3)], dim=1)


def test_decoder_reads_the_detail_of_mask_cells_near_by(embedding: torch.Tensor, other: torch.Tensor) -> None:
    transformer = TwoWayTransformer(depth=1, width=CONTEXT, cross_width=8, num_heads=2, mlp_width=16)
    decoder = MaskDecoder(
        transformer=transformer, channels=CONTEXT, num_mask_tokens=1, quality_width=None, detail_channels=DETAIL
    )
    position, sparse, dense = torch.randn(1, CONTEXT, 3, 3, 3), torch.randn(1, 2, CONTEXT), torch.zeros(1)
    logits = [
        decoder(x, position, sparse, dense, clicks=torch.full((1, 1, 3), 0.1), labels=torch.ones(1, 1))
        for x in (embedding, other)
    ]
    changed = (logits[0] != logits[1])[0, 0].nonzero()
    assert [9, 2, 6] in changed.tolist()
    assert (changed - torch.tensor([9, 2, 6])).abs().max() == 2


def test_locator_reads_the_detail_of_each_mask_cell(embedding: torch.Tensor, other: torch.Tensor) -> None:
    locator = Locator(channels=CONTEXT, num_classes=2, detail_channels=DETAIL, widths=(8, 6, 4))
    places = torch.zeros(1, *embedding.shape[2:], PLACES)
    changed = (locator(embedding, places) != locator(other, places)).any(dim=1)[0].nonzero()
    assert [9, 2, 6] in changed.tolist()
    assert (changed - torch.tensor([9, 2, 6])).abs().max() == 1


def test_locator_that_looks_again_sees_the_voxels(embedding: torch.Tensor) -> None:
    torch.manual_seed(0)
    locator = Locator(channels=CONTEXT, num_classes=2, detail_channels=DETAIL, second_look=True, widths=(8, 6, 4))
    places = torch.zeros(1, *embedding.shape[2:], PLACES)
    changed = embedding.clone()
    changed[:, -64 * VOXELS :, 1, 0, 2] += 1.0
    assert torch.equal(locator(embedding, places), locator(changed, places)), "it adds nothing before it is trained"
    assert locator.second_look is not None
    torch.nn.init.normal_(locator.second_look.leave.weight)
    assert not torch.equal(locator(embedding, places), locator(changed, places))


def test_cells_are_compared_with_the_nearest_click_of_each_kind() -> None:
    detail = torch.zeros(1, 12, 12, 12, DETAIL)
    detail[0, 2], detail[0, 7] = 1.0, 3.0
    clicks = (torch.tensor([[[2, 5, 5], [7, 5, 5], [0, 0, 0]]]) + 0.5) / 12
    kept, positive, negative = compared(detail, clicks, torch.tensor([[1, 0, -1]])).split(DETAIL, dim=-1)
    assert torch.equal(kept, detail)
    near, far = math.exp(-1), math.exp(-4)
    torch.testing.assert_close(positive[0, [2, 7, 0], 5, 5, 0], torch.tensor([1.0, far, near]))
    torch.testing.assert_close(negative[0, [2, 7, 0], 5, 5, 0], torch.tensor([far, 1.0, math.exp(-9)]))


def test_without_a_negative_click_nothing_is_like_one() -> None:
    detail = torch.randn(2, 12, 12, 12, DETAIL)
    compared_with = compared(detail, torch.rand(2, 1, 3), torch.ones(2, 1))
    assert (compared_with[..., 2 * DETAIL :] == 0).all() and (compared_with[..., DETAIL : 2 * DETAIL] > 0).any()


def test_clicks_on_one_image_are_compared_with_it(embedding: torch.Tensor) -> None:
    detail = detail_of(embedding, CONTEXT)
    clicks, labels = torch.rand(3, 2, 3), torch.tensor([[1, 1], [1, 0], [1, -1]])
    torch.testing.assert_close(
        compared(detail, clicks, labels), compared(detail.expand(3, -1, -1, -1, -1), clicks, labels)
    )
