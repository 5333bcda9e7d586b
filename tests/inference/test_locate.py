import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.locate import probability_maps, sight
from tests.inference.conftest import BrightThing, box


class CoarseBrightThing(BrightThing):
    """Its mask cells are cubes of four voxels."""

    mask_size = 4


def _read_off(embedding: Tensor, places: Tensor) -> Tensor:
    """Stands for a locator of two classes: where the image is bright, and where it is dark."""
    bright = torch.nn.functional.avg_pool3d(embedding, 4)
    return torch.cat([bright, -bright], dim=1)


def _encoded(shape: tuple[int, int, int]) -> EncodedImage:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.1
    return EncodedImage(image, model=CoarseBrightThing(), normalisation="positive")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 9, 16), (16, 16, 16), (17, 33, 40), (64, 7, 25)])
def test_maps_cover_images_of_every_size(shape: tuple[int, int, int]) -> None:
    maps = probability_maps(_encoded(shape), [_read_off])  # type: ignore[list-item]
    # Cells whose middle lies in the image; every image has one.
    assert maps.shape == (2, *(max(1, math.floor(n / 4 + 0.5)) for n in shape))
    assert ((maps > 0) & (maps < 1)).all()


def test_maps_tell_where_things_are() -> None:
    encoded = _encoded((40, 20, 33))
    encoded.image.fill_(1.0)
    encoded.image[24:28, 8:12, 20:24] = 100.0
    maps = probability_maps(encoded, [_read_off])  # type: ignore[list-item]
    assert np.unravel_index(int(maps[0].argmax()), maps[0].shape) == (6, 2, 5)


def test_probabilities_of_folds_are_averaged() -> None:
    encoded = _encoded((16, 16, 16))
    sure, never = (lambda e, p, v=value: torch.full((1, 1, 4, 4, 4), v) for value in (50.0, -50.0))
    maps = probability_maps(encoded, [sure, never, never])  # type: ignore[list-item]
    torch.testing.assert_close(maps, torch.full((1, 4, 4, 4), 1 / 3))


def rounded(click: Click) -> tuple[int, ...]:
    return tuple(round(place) for place in click.position)


def _map() -> Tensor:
    """A large likely component, a smaller one less likely, and one too small to count."""
    probability = torch.full((12, 12, 12), 0.01)
    probability[box(probability.shape, (1, 5), (1, 5), (1, 5))] = 0.7
    probability[2, 3, 2] = 0.8
    probability[box(probability.shape, (8, 11), (8, 11), (8, 11))] = 0.6
    probability[9, 9, 9] = 0.65
    probability[1, 1, 10] = 0.6
    return probability


def test_every_sizable_component_gets_a_click_the_likeliest_first() -> None:
    seen = sight(_map(), cell=1, components=True)
    assert seen.peak == pytest.approx(0.8)
    assert [rounded(click) for click in seen.clicks] == [(2, 3, 2), (9, 9, 9)]


def test_class_that_is_one_target_gets_one_click() -> None:
    assert [rounded(click) for click in sight(_map(), cell=1, components=False).clicks] == [(2, 3, 2)]


def test_click_lies_in_the_middle_of_a_cell_that_is_likely_alone() -> None:
    probability = torch.zeros(12, 12, 12)
    probability[2, 3, 2] = 0.8
    assert sight(probability, cell=4, components=False).clicks[0].position == pytest.approx((9.5, 13.5, 9.5))


def test_click_lies_between_two_cells_that_are_as_likely() -> None:
    probability = torch.zeros(12, 12, 12)
    probability[2, 3, 2] = probability[3, 3, 2] = 0.8
    assert sight(probability, cell=4, components=False).clicks[0].position == pytest.approx((11.5, 13.5, 9.5))


def test_click_on_the_last_cell_of_an_image_lies_in_the_image() -> None:
    for n in range(1, 20):
        maps = probability_maps(_encoded((n, 16, 16)), [_read_off])  # type: ignore[list-item]
        last = torch.zeros(maps.shape[1:])
        last[-1, 0, 0] = 1.0
        assert sight(last, cell=4, components=False).clicks[0].position[0] <= max(n - 0.5, 1.5)


def test_click_lies_deep_even_where_the_border_is_likelier() -> None:
    probability = torch.full((12, 12, 12), 0.01)
    probability[1:8, 1:8, 1:8] = 0.7
    probability[1, 1, 1] = 0.9
    x, y, z = sight(probability, cell=1, components=False).clicks[0].position
    assert min(x, y, z) >= 1.5


def test_map_of_a_class_that_is_nowhere_has_a_peak_and_no_failure() -> None:
    seen = sight(torch.zeros(4, 4, 4), cell=2, components=True)
    assert seen.peak == 0.0
    assert len(seen.clicks) <= 1
