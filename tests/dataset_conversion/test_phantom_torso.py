from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, label

from dataset_conversion.phantoms import TORSO_EASY, TORSO_HARD, TORSO_LABELS, PhantomCase, torso_case

CASES = 12


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [torso_case(np.random.default_rng([0, index])) for index in range(CASES)]


def mask(case: PhantomCase, name: str) -> NDArray[np.bool_]:
    return np.asarray(case.labels == TORSO_LABELS[name])


def with_class(cases: list[PhantomCase], name: str, voxels: int = 30) -> list[PhantomCase]:
    return [case for case in cases if np.count_nonzero(mask(case, name)) >= voxels]


def spacing_mm(case: PhantomCase) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(case.affine[:3, :3], axis=0))


def axial_slices(case: PhantomCase) -> Iterator[tuple[tuple[slice | int, ...], float]]:
    """Index of each axial slice in the stored array, with the area of its pixels in mm²."""
    up = int(np.argmax(np.abs(case.affine[2, :3])))
    area = float(np.prod(np.delete(spacing_mm(case), up)))
    for index in range(case.image.shape[up]):
        yield tuple(index if axis == up else slice(None) for axis in range(3)), area


def diameters_mm(case: PhantomCase, name: str) -> list[float]:
    """Diameter of the disc as large as the class, in each axial slice that holds it."""
    areas = [np.count_nonzero(mask(case, name)[index]) * area for index, area in axial_slices(case)]
    return [2 * float(np.sqrt(area / np.pi)) for area in areas if area]


def ring(inside: NDArray[np.bool_], start: int, stop: int) -> NDArray[np.bool_]:
    """Voxels from `start` to `stop` steps outside a mask."""
    inner = binary_dilation(inside, iterations=start) if start else inside
    return np.asarray(binary_dilation(inside, iterations=stop) & ~inner)


def test_same_seed_gives_the_same_case_bit_for_bit(cases: list[PhantomCase]) -> None:
    again = torso_case(np.random.default_rng([0, 3]))
    assert again.image.tobytes() == cases[3].image.tobytes()
    assert again.labels.tobytes() == cases[3].labels.tobytes()
    assert again.affine.tobytes() == cases[3].affine.tobytes()


def test_another_seed_gives_another_case(cases: list[PhantomCase]) -> None:
    assert len({case.image.tobytes() for case in cases}) == CASES


@pytest.mark.parametrize("name", TORSO_LABELS)
def test_every_class_appears_in_a_quarter_of_the_cases(cases: list[PhantomCase], name: str) -> None:
    assert len(with_class(cases, name)) >= CASES / 4


def test_easy_and_hard_classes_are_classes_and_differ() -> None:
    assert set(TORSO_EASY) | set(TORSO_HARD) <= set(TORSO_LABELS)
    assert not set(TORSO_EASY) & set(TORSO_HARD)


def test_field_of_view_is_as_promised(cases: list[PhantomCase]) -> None:
    for case in cases:
        up = int(np.argmax(np.abs(case.affine[2, :3])))
        spacing = spacing_mm(case)
        assert 105 <= case.image.shape[up] * spacing[up] <= 225
        assert 2.0 <= spacing[up] <= 4.0
        assert (np.delete(spacing, up) >= 1.8).all()
        assert (np.delete(spacing, up) <= 2.8).all()


def test_affines_are_orthogonal_and_some_are_flipped_or_oblique(cases: list[PhantomCase]) -> None:
    directions = [case.affine[:3, :3] / spacing_mm(case) for case in cases]
    for matrix in directions:
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-9)
    assert any((np.diag(matrix) < 0).any() for matrix in directions)
    assert 1 <= sum(np.abs(matrix).max() < 0.9999 for matrix in directions) < CASES


def test_air_surrounds_the_body_and_lungs_are_dark(cases: list[PhantomCase]) -> None:
    for case in cases:
        assert case.image[0, 0, 0] < -900
    for case in with_class(cases, "lung_right", 500):
        assert -900 < case.image[mask(case, "lung_right")].mean() < -650


def test_right_organs_lie_right(cases: list[PhantomCase]) -> None:
    for case in cases:
        if {TORSO_LABELS["kidney_right"], TORSO_LABELS["kidney_left"]} <= set(np.unique(case.labels)):
            right, left = (
                case.affine @ [*np.argwhere(mask(case, f"kidney_{side}")).mean(axis=0), 1] for side in ("right", "left")
            )
            assert right[0] - left[0] > 50  # RAS: x grows to the patient's right


@pytest.mark.parametrize("name", TORSO_EASY)
def test_easy_classes_differ_from_their_surroundings(cases: list[PhantomCase], name: str) -> None:
    contrasts = []
    for case in with_class(cases, name, 500):
        inside = mask(case, name)
        around = case.image[ring(inside, 1, 3)]
        contrasts.append(np.abs(around - case.image[inside].mean()) > 40)
    assert np.mean(np.concatenate(contrasts)) > 0.7


def test_spinal_cord_is_7_to_11_mm_wide_and_tapers(cases: list[PhantomCase]) -> None:
    for case in with_class(cases, "spinal_cord"):
        assert max(diameters_mm(case, "spinal_cord")) < 12
    whole = [case for case in cases if len(diameters_mm(case, "spinal_cord")) > 30]
    assert whole
    for case in whole:
        assert 6.5 < np.percentile(diameters_mm(case, "spinal_cord"), 70) < 11


def test_spinal_cord_is_hardly_brighter_than_the_fluid_around_it(cases: list[PhantomCase]) -> None:
    contrasts = []
    for case in with_class(cases, "spinal_cord", 100):
        cord = mask(case, "spinal_cord")
        canal = ring(cord, 0, 1) & (case.labels == 0) & (case.image < 70)
        contrasts.append(np.median(case.image[cord]) - np.median(case.image[canal]))
    assert max(contrasts) < 40
    assert 3 < np.median(contrasts) < 30


def test_esophagus_is_thin(cases: list[PhantomCase]) -> None:
    for case in with_class(cases, "esophagus"):
        assert 6 < np.median(diameters_mm(case, "esophagus")) < 15


def test_esophagus_melts_into_its_surroundings_on_part_of_its_length(cases: list[PhantomCase]) -> None:
    contrasts = []
    for case in with_class(cases, "esophagus"):
        tissue = (case.labels == 0) & (case.image > -200) & (case.image < 200)
        for index, _ in axial_slices(case):
            inside = mask(case, "esophagus")[index]
            around = ring(inside, 1, 3) & tissue[index]
            if inside.sum() > 3 and around.sum() > 5:
                contrasts.append(np.median(case.image[index][inside]) - np.median(case.image[index][around]))
    assert 0.15 < np.mean(np.abs(contrasts) < 25) < 0.9


@pytest.mark.parametrize("side", ["right", "left"])
def test_hip_touches_the_femur_and_looks_the_same(cases: list[PhantomCase], side: str) -> None:
    both = with_class(with_class(cases, f"hip_{side}"), f"femur_{side}", 300)
    for case in both:
        hip, femur = mask(case, f"hip_{side}"), mask(case, f"femur_{side}")
        joint_hip, joint_femur = hip & ring(femur, 0, 1), femur & ring(hip, 0, 1)
        assert joint_hip.sum() > 50
        assert abs(case.image[joint_hip].mean() - case.image[joint_femur].mean()) < 60
        assert min(case.image[joint_hip].mean(), case.image[joint_femur].mean()) > 300


def test_liver_tumours_are_20_to_45_hu_darker_than_the_liver(cases: list[PhantomCase]) -> None:
    for case in with_class(cases, "liver_tumour"):
        tumour, liver = mask(case, "liver_tumour"), binary_erosion(mask(case, "liver"), iterations=2)
        core = binary_erosion(tumour)
        if core.sum() >= 20:
            assert 14 < case.image[liver].mean() - case.image[core].mean() < 49


def test_liver_tumours_are_one_to_three_and_8_to_20_mm_wide(cases: list[PhantomCase]) -> None:
    widths = []
    for case in with_class(cases, "liver_tumour"):
        lesions, count = label(mask(case, "liver_tumour"), np.ones((3, 3, 3)))
        sizes_mm3 = np.bincount(lesions.ravel())[1:] * np.prod(spacing_mm(case))
        widths += [2 * (3 * size / (4 * np.pi)) ** (1 / 3) for size in sizes_mm3]
        assert count <= 3
    assert 6 < np.median(widths) < 20
