"""Solids as approximate signed distances in mm, negative inside, on (warped) coordinates.

`points` is x, y and z in mm, arrays that broadcast to one (x, y, z) shape.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataset_conversion.phantoms.fields import Field

Points = Sequence[Field]


def ellipsoid(
    points: Points, centre: ArrayLike, radii: ArrayLike, rotation: NDArray[np.float64] | None = None
) -> Field:
    """Ellipsoid. `rotation` (3 x 3) turns the ellipsoid's own axes into x, y, z.

    The distance is first order: exact near the surface and for spheres.
    """
    offsets = _own_frame(points, centre, rotation)
    lengths = np.asarray(radii, dtype=np.float32)
    squares = [(offset / length) ** 2 for offset, length in zip(offsets, lengths, strict=True)]
    norm = np.sqrt(_sum(squares))
    slope = np.sqrt(_sum(square / length**2 for square, length in zip(squares, lengths, strict=True)))
    # at the very centre both vanish; their ratio lies between the half axes
    radius = np.divide(norm, slope, out=np.full_like(norm, lengths.min()), where=slope > 0)
    distance: Field = (norm - 1) * radius
    return distance


def superellipsoid(
    points: Points, centre: ArrayLike, radii: ArrayLike, rotation: NDArray[np.float64], exponent: float
) -> Field:
    """Ellipsoid whose norm has another exponent than 2: towards an octahedron below, towards a box above.

    The distance is scaled by the smallest half axis, so it is right on the surface and rough elsewhere.
    """
    offsets = _own_frame(points, centre, rotation)
    lengths = np.asarray(radii, dtype=np.float32)
    powers = [np.abs(offset / length) ** exponent for offset, length in zip(offsets, lengths, strict=True)]
    norm: Field = _sum(powers) ** np.float32(1 / exponent)
    distance: Field = (norm - 1) * lengths.min()
    return distance


def column(points: Points, path: ArrayLike, radii: ArrayLike) -> Field:
    """Endless column of elliptic section along z, whose centre follows a path.

    Args:
        points: x, y, z.
        path: (knots, 3) x, y, z of the centre line, z ascending; straight beyond its ends.
        radii: half axes of the section along x and y in mm.
    """
    x, y, z = points
    knots = np.asarray(path, dtype=np.float64)
    centre_x = np.interp(z, knots[:, 2], knots[:, 0]).astype(np.float32)
    centre_y = np.interp(z, knots[:, 2], knots[:, 1]).astype(np.float32)
    half_x, half_y = np.asarray(radii, dtype=np.float32)
    norm = np.hypot((x - centre_x) / half_x, (y - centre_y) / half_y)
    distance: Field = (norm - 1) * min(half_x, half_y)
    return distance


def capsule(points: Points, start: ArrayLike, end: ArrayLike, radius: float) -> Field:
    """Round bar from `start` to `end`."""
    axis = np.subtract(end, start).astype(np.float32)
    offsets = _own_frame(points, start, None)
    share = np.clip(_sum(o * a for o, a in zip(offsets, axis, strict=True)) / float(axis @ axis), 0, 1)
    distance: Field = np.sqrt(_sum((o - share * a) ** 2 for o, a in zip(offsets, axis, strict=True)))
    return distance - np.float32(radius)


def tube(points: Points, path: ArrayLike, radius: float) -> Field:
    """Round bar along a polyline of (knots, 3) points."""
    knots = np.asarray(path, dtype=np.float64)
    pieces = [capsule(points, start, end, radius) for start, end in itertools.pairwise(knots)]
    return union(*pieces)


def union(*solids: NDArray[np.floating[Any]]) -> Field:
    """All of several solids."""
    return functools.reduce(np.minimum, solids)


def common(*solids: NDArray[np.floating[Any]]) -> Field:
    """What several solids have in common."""
    return functools.reduce(np.maximum, solids)


def blend(first: Field, second: Field, width_mm: float) -> Field:
    """Union of two solids with a fillet of about `width_mm` (polynomial smooth minimum)."""
    share = np.clip(0.5 + 0.5 * (second - first) / np.float32(width_mm), 0, 1)
    filleted: Field = second + (first - second) * share - np.float32(width_mm) * share * (1 - share)
    return filleted


def _own_frame(points: Points, centre: ArrayLike, rotation: NDArray[np.float64] | None) -> list[Field]:
    """Coordinates from a solid's centre along its own axes, the columns of `rotation`."""
    offsets = [axis - np.float32(c) for axis, c in zip(points, np.asarray(centre), strict=True)]
    if rotation is None:
        return offsets
    turned = rotation.astype(np.float32)
    return [_sum(turned[axis, own] * offsets[axis] for axis in range(3)) for own in range(3)]


def _sum(terms: Iterable[Field]) -> Field:
    return functools.reduce(np.add, terms)
