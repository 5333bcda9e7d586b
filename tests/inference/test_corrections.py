from typing import Any

import numpy as np
import pytest
import torch

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.corrections import Correction
from sammoe_pipeline.inference.segment import Answer

GRID = (60, 40, 40)
CENTRE = (24, 20, 20)
RADIUS = 10


def _ball(radius: int = RADIUS) -> Answer:
    """A ball in a box that is a part of the grid, its border well within."""
    start = tuple(at - 12 for at in CENTRE)
    distance = np.linalg.norm(np.indices((25, 25, 25)) - 12, axis=0)
    logits = torch.from_numpy(np.where(distance <= radius, 3.0, -3.0).astype(np.float32))
    return Answer(logits=logits, start=(start[0], start[1], start[2]), grid=GRID, windows=())


def _at(depth: float, *, positive: bool = True, **changes: Any) -> Correction:
    """A click on the x axis through the ball's middle; `depth` voxels inside its border, or outside where below 0."""
    click = Click(position=(float(CENTRE[0] + RADIUS - depth), CENTRE[1], CENTRE[2]), positive=positive)
    return Correction.of(_ball(), click, **({"spacing_mm": (1.0, 1.0, 1.0)} | changes))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("depth", [1, -1])
def test_click_at_the_border_tells_nothing(depth: float, positive: bool) -> None:
    assert _at(depth, positive=positive) == Correction(trust=0.0, doubt=0.0)


@pytest.mark.parametrize(("depth", "positive"), [(10, False), (-8, True), (-25, True)])
def test_click_that_is_deep_in_what_is_wrong_says_that_the_answer_is_of_another_thing(
    depth: float, positive: bool
) -> None:
    assert _at(depth, positive=positive) == Correction(trust=1.0, doubt=1.0)


@pytest.mark.parametrize(("depth", "positive"), [(10, True), (-25, False)])
def test_click_that_confirms_the_answer_raises_no_doubt(depth: float, positive: bool) -> None:
    assert _at(depth, positive=positive) == Correction(trust=1.0, doubt=0.0)


def test_the_deeper_the_click_the_more_it_says() -> None:
    told = [_at(depth, positive=False).doubt for depth in (3, 4, 5)]
    assert 0 < told[0] < told[1] < told[2] < 1


def test_depth_counts_in_radii_of_the_mask() -> None:
    beside = Click(position=(CENTRE[0] + 9.0, *CENTRE[1:]))
    large, small = (Correction.of(_ball(radius), beside, (1.0, 1.0, 1.0)).doubt for radius in (7, 4))
    assert large < 0.5 < small


@pytest.mark.parametrize(("start", "told"), [(20, 0.0), (0, 1.0)])
def test_a_mask_ends_where_its_box_does_but_not_where_the_image_does(start: int, told: float) -> None:
    box = Answer(logits=torch.full((20, 40, 40), 3.0), start=(start, 0, 0), grid=GRID, windows=())
    click = Click(position=(float(start), 20.0, 20.0), positive=False)
    assert Correction.of(box, click, (1.0, 1.0, 1.0)).doubt == told


def test_distances_are_in_millimetres() -> None:
    along_x, across = Click(position=(CENTRE[0] + 14.0, *CENTRE[1:])), Click(position=(*CENTRE[:2], CENTRE[2] + 14.0))
    near, far = (Correction.of(_ball(), click, (1.0, 1.0, 3.0)).doubt for click in (along_x, across))
    assert near < far


def test_empty_answer_is_wholly_wrong() -> None:
    assert Correction.of(_ball(-1), Click(position=(5.0, 5.0, 5.0)), (1.0, 1.0, 1.0)) == Correction(1.0, 1.0)
