from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sammoe_pipeline.evaluation.pictures import (
    DIRECTIONS,
    Picture,
    Plane,
    best_median_worst,
    centre_voxel,
    draw_pictures,
    take_planes,
)

EMPTY = np.zeros((20, 30, 10), dtype=bool)
SPACING_MM = np.array([1.0, 1.0, 3.0])


def box(*sides: tuple[int, int]) -> NDArray[np.bool_]:
    mask = EMPTY.copy()
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


TRUTH = box((4, 8), (10, 20), (2, 6))


def planes(**changed: Any) -> tuple[Plane, ...]:
    usual: dict[str, Any] = {
        "image": np.random.default_rng(0).normal(size=EMPTY.shape).astype(np.float32),
        "truth": TRUTH,
        "general": box((0, 8), (10, 30), (0, 10)),
        "mixture": TRUTH,
    }
    masks = usual | changed
    return take_planes(masks.pop("image"), SPACING_MM.tolist(), **masks)


@pytest.fixture
def picture() -> Picture:
    return Picture(
        dataset="Dataset001_Head", case="a", class_name="nerve", general_dice=0.5, mixture_dice=1.0, planes=planes()
    )


def draw(*pictures: Picture) -> Figure:
    figure = draw_pictures([("Best", picture) for picture in pictures])
    figure.canvas.draw()
    return figure


def test_planes_go_through_the_truth() -> None:
    assert centre_voxel([TRUTH], SPACING_MM) == pytest.approx([6, 14, 4], abs=1)
    assert all(plane.truth.any() for plane in planes())


def test_planes_meet_a_paired_structure() -> None:
    pair = box((1, 4), (10, 20), (2, 6)) | box((16, 19), (10, 20), (2, 6))
    assert pair[tuple(centre_voxel([pair], SPACING_MM))]


def test_without_truth_planes_go_through_the_next_mask_and_without_any_through_the_middle() -> None:
    mixture = box((15, 16), (3, 4), (8, 9))
    assert list(centre_voxel([EMPTY, mixture], SPACING_MM)) == [15, 3, 8]
    assert list(centre_voxel([EMPTY, EMPTY], SPACING_MM)) == [10, 15, 5]


@pytest.mark.parametrize("masks", ["truth", "general", "mixture"])
def test_empty_masks_can_be_drawn(picture: Picture, masks: str) -> None:
    draw(replace(picture, planes=planes(**{masks: EMPTY})))


def test_a_constant_image_without_masks_can_be_drawn(picture: Picture) -> None:
    blank = planes(image=np.zeros(EMPTY.shape), truth=EMPTY, general=EMPTY, mixture=EMPTY)
    draw(replace(picture, planes=blank))


def test_unknown_intensities_can_be_drawn() -> None:
    image = np.full(EMPTY.shape, np.nan)
    image[5:, :, :] = 3.0
    assert {plane.image.dtype for plane in planes(image=image)} == {np.dtype(np.uint8)}


def test_panels_have_the_proportions_of_the_body(picture: Picture) -> None:
    for axes, plane in zip(draw(picture).axes[1:], picture.planes, strict=True):
        tall, wide = plane.size_mm
        window = axes.get_window_extent()
        assert window.width / window.height == pytest.approx(wide / tall, rel=0.02)


def test_the_patient_s_right_front_and_head_are_left_and_on_top() -> None:
    # RAS: a bright corner at the highest x (right), y (front) and z (head).
    image = np.zeros(EMPTY.shape, dtype=np.float32)
    image[-1, :, :] += 1
    image[:, -1, :] += 2
    image[:, :, -1] += 4
    found = planes(image=image, truth=~EMPTY)
    for plane, left, top in zip(found, (1, 1, 2), (2, 4, 4), strict=True):
        corner, lower_left, upper_right = (int(plane.image[at]) for at in ((0, 0), (-1, 0), (0, -1)))
        assert lower_left / upper_right == pytest.approx(left / top, rel=0.05)
        assert corner >= max(lower_left, upper_right)
        assert plane.image[-1, -1] == 0


def test_large_planes_are_thinned_out_and_keep_their_size() -> None:
    shape = (700, 40, 12)
    mask = np.ones(shape, dtype=bool)
    found = take_planes(np.zeros(shape), (1.0, 1.0, 3.0), truth=mask, general=mask, mixture=mask)
    assert max(max(plane.image.shape) for plane in found) <= 320
    assert found[0].size_mm == pytest.approx((40, 700), rel=0.06)


def test_all_but_the_bare_image_have_three_outlines(picture: Picture) -> None:
    figure = draw(picture)
    assert len(figure.axes) == 1 + len(DIRECTIONS)
    assert [len(axes.collections) for axes in figure.axes] == [0, 3, 3, 3]


def test_dice_and_case_stand_over_each_row(picture: Picture) -> None:
    words = " ".join(text.get_text() for text in draw(picture, replace(picture, case="b")).texts)
    assert words.count("Dice of the general expert 50.0, of the mixture 100.0") == 2
    assert "Best: a" in words and "Best: b" in words


def test_best_median_and_worst_are_by_dice_of_the_mixture(picture: Picture) -> None:
    cases = [
        replace(picture, case=case, mixture_dice=dice)
        for case, dice in zip("abcde", (0.5, 0.9, None, 0.7, 0.6), strict=True)
    ]
    chosen = [(words, one.case) for words, one in best_median_worst(cases)]
    assert chosen == [("Best", "b"), ("Median", "e"), ("Worst", "c")]


def test_few_cases_are_shown_once_each(picture: Picture) -> None:
    assert [words for words, _ in best_median_worst([picture])] == ["Best"]
    two = [picture, replace(picture, case="b", mixture_dice=0.2)]
    assert [words for words, _ in best_median_worst(two)] == ["Best", "Worst"]
