from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.segment import OFF, Answer, segment
from tests.inference.conftest import BrightThing, box, encode

SHAPE = (60, 24, 20)
BAR = box(SHAPE, (4, 56), (9, 15), (8, 13))
ON_THE_BAR = Click(position=(12.0, 12.0, 10.0))


def _mask(answer: Answer) -> np.ndarray:
    return (answer.full() > 0).numpy()


def test_small_target_is_answered_from_one_window_as_the_decoder_has_it(bright_thing: BrightThing) -> None:
    target = box(SHAPE, (8, 13), (9, 15), (8, 13))
    answer = segment(encode(bright_thing, target), [Click(position=(10.0, 12.0, 10.0))])
    assert answer.windows == ((2, 4, 2),)
    np.testing.assert_array_equal(_mask(answer), target)
    assert bright_thing.prompts == [[((8.0, 8.0, 8.0), 1)]]


def test_window_that_hangs_over_the_image_is_answered_within_it(bright_thing: BrightThing) -> None:
    target = box(SHAPE, (0, 4), (0, 5), (15, 20))
    answer = segment(encode(bright_thing, target), [Click(position=(1.0, 2.0, 18.0))])
    assert answer.windows == ((-7, -6, 10),)
    assert answer.start == (0, 0, 10)
    assert tuple(answer.logits.shape) == (9, 10, 10)
    np.testing.assert_array_equal(_mask(answer), target)


def test_image_smaller_than_a_window_is_answered_whole(bright_thing: BrightThing) -> None:
    target = box((9, 8, 10), (2, 6), (0, 8), (3, 7))
    answer = segment(encode(bright_thing, target), [Click(position=(3.0, 4.0, 4.0))])
    np.testing.assert_array_equal(_mask(answer), target)
    assert len(answer.windows) == 1


def test_long_bar_is_followed_from_window_to_window_until_it_closes(bright_thing: BrightThing) -> None:
    answer = segment(encode(bright_thing, BAR), [ON_THE_BAR])
    assert len(answer.windows) > 3
    np.testing.assert_array_equal(_mask(answer), BAR)


def test_window_that_ends_with_the_image_is_left_nowhere(bright_thing: BrightThing) -> None:
    through = box((16, 24, 20), (0, 16), (9, 15), (8, 13))
    answer = segment(encode(bright_thing, through), [Click(position=(8.0, 12.0, 10.0))])
    assert len(answer.windows) == bright_thing.encoded == 1


def test_every_window_is_encoded_once_for_all_folds(bright_thing: BrightThing) -> None:
    other: Any = lambda logits: logits  # noqa: E731
    answer = segment(encode(bright_thing, BAR), [ON_THE_BAR], [None, other])
    assert bright_thing.encoded == len(answer.windows)
    beginnings = [clicks for clicks in bright_thing.prompts if len(clicks) == 1]
    assert len(beginnings) == 2 * len(answer.windows)


def test_no_more_windows_than_allowed_are_looked_at(bright_thing: BrightThing) -> None:
    answer = segment(encode(bright_thing, BAR), [ON_THE_BAR], max_windows=2)
    assert len(answer.windows) == 2
    found = _mask(answer)
    assert found.any() and not found[30:].any()
    assert (found <= BAR).all()


def test_window_that_contradicts_what_is_known_is_dropped(bright_thing: BrightThing) -> None:
    alone = segment(encode(bright_thing, BAR), [ON_THE_BAR], max_windows=1)

    def inverted_after_the_first(logits: Tensor) -> Tensor:
        return logits if len(bright_thing.prompts) == first else -logits

    first = len(bright_thing.prompts) + 1
    answer = segment(encode(bright_thing, BAR), [ON_THE_BAR], [inverted_after_the_first])  # type: ignore[list-item]
    assert len(bright_thing.prompts) > first
    assert answer.windows == alone.windows
    assert torch.equal(answer.logits, alone.logits)


def test_what_does_not_hang_together_with_a_click_is_neither_followed_nor_answered(bright_thing: BrightThing) -> None:
    here, there = box(SHAPE, (8, 13), (9, 15), (8, 13)), box(SHAPE, (17, 50), (9, 15), (8, 13))

    def everything(logits: Tensor) -> Tensor:
        shown = torch.from_numpy((here | there)[2:18, 4:20, 2:18])
        return torch.where(shown, 8.0, -8.0).expand_as(logits)

    answer = segment(encode(bright_thing, here | there), [Click(position=(10.0, 12.0, 10.0))], [everything])  # type: ignore[list-item]
    assert answer.windows == ((2, 4, 2),)
    np.testing.assert_array_equal(_mask(answer), here)
    assert answer.full()[17, 12, 10] == -8


def test_click_outside_the_first_window_opens_one_of_its_own(bright_thing: BrightThing) -> None:
    here, there = box(SHAPE, (3, 8), (9, 15), (8, 13)), box(SHAPE, (40, 45), (9, 15), (8, 13))
    clicks = [Click(position=(5.0, 12.0, 10.0)), Click(position=(42.0, 12.0, 10.0))]
    answer = segment(encode(bright_thing, here | there), clicks)
    assert len(answer.windows) == 2
    np.testing.assert_array_equal(_mask(answer), here | there)


def test_what_the_user_clicked_on_comes_before_what_a_mask_leads_to(bright_thing: BrightThing) -> None:
    other = box(SHAPE, (40, 45), (1, 5), (8, 13))
    clicks = [ON_THE_BAR, Click(position=(42.0, 3.0, 10.0))]
    answer = segment(
        encode(bright_thing, (BAR & ~box(SHAPE, (35, 60), (0, 24), (0, 20))) | other), clicks, max_windows=2
    )
    assert _mask(answer)[other].all()


def test_clicks_of_a_window_are_taken_one_after_another(bright_thing: BrightThing) -> None:
    clicks = [
        Click(position=(12.0, 12.0, 10.0)),
        Click(position=(12.0, 5.0, 10.0), positive=False),
        Click(position=(14.0, 12.0, 9.0)),
    ]
    segment(encode(bright_thing, BAR), clicks, max_windows=1)
    local = [((8.0, 8.0, 8.0), 1), ((8.0, 1.0, 8.0), 0), ((10.0, 8.0, 7.0), 1)]
    assert bright_thing.prompts == [local[:1], local[:2], local]


def test_window_of_a_later_click_begins_with_that_click(bright_thing: BrightThing) -> None:
    clicks = [
        Click(position=(12.0, 12.0, 10.0)),
        Click(position=(45.0, 5.0, 10.0), positive=False),
        Click(position=(45.0, 12.0, 10.0)),
    ]
    segment(encode(bright_thing, BAR), clicks, max_windows=2)
    local = [((8.0, 8.0, 8.0), 1), ((8.0, 1.0, 8.0), 0)]
    assert bright_thing.prompts[1:] == [local[:1], local]


def test_folds_of_an_expert_are_averaged_as_logits(bright_thing: BrightThing) -> None:
    target = box(SHAPE, (8, 13), (9, 15), (8, 13))
    folds = [lambda logits: logits + 1, lambda logits: 3 * logits]
    answer = segment(encode(bright_thing, target), [Click(position=(10.0, 12.0, 10.0))], folds)  # type: ignore[arg-type]
    # 8 + 1 and 24; -8 + 1 and -24.
    assert {round(value, 3) for value in answer.logits.unique().tolist()} == {16.5, -15.5}


def test_answer_on_its_own_grid_is_itself() -> None:
    answer = Answer(logits=torch.randn(4, 3, 5), start=(1, 2, 0), grid=(8, 9, 7), windows=())
    assert answer.on((8, 9, 7)) is answer


def test_answer_is_off_outside_its_box() -> None:
    answer = Answer(logits=torch.ones(4, 3, 5), start=(1, 2, 0), grid=(8, 9, 7), windows=())
    full = answer.full()
    assert (full == 1).sum() == 60 and (full[1:5, 2:5, 0:5] == 1).all()
    assert set(full.unique().tolist()) == {OFF, 1.0}


@pytest.mark.parametrize("grid", [(16, 18, 14), (5, 6, 4)])
def test_answer_of_the_whole_grid_is_interpolated_as_an_image_is(grid: tuple[int, int, int]) -> None:
    logits = torch.randn(8, 9, 7)
    answer = Answer(logits=logits, start=(0, 0, 0), grid=(8, 9, 7), windows=((0, 0, 0),)).on(grid)
    expected = F.interpolate(logits[None, None], size=grid, mode="trilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(answer.full(), expected, atol=1e-5, rtol=0)
    assert answer.windows == ((0, 0, 0),)


def test_box_keeps_its_place_on_a_finer_grid() -> None:
    answer = Answer(logits=torch.ones(4, 3, 5), start=(1, 2, 0), grid=(8, 9, 7), windows=()).on((16, 18, 14))
    full = answer.full()
    assert (full[2:10, 4:10, 0:10] == 1).all()
    assert (full == 1).sum() == 8 * 6 * 10
