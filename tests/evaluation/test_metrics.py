from __future__ import annotations

import numpy as np
import pytest

from sammoe_pipeline.evaluation.metrics import dice


def cube(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    assert dice(cube(0, 4), cube(2, 6)) == pytest.approx(2 * 8 / (64 + 64))


def test_a_mask_agrees_with_itself() -> None:
    assert dice(cube(2, 5), cube(2, 5)) == 1.0


def test_two_empty_masks_have_no_dice() -> None:
    assert dice(cube(0, 0), cube(0, 0)) is None


def test_one_empty_mask_is_a_complete_miss() -> None:
    assert dice(cube(0, 0), cube(2, 4)) == 0.0
    assert dice(cube(2, 4), cube(0, 0)) == 0.0


def test_unknown_voxels_count_on_neither_side() -> None:
    prediction, reference = cube(0, 4), cube(0, 4)
    reference[0] = False
    valid = np.ones_like(reference)
    valid[0] = False
    assert dice(prediction, reference) != 1.0
    assert dice(prediction, reference, valid) == 1.0
    assert dice(prediction, reference, np.zeros_like(valid)) is None


def test_the_arguments_are_left_alone() -> None:
    prediction, valid = cube(0, 4), cube(2, 8)
    dice(prediction, cube(0, 4), valid)
    assert np.array_equal(prediction, cube(0, 4))


def test_it_equals_nnunet_s() -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

    rng = np.random.default_rng(0)
    prediction, reference, ignore = (rng.random((6, 7, 8)) < share for share in (0.3, 0.4, 0.2))
    tp, fp, fn, _ = compute_tp_fp_fn_tn(reference, prediction, ignore)
    assert dice(prediction, reference, ~ignore) == pytest.approx(2 * tp / (2 * tp + fp + fn))
