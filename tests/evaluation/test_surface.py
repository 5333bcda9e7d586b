from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sammoe_pipeline.evaluation.surface import BOTH_EMPTY, MaskScores, diagonal, score_masks
from sammoe_pipeline.image_io import Volume, read_volume, write_volume

SHAPE = (24, 20, 18)
SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 0.5, 1.2)]
Mask = NDArray[np.bool_]


def score(prediction: Mask, reference: Mask, **changed: object) -> MaskScores:
    usual = {"spacing_mm": (1.0, 1.0, 1.0), "tolerance_mm": 1.0, "diagonal_mm": 99.0}
    return score_masks(prediction, reference, **{**usual, **changed})  # type: ignore[arg-type]


def box(*ranges: tuple[int, int], shape: tuple[int, int, int] = SHAPE) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*ends) for ends in ranges)] = True
    return mask


def blob(seed: int) -> Mask:
    """A smooth random shape, which touches the border for some seeds."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 3)
    return np.asarray(noise > np.quantile(noise, 0.8))


EMPTY = box((0, 0), (0, 0), (0, 0))
CUBE = box((8, 14), (6, 12), (5, 11))
VOXEL = box((9, 10), (7, 8), (6, 7))
AT_BORDER = box((0, 7), (0, 20), (12, 18))
PAIRS = {
    "blobs": (blob(0), blob(1)),
    "one voxel in a cube": (VOXEL, CUBE),
    "two voxels": (VOXEL, box((20, 21), (2, 3), (17, 18))),
    "touching the border": (AT_BORDER, box((0, 9), (1, 20), (10, 18))),
    "two parts, one missed": (CUBE, CUBE | box((20, 23), (15, 19), (1, 4))),
}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", PAIRS)
def test_surface_scores_equal_monai_s_on_the_whole_image(pair: str, spacing: tuple[float, float, float]) -> None:
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    prediction, reference = PAIRS[pair]
    ours = score(prediction, reference, spacing_mm=spacing, tolerance_mm=1.3)
    batch = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    with warnings.catch_warnings():
        # MONAI's functions pass an argument to another of its functions that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        theirs = compute_surface_dice(*batch, class_thresholds=[1.3], include_background=True, spacing=spacing)
        distance = compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=spacing)
    assert ours.surface_dice == pytest.approx(theirs.item())
    assert ours.hd95_mm == pytest.approx(distance.item())


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", [*PAIRS, *range(2, 8)])
def test_a_second_library_agrees_within_a_voxel(pair: str | int, spacing: tuple[float, float, float]) -> None:
    from surface_distance import (
        compute_robust_hausdorff,
        compute_surface_dice_at_tolerance,
        compute_surface_distances,
    )

    prediction, reference = PAIRS[pair] if isinstance(pair, str) else (blob(pair), blob(pair + 100))
    with warnings.catch_warnings():
        # It calls scipy's functions by names that scipy has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = compute_surface_distances(reference, prediction, spacing)
    voxel_mm = float(np.linalg.norm(spacing))
    hd95_mm = score(prediction, reference, spacing_mm=spacing).hd95_mm
    assert hd95_mm == pytest.approx(compute_robust_hausdorff(distances, 95), abs=voxel_mm)
    for tolerance_mm in (voxel_mm, 2 * voxel_mm):
        strict, lenient = (
            score(prediction, reference, spacing_mm=spacing, tolerance_mm=tolerance_mm + change).surface_dice
            for change in (-voxel_mm, voxel_mm)
        )
        theirs = compute_surface_dice_at_tolerance(distances, tolerance_mm)
        assert strict is not None
        assert lenient is not None
        # Elements of a surface weigh by area there and alike here, which moves shares by some hundredths.
        assert strict - 0.03 <= theirs <= lenient + 0.03


def test_dice_and_iou_equal_nnunet_s_on_the_same_files(tmp_path: Path) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    maps = {name: blob(seed) + 2 * blob(seed + 1).astype(np.uint8) for name, seed in (("truth", 0), ("mask", 7))}
    paths = {name: tmp_path / f"{name}.nii.gz" for name in maps}
    for name, data in maps.items():
        write_volume(paths[name], Volume(data=data, affine=np.diag([-0.7, -0.7, 2.5, 1.0])))
    regions = [1, 2, (1, 2)]
    theirs = compute_metrics(str(paths["truth"]), str(paths["mask"]), SimpleITKIO(), regions, ignore_label=3)["metrics"]
    truth, mask = (read_volume(path) for path in (paths["truth"], paths["mask"]))
    for region in regions:
        ours = score(
            np.isin(mask.data, region),
            np.isin(truth.data, region),
            spacing_mm=truth.spacing_mm,
            valid=np.asarray(truth.data != 3),
        )
        assert ours.dice == pytest.approx(theirs[region]["Dice"])
        assert ours.iou == pytest.approx(theirs[region]["IoU"])


def test_two_empty_masks_have_only_volumes() -> None:
    assert score(EMPTY, EMPTY) == BOTH_EMPTY


def test_one_empty_mask_gets_the_worst_of_every_score() -> None:
    missed, invented = score(EMPTY, CUBE), score(CUBE, EMPTY)
    assert (missed.empty, invented.empty) == ("prediction", "reference")
    for found in (missed, invented):
        assert (found.dice, found.iou, found.surface_dice, found.hd95_mm) == (0, 0, 0, 99)
        assert found.volume_error_ml == pytest.approx(216 / 1000)


def test_a_mask_agrees_with_itself_though_it_is_one_voxel() -> None:
    for mask in (VOXEL, AT_BORDER, ~EMPTY):
        found = score(mask, mask, tolerance_mm=0.0)
        assert (found.dice, found.surface_dice, found.hd95_mm, found.volume_error_ml) == (1, 1, 0, 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distances_are_in_mm_along_each_axis(axis: int) -> None:
    found = score(VOXEL, np.roll(VOXEL, 2, axis), spacing_mm=(0.5, 1.0, 4.0))
    assert found.hd95_mm == pytest.approx(2 * (0.5, 1.0, 4.0)[axis])


def test_the_tolerance_is_inclusive_for_spacings_that_floats_cannot_hold() -> None:
    shifted = np.roll(VOXEL, 1, 0)
    for spacing_mm in (0.1, 0.7, float(np.float32(0.7)), 0.9375):
        assert score(VOXEL, shifted, spacing_mm=(spacing_mm, 1, 1), tolerance_mm=spacing_mm).surface_dice == 1
        assert score(VOXEL, shifted, spacing_mm=(spacing_mm, 1, 1), tolerance_mm=0.99 * spacing_mm).surface_dice == 0


def test_volumes_are_in_millilitres() -> None:
    found = score(CUBE, VOXEL, spacing_mm=(2.0, 2.0, 2.5))
    assert (found.prediction_ml, found.reference_ml) == pytest.approx((2.16, 0.01))
    assert found.volume_error_ml == pytest.approx(2.15)


def test_voxels_of_unknown_truth_belong_to_neither_mask() -> None:
    larger = CUBE | box((14, 18), (6, 12), (5, 11))
    assert score(larger, CUBE, valid=~larger | CUBE) == score(CUBE, CUBE)
    assert score(CUBE, VOXEL, valid=EMPTY) == BOTH_EMPTY


def test_nothing_depends_on_how_much_of_the_image_is_given() -> None:
    part = np.s_[6:18, 4:16, 3:14]
    moved = np.roll(CUBE, 3, 0)
    assert score(CUBE[part], moved[part]) == score(CUBE, moved)


def test_the_diagonal_is_in_mm() -> None:
    assert diagonal((2, 6, 6), (1.5, 2.0, 0.5)) == pytest.approx((9 + 144 + 9) ** 0.5)
