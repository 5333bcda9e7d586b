from __future__ import annotations

import numpy as np
import pytest

from dataset_conversion.phantoms import SHAPES_LABELS, PhantomCase, shapes_case


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [shapes_case(np.random.default_rng([0, index])) for index in range(40)]


def voxels(case: PhantomCase) -> list[int]:
    return [int(count) for count in np.bincount(case.labels.ravel())[1:] if count]


def test_same_seed_gives_the_same_case_bit_for_bit() -> None:
    first, second = (shapes_case(np.random.default_rng(4)) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.affine.tobytes() == second.affine.tobytes()


def test_sizes_and_spacings_are_as_promised(cases: list[PhantomCase]) -> None:
    for case in cases:
        assert all(48 <= side <= 72 for side in case.image.shape)
        spacing = np.linalg.norm(case.affine[:3, :3], axis=0)
        assert (spacing >= 0.4).all()
        assert (spacing <= 3.8).all()


def test_no_shape_is_a_crumb(cases: list[PhantomCase]) -> None:
    assert min(min(voxels(case), default=30) for case in cases) >= 30


def test_labels_are_named_and_the_last_one_is_reached(cases: list[PhantomCase]) -> None:
    values = set().union(*(np.unique(case.labels).tolist() for case in cases))
    assert values == {0, *SHAPES_LABELS.values()}


def test_volumes_range_from_specks_to_most_of_the_image(cases: list[PhantomCase]) -> None:
    shares = [count / case.labels.size for case in cases for count in voxels(case)]
    assert min(shares) < 0.001
    assert max(shares) > 0.3


def test_a_third_of_the_cases_is_easy(cases: list[PhantomCase]) -> None:
    def is_easy(case: PhantomCase) -> bool:
        ground = case.image[case.labels == 0]
        contrasts = [abs(case.image[case.labels == v].mean() - ground.mean()) for v in np.unique(case.labels)[1:]]
        return len(contrasts) <= 3 and min(contrasts, default=0) > 3 * ground.std()

    assert 0.25 <= np.mean([is_easy(case) for case in cases]) <= 0.6


def test_some_cases_are_filled_by_many_touching_regions(cases: list[PhantomCase]) -> None:
    assert np.mean([len(voxels(case)) >= 5 and (case.labels > 0).mean() > 0.25 for case in cases]) >= 0.15
