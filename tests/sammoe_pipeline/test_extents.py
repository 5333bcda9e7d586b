import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammoe_pipeline.extents import Extents


def image_of_a_body() -> NDArray[np.float64]:
    image = np.full((20, 30, 40), -1000.0)
    image[5:15, 10:30, :20] = 40.0
    return image


def test_the_body_is_what_stands_out() -> None:
    found = Extents.of(image_of_a_body())
    assert found.shape.tolist() == [20, 30, 40]
    assert (found.low.tolist(), found.high.tolist()) == ([5, 10, 0], [15, 30, 20])


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_without_contrast_the_body_is_the_image(value: float) -> None:
    found = Extents.of(np.full((4, 5, 6), value))
    assert (found.low.tolist(), found.high.tolist()) == ([0, 0, 0], [4, 5, 6])


def test_a_large_image_is_sampled_and_its_body_stays_within() -> None:
    image = np.zeros((401, 100, 100))
    image[200:] = 1.0
    found = Extents.of(image)
    assert found.low[0] == pytest.approx(200, abs=2)
    assert found.high.tolist() == [401, 100, 100]


def test_places_go_from_border_to_border_of_image_and_body() -> None:
    places = Extents.of(image_of_a_body()).places(np.array([2.0, 2.0, 2.0]), 5 * np.eye(3), 4)
    assert places.shape == (4, 4, 4, 6)
    # The middle of a voxel lies half a voxel behind its edge.
    assert places[0, 0, 0].tolist() == pytest.approx([-0.75, -2.5 / 3, -0.875, -1.5, -1.75, -0.75])
    assert places[3, 1, 2].tolist() == pytest.approx([0.75, -0.5, -0.375, 1.5, -1.25, 0.25])


def test_a_mirrored_window_has_mirrored_places() -> None:
    extents = Extents.of(image_of_a_body())
    plain = extents.places(np.array([2.0, 2.0, 2.0]), 5 * np.eye(3), 4)
    mirrored = extents.places(np.array([17.0, 2.0, 2.0]), np.diag([-5.0, 5.0, 5.0]), 4)
    torch.testing.assert_close(mirrored, plain.flip(0))


def test_places_are_the_same_on_a_finer_grid() -> None:
    extents = Extents.of(image_of_a_body())
    fine = extents.on((40, 60, 80)).places(np.array([4.5, 4.5, 4.5]), 10 * np.eye(3), 4)
    torch.testing.assert_close(fine, extents.places(np.array([2.0, 2.0, 2.0]), 5 * np.eye(3), 4))
