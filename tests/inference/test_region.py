import numpy as np
import pytest
import torch

from sammoe_pipeline.inference.region import Box, Region
from sammoe_pipeline.inference.segment import OFF, Answer
from tests.inference.conftest import box

GRID = (12, 10, 8)
TURNED = Box(centre=(5.0, 5.0, 4.0), half_sides=((2.0, 2.0, 0.0), (-1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def _answer(logits: torch.Tensor, start: tuple[int, int, int]) -> Answer:
    return Answer(logits=logits, start=start, grid=GRID, windows=((0, 0, 0),))


def _on_grid(region: Region) -> np.ndarray:
    whole = np.zeros(GRID, dtype=np.bool_)
    whole[tuple(slice(s, s + n) for s, n in zip(region.start, region.inside.shape, strict=True))] = region.inside
    return whole


def test_voxels_whose_middle_lies_in_a_box_or_on_its_faces_are_inside() -> None:
    straight = Box(centre=(3.0, 4.0, 2.5), half_sides=((1.0, 0.0, 0.0), (0.0, 2.4, 0.0), (0.0, 0.0, 0.5)))
    np.testing.assert_array_equal(_on_grid(Region.of_box(straight, GRID)), box(GRID, (2, 5), (2, 7), (2, 4)))


def test_turned_box_holds_what_lies_between_its_faces() -> None:
    inside = _on_grid(Region.of_box(TURNED, GRID))
    for x, y, z in np.ndindex(*GRID):
        along, across = (x - 5 + y - 5) / 4, (y - 5 - (x - 5)) / 2
        assert inside[x, y, z] == (abs(along) <= 1 and abs(across) <= 1 and abs(z - 4) <= 1)


@pytest.mark.parametrize("away", [-30.0, 30.0])
def test_box_beside_the_grid_holds_nothing(away: float) -> None:
    beside = Box(centre=(away, 5.0, 4.0), half_sides=TURNED.half_sides)
    assert not Region.of_box(beside, GRID).inside.any()


def test_neighbourhood_of_a_mask_has_a_margin_along_each_axis() -> None:
    mask = box(GRID, (5, 6), (5, 6), (4, 5))
    near = _on_grid(Region.around(mask, (3.0, 1.0, 0.0)))
    assert near[2:9, 5, 4].all() and not near[1, 5, 4] and not near[9, 5, 4]
    assert near[5, 4:7, 4].all() and not near[5, 3, 4] and not near[5, 5, 3]


def test_neighbourhood_of_nothing_is_empty() -> None:
    assert not Region.around(np.zeros(GRID, dtype=np.bool_), (2.0, 2.0, 2.0)).inside.any()


def test_answer_speaks_against_itself_outside_of_the_region_only() -> None:
    logits = torch.full((6, 5, 4), 3.0)
    logits[0, 0, 0] = -2.0
    region = Region(inside=np.ones((4, 4, 4), dtype=np.bool_), start=(3, 2, 1))
    limited = region.limit(_answer(logits, (1, 1, 1))).full()
    expected = torch.full(GRID, OFF)
    expected[1:7, 1:6, 1:5] = -3.0
    expected[3:7, 2:6, 1:5] = 3.0
    expected[1, 1, 1] = -2.0
    assert torch.equal(limited, expected)


def test_answer_beside_the_region_is_empty() -> None:
    region = Region(inside=np.ones((2, 2, 2), dtype=np.bool_), start=(10, 8, 6))
    assert not region.limit(_answer(torch.full((4, 4, 4), 3.0), (0, 0, 0))).mask().any()
