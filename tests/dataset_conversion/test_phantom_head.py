from __future__ import annotations

import numpy as np
import pytest

from dataset_conversion.phantoms import HEAD_HARD, HEAD_LABELS, PhantomCase, head_case

OUTSIDE_THE_BRAIN = {"scalp", "skull", "eye_left", "eye_right", "optic_nerve", "pituitary"}


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [head_case(np.random.default_rng([0, index])) for index in range(9)]


def classes(case: PhantomCase) -> set[str]:
    return {name for name, value in HEAD_LABELS.items() if value in case.labels}


def is_stripped(case: PhantomCase) -> bool:
    return "skull" not in classes(case)


def test_same_seed_gives_the_same_case_bit_for_bit(cases: list[PhantomCase]) -> None:
    again = head_case(np.random.default_rng([0, 3]))
    assert again.image.tobytes() == cases[3].image.tobytes()
    assert again.labels.tobytes() == cases[3].labels.tobytes()
    assert again.affine.tobytes() == cases[3].affine.tobytes()


def test_every_whole_head_has_every_class(cases: list[PhantomCase]) -> None:
    for case in cases:
        assert classes(case) == (set(HEAD_LABELS) - OUTSIDE_THE_BRAIN if is_stripped(case) else set(HEAD_LABELS))


def test_some_heads_are_stripped_of_their_skull(cases: list[PhantomCase]) -> None:
    stripped = [case for case in cases if is_stripped(case)]
    assert 1 <= len(stripped) <= 6


def test_hard_classes_are_small(cases: list[PhantomCase]) -> None:
    for case in cases:
        voxel_ml = abs(np.linalg.det(case.affine[:3, :3])) / 1000
        for name in HEAD_HARD:
            assert np.count_nonzero(case.labels == HEAD_LABELS[name]) * voxel_ml < 8


def test_left_lies_left_of_right(cases: list[PhantomCase]) -> None:
    for case in cases:
        left, right = (
            case.affine @ [*np.argwhere(case.labels == HEAD_LABELS[f"hippocampus_{side}"]).mean(axis=0), 1]
            for side in ("left", "right")
        )
        assert right[0] - left[0] > 30  # RAS: x grows to the patient's right


def test_contrasts_vary_in_which_tissue_is_brightest(cases: list[PhantomCase]) -> None:
    tissues = ("grey_matter", "white_matter", "ventricles")
    orders = {
        tuple(np.argsort([np.median(case.image[case.labels == HEAD_LABELS[t]]) for t in tissues])) for case in cases
    }
    assert len(orders) >= 3


def test_grids_are_coarse_and_some_anisotropic(cases: list[PhantomCase]) -> None:
    spacings = [np.linalg.norm(case.affine[:3, :3], axis=0) for case in cases]
    assert all((spacing >= 1.5).all() and (spacing <= 2.5).all() for spacing in spacings)
    assert any(np.ptp(spacing) > 0.1 for spacing in spacings)
    assert all(55 <= side <= 130 for case in cases for side in case.image.shape)
