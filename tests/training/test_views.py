from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import CaseProperties
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.geometry import crop
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.preprocessing import save_array
from sammoe_pipeline.training.views import OUTSIDE, Placement, PreparedCase, cut, members, random_matrix

SHAPE = (13, 11, 12)
SIZE = 6
MakeCase = Callable[..., PreparedCase]


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    """Returns a function that saves an image and labels (x, y, z) as a prepared case."""

    def make(image: NDArray[np.float32], labels: NDArray[np.int16], name: str = "a") -> PreparedCase:
        dataset = PreprocessedDataset(tmp_path, "Dataset007_Boxes", "nano")
        save_array(dataset.image("native", name), image)
        save_array(dataset.segmentation("native", name), labels)
        x, y, z = image.shape
        CaseProperties(
            case=name,
            source_digest="",
            file_shape=(x, y, z),
            affine=((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
            canonical_shape=(x, y, z),
            shape=(x, y, z),
            class_voxels={},
            class_locations={},
        ).save(dataset.properties("native", name))
        return PreparedCase.of(dataset, "native", name)

    return make


@pytest.fixture
def arrays() -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """A random image and random labels from 0 to 4."""
    rng = np.random.default_rng(0)
    return rng.normal(size=SHAPE).astype(np.float32), rng.integers(0, 5, SHAPE).astype(np.int16)


def _on_voxels(start: tuple[int, int, int]) -> NDArray[np.float64]:
    """Centre of the view whose first voxel is `start`."""
    return np.array(start) + (SIZE - 1) / 2


@pytest.mark.parametrize("start", [(3, 2, 4), (-2, 7, 0), (9, -4, 10), (20, 20, -30)])
def test_view_on_whole_voxels_equals_a_crop(
    make_case: MakeCase, arrays: tuple[NDArray[np.float32], NDArray[np.int16]], start: tuple[int, int, int]
) -> None:
    image, labels = cut(make_case(*arrays), Placement(_on_voxels(start), np.eye(3)), SIZE)
    expected = crop(torch.from_numpy(arrays[0]), start, SIZE, pad_value=torch.nan)
    torch.testing.assert_close(image, expected, equal_nan=True, atol=1e-5, rtol=0)
    assert torch.equal(labels, crop(torch.from_numpy(arrays[1]), start, SIZE, pad_value=OUTSIDE))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_view_equals_numpys_flip(
    make_case: MakeCase, arrays: tuple[NDArray[np.float32], NDArray[np.int16]], axis: int
) -> None:
    case, centre, matrix = make_case(*arrays), _on_voxels((2, 3, 4)), np.eye(3)
    matrix[axis, axis] = -1
    plain, mirrored = cut(case, Placement(centre, np.eye(3)), SIZE), cut(case, Placement(centre, matrix), SIZE)
    for before, after in zip(plain, mirrored, strict=True):
        np.testing.assert_allclose(after.numpy(), np.flip(before.numpy(), axis), atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (2, 0)])
def test_view_turned_by_a_right_angle_equals_numpys_rotation(
    make_case: MakeCase, arrays: tuple[NDArray[np.float32], NDArray[np.int16]], axes: tuple[int, int]
) -> None:
    case, centre, matrix = make_case(*arrays), _on_voxels((2, 3, 4)), np.eye(3)
    first, second = axes
    # A step along the view's first axis goes along the case's second, one along its second against the case's first.
    matrix[:, first], matrix[:, second] = np.eye(3)[second], -np.eye(3)[first]
    plain, turned = cut(case, Placement(centre, np.eye(3)), SIZE), cut(case, Placement(centre, matrix), SIZE)
    for before, after in zip(plain, turned, strict=True):
        np.testing.assert_allclose(after.numpy(), np.rot90(before.numpy(), axes=(second, first)), atol=1e-5)


def test_view_between_voxels_interpolates_the_image_and_takes_the_next_label_of_each(make_case: MakeCase) -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None], (20, 20, 20))
    case = make_case(ramp.copy(), ramp.astype(np.int16))
    image, labels = cut(case, Placement(np.array([10.0, 10.0, 10.0]), np.eye(3)), SIZE)
    np.testing.assert_allclose(image[:, 0, 0], np.arange(7.5, 13), atol=1e-5)
    # Half-way between two voxels all labels come from the same side: none is skipped and none taken twice.
    assert np.diff(labels[:, 0, 0]).tolist() == [1] * (SIZE - 1)


def test_view_does_not_depend_on_where_the_arrays_end(
    make_case: MakeCase, arrays: tuple[NDArray[np.float32], NDArray[np.int16]]
) -> None:
    matrix = random_matrix(np.random.default_rng(1), scale=(0.7, 0.7), rotation=0.2, mirror_axes=())
    matrices = [np.eye(3), matrix]
    offset = np.array([1, 2, 3])
    small = make_case(*(array[1:12, 2:, 3:] for array in arrays), name="small")
    large = make_case(*arrays, name="large")
    for turn in matrices:
        centre = np.array([4.0, 4.0, 4.0])
        for part, whole in zip(
            cut(small, Placement(centre, turn), SIZE), cut(large, Placement(centre + offset, turn), SIZE), strict=True
        ):
            torch.testing.assert_close(part, whole, atol=1e-5, rtol=0)


def test_scaled_view_shows_a_larger_field(make_case: MakeCase) -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[None, :, None], (20, 20, 20))
    case = make_case(ramp.copy(), ramp.astype(np.int16))
    image, _ = cut(case, Placement(np.array([10.0, 10.0, 10.0]), 2 * np.eye(3)), SIZE)
    np.testing.assert_allclose(image[0, :, 0], np.arange(5, 16, 2), atol=1e-5)


def test_image_is_nan_exactly_where_the_label_is_outside(
    make_case: MakeCase, arrays: tuple[NDArray[np.float32], NDArray[np.int16]]
) -> None:
    matrix = random_matrix(np.random.default_rng(3), scale=(1.5, 1.5), rotation=0.5, mirror_axes=(0,))
    image, labels = cut(make_case(*arrays), Placement(np.array([2.0, 3.0, 9.0]), matrix), 2 * SIZE)
    unknown = torch.isnan(image)
    assert 0 < unknown.sum() < unknown.numel()
    assert torch.equal(unknown, labels == OUTSIDE)


def test_position_of_the_case_is_found_in_the_view(make_case: MakeCase) -> None:
    image, spot = np.zeros(SHAPE, dtype=np.float32), (6, 4, 7)
    image[spot] = 1
    matrix = random_matrix(np.random.default_rng(5), scale=(0.5, 0.5), rotation=1.0, mirror_axes=(0, 1, 2))
    placement = Placement(np.array([6.0, 5.0, 6.0]), matrix)
    shown, _ = cut(make_case(image, image.astype(np.int16)), placement, 12)
    brightest = np.unravel_index(int(shown.argmax()), shown.shape)
    assert np.abs(placement.to_view(np.array(spot, dtype=np.float64), 12) - brightest).max() <= 0.5 + 1e-6


def test_unprepared_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"b\.json does not exist"):
        PreparedCase.of(PreprocessedDataset(tmp_path, "Dataset007_Boxes", "nano"), "native", "b")


@pytest.mark.parametrize("values", [(2,), (1, 3)])
def test_members_are_the_voxels_of_any_of_the_values(values: tuple[int, ...]) -> None:
    labels = torch.tensor([[[0, 1, 2, 3, OUTSIDE]]], dtype=torch.int16)
    assert members(labels, values)[0, 0].tolist() == [value in values for value in (0, 1, 2, 3, OUTSIDE)]


def test_random_matrix_scales_all_axes_alike_within_its_range() -> None:
    for seed in range(30):
        matrix = random_matrix(np.random.default_rng(seed), scale=(0.5, 2.0), rotation=3.0, mirror_axes=(0, 1))
        scale = np.linalg.norm(matrix, axis=0)
        assert 0.5 <= scale[0] <= 2.0
        np.testing.assert_allclose(matrix.T @ matrix, scale[0] ** 2 * np.eye(3), atol=1e-9)


def test_random_matrix_mirrors_the_named_axes_only() -> None:
    drawn = [
        np.diag(random_matrix(np.random.default_rng(seed), scale=(1, 1), rotation=0.0, mirror_axes=(1,)))
        for seed in range(30)
    ]
    assert {tuple(diagonal) for diagonal in drawn} == {(1.0, 1.0, 1.0), (1.0, -1.0, 1.0)}


def test_random_matrix_turns_no_further_than_it_may() -> None:
    for seed in range(30):
        matrix = random_matrix(np.random.default_rng(seed), scale=(1, 1), rotation=0.1, mirror_axes=())
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        assert np.degrees(np.arccos((np.trace(matrix) - 1) / 2)) <= np.degrees(0.1 * 3)
