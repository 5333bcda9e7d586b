from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sammoe_pipeline.geometry import (
    Orientation,
    Shape,
    crop,
    resample_image,
    resample_labels,
    resample_region,
    resampled_shape,
    spacing_of,
    to_grid,
)

SHAPE: Shape = (4, 5, 6)
ALL_48 = [
    Orientation(permutation=(p[0], p[1], p[2]), flips=(f[0], f[1], f[2]))
    for p in permutations(range(3))
    for f in product([False, True], repeat=3)
]


def affine_of(orientation: Orientation) -> NDArray[np.float64]:
    """The affine of a file whose axes lie as `orientation` says, with unequal spacing and an origin off zero."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (source, flip) in enumerate(zip(orientation.permutation, orientation.flips, strict=True)):
        affine[axis, source] = (0.7, 1.1, 2.5)[source] * (-1 if flip else 1)
    affine[:3, 3] = [-30.0, 12.0, 7.0]
    return affine


def numbered(shape: Shape) -> NDArray[np.int64]:
    """An array whose every voxel differs."""
    return np.arange(np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("orientation", ALL_48)
def test_every_orientation_is_recognised_and_undone_exactly(orientation: Orientation) -> None:
    assert Orientation.of(affine_of(orientation)) == orientation
    data = numbered(SHAPE)
    np.testing.assert_array_equal(orientation.from_canonical(orientation.to_canonical(data)), data)


@pytest.mark.parametrize("orientation", ALL_48)
def test_the_canonical_array_is_nibabels(orientation: Orientation) -> None:
    affine, data = affine_of(orientation), numbered(SHAPE).astype(np.int16)
    closest = nibabel.as_closest_canonical(nibabel.Nifti1Image(data, affine))
    np.testing.assert_array_equal(orientation.to_canonical(data), np.asanyarray(closest.dataobj))
    np.testing.assert_allclose(orientation.canonical_affine(affine, SHAPE), closest.affine, atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    handedness=st.sampled_from([1.0, -1.0]),
    voxel=st.tuples(*[st.integers(0, n - 1) for n in SHAPE]),
)
def test_a_voxel_keeps_its_place_in_mm(
    angles: tuple[float, float, float], handedness: float, voxel: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * [0.7 * handedness, 1.1, 2.5]
    affine[:3, 3] = [-30.0, 12.0, 7.0]
    orientation = Orientation.of(affine)
    data = numbered(SHAPE)
    canonical = orientation.canonical_affine(affine, SHAPE)
    at = np.argwhere(orientation.to_canonical(data) == data[voxel])[0]
    np.testing.assert_allclose(canonical @ [*at, 1], affine @ [*voxel, 1], atol=1e-9)
    assert all(canonical[axis, axis] >= -1e-9 for axis in range(3)), "canonical axes run towards RAS+"


def test_axes_at_45_degrees_are_still_told_apart() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    assert sorted(Orientation.of(affine).permutation) == [0, 1, 2]


def test_spacing_does_not_depend_on_direction() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix() * [0.7, 1.1, 2.5]
    np.testing.assert_allclose(spacing_of(affine), (0.7, 1.1, 2.5))


def test_a_thin_axis_keeps_one_voxel() -> None:
    assert resampled_shape((100, 50, 1), (1.0, 2.0, 0.5), 1.5) == (67, 67, 1)


@pytest.mark.parametrize("target", [(9, 3, 6), (2, 11, 13), (4, 5, 6)])
def test_positions_map_as_images_are_resampled(target: Shape) -> None:
    ramps = [torch.arange(n, dtype=torch.float64) for n in SHAPE]
    for axis in range(3):
        ramp = ramps[axis].reshape([-1 if a == axis else 1 for a in range(3)]).expand(SHAPE).contiguous()
        resampled = resample_image(ramp, target).numpy()
        voxels = np.stack(np.meshgrid(*(np.arange(n) for n in target), indexing="ij"), axis=-1).reshape(-1, 3)
        positions = to_grid(voxels.astype(np.float64), target, SHAPE)[:, axis].clip(0, SHAPE[axis] - 1)
        np.testing.assert_allclose(resampled.reshape(-1), positions, atol=1e-9)


@given(st.lists(st.tuples(*[st.floats(-5, 20)] * 3), min_size=1, max_size=5))
def test_mapping_to_a_grid_and_back_is_exact(points: list[tuple[float, float, float]]) -> None:
    there = to_grid(np.array(points), SHAPE, (9, 3, 17))
    np.testing.assert_allclose(to_grid(there, (9, 3, 17), SHAPE), np.array(points), atol=1e-9)


def test_an_image_of_the_right_shape_is_left_alone() -> None:
    image = torch.rand(SHAPE)
    assert resample_image(image, SHAPE) is image


@pytest.mark.parametrize("target", [(9, 3, 6), (2, 11, 13), (8, 10, 12), (1, 1, 1)])
def test_labels_take_the_value_of_the_nearest_voxel(target: Shape) -> None:
    labels = numbered(SHAPE).astype(np.int16)
    expected = F.interpolate(torch.from_numpy(labels)[None, None].double(), size=target, mode="nearest-exact")[0, 0]
    resampled = resample_labels(labels, target)
    assert resampled.dtype == np.int16
    np.testing.assert_array_equal(resampled, expected.numpy())


def test_a_crop_inside_is_a_copy_of_its_voxels() -> None:
    array = torch.from_numpy(numbered((8, 8, 8)))
    torch.testing.assert_close(crop(array, (1, 2, 3), 4), array[1:5, 2:6, 3:7])


@pytest.mark.parametrize("start", [(-2, 3, 6), (5, -4, 1), (-3, -3, -3), (7, 7, 7)])
def test_a_crop_over_the_border_is_padded(start: Shape) -> None:
    array = torch.rand(8, 8, 8)
    padded = F.pad(array, [10] * 6, value=-7.0)
    x, y, z = (s + 10 for s in start)
    torch.testing.assert_close(crop(array, start, 5, pad_value=-7.0), padded[x : x + 5, y : y + 5, z : z + 5])


@pytest.mark.parametrize("start", [(8, 0, 0), (0, -5, 0), (100, 100, 100)])
def test_a_crop_outside_is_all_padding(start: Shape) -> None:
    assert bool((crop(torch.rand(8, 8, 8), start, 5, pad_value=2.0) == 2.0).all())


@pytest.mark.parametrize("target", [(9, 3, 6), (20, 22, 13), (12, 10, 8), (5, 5, 5)])
def test_a_region_of_the_whole_grid_is_resampled_as_interpolate_does(target: Shape) -> None:
    values = torch.rand(12, 10, 8, dtype=torch.float64)
    region, first = resample_region(values, (0, 0, 0), (12, 10, 8), target)
    assert first == (0, 0, 0)
    expected = F.interpolate(values[None, None], size=target, mode="trilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(region, expected, atol=1e-9, rtol=0)


@settings(deadline=None, max_examples=60)
@given(
    source=st.tuples(*[st.integers(6, 14)] * 3),
    target=st.tuples(*[st.integers(1, 30)] * 3),
    start=st.tuples(*[st.integers(0, 4)] * 3),
    size=st.integers(2, 8),
)
def test_a_region_equals_the_part_it_covers(source: Shape, target: Shape, start: Shape, size: int) -> None:
    whole = torch.rand(source, dtype=torch.float64)
    box = whole[tuple(slice(s, s + size) for s in start)]
    region, first = resample_region(box, start, source, target)
    expected = F.interpolate(whole[None, None], size=target, mode="trilinear", align_corners=False)[0, 0]
    for axis in range(3):
        # Within half a voxel of the box's faces the neighbour beyond the box is not known: compare between its centres.
        at = (np.arange(target[axis]) + 0.5) * source[axis] / target[axis] - 0.5
        inside = np.flatnonzero((at >= start[axis]) & (at <= start[axis] + box.shape[axis] - 1))
        expected = expected.index_select(axis, torch.from_numpy(inside))
        region = region.index_select(axis, torch.from_numpy(inside - first[axis]))
    torch.testing.assert_close(region, expected, atol=1e-9, rtol=0)


@settings(deadline=None, max_examples=60)
@given(n_source=st.integers(8, 40), n_target=st.integers(1, 60), cut=st.integers(1, 7))
def test_neighbouring_regions_cover_every_target_once(n_source: int, n_target: int, cut: int) -> None:
    source, target = (n_source, 4, 4), (n_target, 4, 4)
    values = torch.zeros(source)
    left, start_left = resample_region(values[:cut], (0, 0, 0), source, target)
    right, start_right = resample_region(values[cut:], (cut, 0, 0), source, target)
    assert left.shape[0] + right.shape[0] == n_target
    if len(left) and len(right):
        assert start_right[0] == start_left[0] + left.shape[0]


def test_a_region_that_juts_out_of_the_volume_begins_at_its_border() -> None:
    source, target = (10, 10, 10), (20, 20, 20)
    region, first = resample_region(torch.ones(6, 6, 6), (-3, 7, 2), source, target)
    assert first == (0, 14, 4)
    assert region.shape == (6, 6, 12)


@pytest.mark.parametrize("start", [(-8, 0, 0), (12, 0, 0)])
def test_a_region_beyond_the_volume_is_empty(start: Shape) -> None:
    region, _ = resample_region(torch.ones(6, 6, 6), start, (10, 10, 10), (20, 20, 20))
    assert region.shape[0] == 0


def test_a_region_between_two_target_centres_is_empty() -> None:
    region, _ = resample_region(torch.ones(1, 1, 1), (0, 0, 0), (12, 12, 12), (2, 2, 2))
    assert region.numel() == 0
