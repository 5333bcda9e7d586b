from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planning.case_labels import CaseLabels
from planning.class_in_case import contrast, measure_classes, thickness_mm
from sammoe_pipeline.raw_dataset import read_raw_dataset

MakeRaw = Callable[..., Path]


@pytest.mark.parametrize("width", [4, 10])
def test_thickness_is_that_of_the_thinnest_side(width: int) -> None:
    assert thickness_mm(np.ones((40, width, 30), dtype=np.bool_), (1.0, 1.0, 1.0)) == width


def test_thickness_minds_the_spacing() -> None:
    assert thickness_mm(np.ones((20, 20, 4), dtype=np.bool_), (1.0, 1.0, 3.0)) == 12


@pytest.mark.parametrize("difference", [0.0, 3.0, -3.0])
def test_contrast_is_in_standard_deviations_whatever_its_sign(difference: float) -> None:
    mask = np.zeros((24, 24, 24), dtype=np.bool_)
    mask[6:18, 6:18, 6:18] = True
    noise = np.random.default_rng(0).normal(0, 1, mask.shape)
    assert contrast(mask, (50 * noise + 50 * difference * mask).astype(np.float32)) == pytest.approx(
        abs(difference), abs=0.15
    )


def test_what_fills_the_image_has_no_contrast() -> None:
    mask = np.ones((5, 5, 5), dtype=np.bool_)
    assert contrast(mask, np.random.default_rng(0).random((5, 5, 5)).astype(np.float32)) == 0


def test_the_border_is_as_far_as_the_nearest_face(make_raw: MakeRaw) -> None:
    label = np.zeros((20, 20, 20), dtype=np.uint8)
    label[4:8, 5:9, 6:17] = 1
    label[15:18, 15:20, 15:18] = 2
    case = read_raw_dataset(make_raw({"a": label}, {"inner": 1, "cut_off": 2}, spacing_mm=2.0)).training_cases[0]
    found = measure_classes(
        CaseLabels.of(case), {"inner": (1,), "cut_off": (2,)}, [np.zeros(label.shape, dtype=np.float32)]
    )
    assert {name: one.border_mm for name, one in found.items()} == {"inner": 6, "cut_off": 0}


def test_intensities_are_relative_to_all_classes_of_the_case(make_raw: MakeRaw) -> None:
    label = np.zeros((12, 12, 12), dtype=np.uint8)
    label[1:5, 1:5, 1:5] = 1
    label[6:10, 6:10, 6:10] = 2
    case = read_raw_dataset(make_raw({"a": label}, {"dark": 1, "bright": 2})).training_cases[0]
    image = np.where(label == 2, 300, 100).astype(np.float32)
    # Planning looks along canonical axes, which this dataset's own are the reverse of in x and y.
    found = measure_classes(CaseLabels.of(case), {"dark": (1,), "bright": (2,)}, [image[::-1, ::-1]])
    assert [found[name].intensities for name in ("dark", "bright")] == [(-1.0,), (1.0,)]
