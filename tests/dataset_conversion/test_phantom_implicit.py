from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataset_conversion.phantoms.fields import Field, grid_mm
from dataset_conversion.phantoms.implicit import (
    Points,
    blend,
    capsule,
    column,
    common,
    ellipsoid,
    superellipsoid,
    tube,
    union,
)


@pytest.fixture(scope="module")
def points() -> Points:
    return grid_mm((41, 41, 41), np.ones(3))


def volume(distance: Field) -> int:
    return int(np.count_nonzero(distance < 0))


def test_sphere_distance_is_exact(points: Points) -> None:
    x, y, z = points
    distance = ellipsoid(points, (1, 2, 3), (9, 9, 9))
    np.testing.assert_allclose(distance, np.sqrt((x - 1) ** 2 + (y - 2) ** 2 + (z - 3) ** 2) - 9, atol=1e-4)


def test_turned_ellipsoid_lies_along_its_turned_axis(points: Points) -> None:
    quarter_turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    np.testing.assert_allclose(
        ellipsoid(points, (0, 0, 0), (15, 5, 8), quarter_turn), ellipsoid(points, (0, 0, 0), (5, 15, 8)), atol=1e-3
    )


def test_superellipsoid_grows_from_octahedron_to_box(points: Points) -> None:
    sizes = [
        volume(superellipsoid(points, (0.5, 0.5, 0.5), (10, 10, 10), np.eye(3), exponent=e)) for e in (1.0, 2.0, 8.0)
    ]
    np.testing.assert_allclose(sizes, [4 / 3 * 10**3, 4 / 3 * np.pi * 10**3, 20**3], rtol=0.1)


def test_column_follows_its_path(points: Points) -> None:
    inside = column(points, [(-8, 0, -20), (8, 4, 20)], (4, 2)) < 0
    for index, (x, y) in ((0, (-8, 0)), (20, (0, 2)), (40, (8, 4))):
        centre = np.argwhere(inside[:, :, index]).mean(axis=0) - 20
        np.testing.assert_allclose(centre, (x, y), atol=0.6)


def test_capsule_is_a_cylinder_with_round_ends(points: Points) -> None:
    assert volume(capsule(points, (-7.5, 0.5, 0.5), (8.5, 0.5, 0.5), 5)) == pytest.approx(
        np.pi * 25 * (16 + 20 / 3), rel=0.05
    )


def test_tube_holds_every_knot(points: Points) -> None:
    knots = np.array([(-10, -10, 0), (0, 5, 5), (10, -5, -10)])
    inside = tube(points, knots, 3) < 0
    assert all(inside[tuple(knot + 20)] for knot in knots)


def test_union_and_common_count_like_sets(points: Points) -> None:
    first, second = ellipsoid(points, (-4, 0, 0), (8, 8, 8)), ellipsoid(points, (4, 0, 0), (8, 8, 8))
    assert volume(union(first, second)) + volume(common(first, second)) == volume(first) + volume(second)


def test_blend_fills_the_gap_between_solids(points: Points) -> None:
    first, second = ellipsoid(points, (-8, 0, 0), (7, 7, 7)), ellipsoid(points, (8, 0, 0), (7, 7, 7))
    assert union(first, second)[20, 20, 20] > 0
    assert blend(first, second, 8)[20, 20, 20] < 0
