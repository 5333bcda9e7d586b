from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.evaluation.pictures import Picture, centre_voxel, draw_picture, write_picture_png

EMPTY = np.zeros((20, 30, 10), dtype=bool)


def box(*sides: tuple[int, int]) -> np.ndarray:
    mask = EMPTY.copy()
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


@pytest.fixture
def picture() -> Picture:
    truth = box((4, 8), (10, 20), (2, 6))
    return Picture(
        dataset="Dataset001_Head",
        case="a",
        class_name="nerve",
        caption="A box.",
        image=np.random.default_rng(0).normal(size=EMPTY.shape).astype(np.float32),
        spacing_mm=(1.0, 1.0, 3.0),
        truth=truth,
        general=box((0, 8), (10, 30), (0, 10)),
        mixture=truth,
    )


def test_the_file_is_a_png(tmp_path: Path, picture: Picture) -> None:
    write_picture_png(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_planes_go_through_the_truth(picture: Picture) -> None:
    assert centre_voxel(picture) == pytest.approx([6, 14, 4], abs=1)


def test_planes_meet_a_paired_structure(picture: Picture) -> None:
    pair = box((1, 4), (10, 20), (2, 6)) | box((16, 19), (10, 20), (2, 6))
    assert pair[tuple(centre_voxel(replace(picture, truth=pair)))]


def test_without_truth_planes_go_through_the_mixture_s_mask_and_without_any_mask_through_the_middle(
    picture: Picture,
) -> None:
    mixture = box((15, 16), (3, 4), (8, 9))
    assert list(centre_voxel(replace(picture, truth=EMPTY, mixture=mixture))) == [15, 3, 8]
    assert list(centre_voxel(replace(picture, truth=EMPTY, mixture=EMPTY, general=EMPTY))) == [10, 15, 5]


@pytest.mark.parametrize("masks", ["truth", "general", "mixture"])
def test_empty_masks_can_be_drawn(picture: Picture, masks: str) -> None:
    draw_picture(replace(picture, **{masks: EMPTY})).canvas.draw()


def test_a_constant_image_without_masks_can_be_drawn(picture: Picture) -> None:
    blank = replace(picture, image=np.zeros(EMPTY.shape), truth=EMPTY, general=EMPTY, mixture=EMPTY)
    draw_picture(blank).canvas.draw()


def test_panels_have_the_proportions_of_the_body(picture: Picture) -> None:
    figure = draw_picture(picture)
    figure.canvas.draw()
    for axes in figure.axes:
        rows, columns = axes.images[0].get_array().shape
        plane = figure.axes.index(axes) // 4
        across_mm, up_mm = [(columns, rows), (columns, rows * 3.0), (columns, rows * 3.0)][plane]
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(across_mm / up_mm, rel=0.02)


def test_the_patient_s_right_front_and_head_are_left_and_on_top(picture: Picture) -> None:
    # RAS: a bright corner at the highest x (right), y (front) and z (head).
    image = np.zeros(EMPTY.shape, dtype=np.float32)
    image[-1, :, :] += 1
    image[:, -1, :] += 2
    image[:, :, -1] += 4
    everything = ~EMPTY
    figure = draw_picture(replace(picture, image=image, truth=everything))
    axial, coronal, sagittal = (figure.axes[row * 4].images[0].get_array() for row in range(3))
    for plane, left, top in ((axial, 1, 2), (coronal, 1, 4), (sagittal, 2, 4)):
        assert plane[-1, 0] == left
        assert plane[0, -1] == top
        assert plane[-1, -1] == 0


def test_columns_have_the_outlines_they_are_named_for(picture: Picture) -> None:
    figure = draw_picture(picture)
    assert [len(axes.collections) for axes in figure.axes[:4]] == [0, 1, 2, 2]


def test_dice_stands_over_the_masks(picture: Picture) -> None:
    words = [text.get_text() for text in draw_picture(picture).texts]
    assert "Dice 100.0 %" in words
    assert sum(word.startswith("Dice") for word in words) == 2
