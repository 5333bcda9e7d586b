import copy

import pytest
import torch

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.geometry import crop
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.normalisation import normalise_positive
from tests.inference.conftest import BrightThing


@pytest.fixture
def encoded(bright_thing: BrightThing) -> EncodedImage:
    """A random image of 30 x 25 x 20 voxels."""
    image = torch.rand(30, 25, 20, generator=torch.Generator().manual_seed(0))
    return EncodedImage(image, model=bright_thing, normalisation="positive")  # type: ignore[arg-type]


def test_window_has_the_voxel_in_its_middle(encoded: EncodedImage) -> None:
    start = encoded.window_around((15.2, 12.0, 9.6))
    assert start == (7, 4, 2)
    image = encoded.image.clone()
    image[15, 12, 10] = 100
    assert EncodedImage(image, model=encoded.model, normalisation="positive").window(start).argmax() == 8 * 273


def test_window_is_normalised_by_itself_and_knows_its_outside(encoded: EncodedImage) -> None:
    start = (-4, 15, 3)
    expected = normalise_positive(crop(encoded.image, start, 16, pad_value=torch.nan))
    torch.testing.assert_close(encoded.window(start), expected)


def test_window_is_embedded_once(encoded: EncodedImage, bright_thing: BrightThing) -> None:
    first = encoded.embedding((0, 0, 0))
    assert first.shape == (1, 1, 16, 16, 16)
    assert encoded.embedding((0, 0, 0)) is first
    assert bright_thing.encoded == 1


def test_of_many_windows_those_used_last_are_kept(bright_thing: BrightThing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sammoe_pipeline.inference.encoded_image._KEPT_EMBEDDINGS", 2)
    encoded = EncodedImage(torch.rand(20, 20, 20), model=bright_thing, normalisation="positive")  # type: ignore[arg-type]
    for x in (0, 1, 0, 2, 0, 1):
        encoded.embedding((x, 0, 0))
    # 0 stays in use; 1 was dropped for 2 and is embedded again.
    assert bright_thing.encoded == 4


def test_a_click_more_costs_one_decoding_more(encoded: EncodedImage, bright_thing: BrightThing) -> None:
    clicks = tuple(Click(position=(float(x), 8.0, 8.0)) for x in range(5, 9))
    for count in range(1, len(clicks) + 1):
        encoded.logits((0, 0, 0), clicks[:count], None)
    assert [len(prompt) for prompt in bright_thing.prompts] == [1, 2, 3, 4]
    assert bright_thing.encoded == 1


@pytest.mark.parametrize("joined", [True, False])
def test_several_decoders_answer_as_each_does_alone(
    joined: bool, nano_foundation: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sammoe_pipeline.inference.encoded_image._joins", lambda _device: joined)
    model = nano_foundation.load_model()
    expert = copy.deepcopy(model.mask_decoder)
    torch.nn.init.normal_(expert.mask_tokens.weight)
    image = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(0))
    encoded = EncodedImage(image, model=model, normalisation="positive")
    clicks = (Click(position=(5.0, 8.0, 8.0)), Click(position=(9.0, 2.0, 3.0), positive=False))
    together = encoded.logits((0, 0, 0), clicks, None, expert)
    alone = [encoded.logits((0, 0, 0), clicks, decoder) for decoder in (None, expert)]
    assert not torch.allclose(alone[0], alone[1])
    torch.testing.assert_close(together, torch.cat(alone))
