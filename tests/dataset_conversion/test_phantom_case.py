from __future__ import annotations

import numpy as np
import pytest

from dataset_conversion.phantoms.case import MAX_TILT_DEGREES, PhantomCase, store

SPACING_MM = np.array([1.0, 2.0, 3.5])


def stored(seed: int, oblique_share: float) -> PhantomCase:
    """A box with two marks, the second one 4, 3 and 2 voxels to the right, to the front and above the first."""
    image = np.zeros((9, 8, 7), dtype=np.float32)
    image[2, 3, 1], image[6, 6, 3] = 1, 2
    return store(
        np.random.default_rng(seed),
        image=image,
        labels=image.astype(np.uint8),
        spacing_mm=SPACING_MM,
        oblique_share=oblique_share,
    )


def mm_between_marks(case: PhantomCase) -> np.ndarray:
    first, second = (np.argwhere(case.image == mark)[0] for mark in (1, 2))
    return np.asarray(case.affine[:3, :3] @ (second - first))


@pytest.mark.parametrize("seed", range(12))
def test_stored_orientation_keeps_places_in_the_patient(seed: int) -> None:
    np.testing.assert_allclose(mm_between_marks(stored(seed, oblique_share=0)), [4, 6, 7])


@pytest.mark.parametrize("seed", range(6))
def test_tilt_turns_without_stretching_and_stays_small(seed: int) -> None:
    straight, tilted = np.array([4.0, 6.0, 7.0]), mm_between_marks(stored(seed, oblique_share=1))
    assert np.linalg.norm(tilted) == pytest.approx(np.linalg.norm(straight))
    angle = np.degrees(np.arccos(tilted @ straight / np.linalg.norm(straight) ** 2))
    assert 0 < angle <= MAX_TILT_DEGREES


def test_labels_follow_the_image() -> None:
    case = stored(5, oblique_share=1)
    np.testing.assert_array_equal(case.labels, case.image)


def test_orientations_vary_among_cases() -> None:
    codes = {tuple(np.sign(stored(seed, oblique_share=0).affine[:3, :3]).ravel()) for seed in range(30)}
    assert len(codes) >= 5
