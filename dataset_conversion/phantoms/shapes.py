"""Random shapes for pretraining a promptable segmenter: from one bright ellipsoid to a parcellation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from dataset_conversion.phantoms.canvas import Canvas
from dataset_conversion.phantoms.case import PhantomCase, store
from dataset_conversion.phantoms.fields import Field, Shape, add_noise, grid_mm, smooth_field
from dataset_conversion.phantoms.implicit import Points, ellipsoid, superellipsoid, tube

MAX_SHAPES = 12
SHAPES_LABELS: dict[str, int] = {f"shape_{value}": value for value in range(1, MAX_SHAPES + 1)}
"""Label value of each class. A shape's number says nothing about its form."""

_SCALE = 500.0  # of intensities, which are drawn around 1 and stored as whole numbers
_SMALLEST_VOXELS = 30


def shapes_case(rng: np.random.Generator) -> PhantomCase:
    """Make one case of random shapes: easy ellipsoids (35 %), assorted solids (35 %) or a tessellation (30 %).

    Example:
        >>> case = shapes_case(np.random.default_rng(0))
        >>> 1 <= case.labels.max() <= MAX_SHAPES
        True
    """
    x, y, z = rng.integers(48, 73, size=3)
    shape = (int(x), int(y), int(z))
    spacing_mm = rng.uniform(1.4, 3.0) * rng.uniform(0.8, 1.25, size=3)
    kind = rng.random()
    if kind < 0.35:
        canvas = _easy_ellipsoids(rng, shape)
    elif kind < 0.7:
        canvas = _assorted_solids(rng, shape)
    else:
        canvas = _tessellation(rng, shape)
    _drop_crumbs(canvas.labels)
    harm = 0.3 if kind < 0.35 else 1.0
    image = _acquire(rng, canvas.image, harm)
    return store(rng, image=image, labels=canvas.labels, spacing_mm=spacing_mm, oblique_share=0.1)


def _easy_ellipsoids(rng: np.random.Generator, shape: Shape) -> Canvas:
    """One to three ellipsoids, much brighter or darker than flat ground."""
    points = grid_mm(shape, np.ones(3))
    ground = rng.uniform(0.5, 1.5)
    canvas = Canvas.blank(shape, ground)
    for label in range(1, rng.integers(1, 4) + 1):
        radii = min(shape) * rng.uniform(0.08, 0.36) * rng.uniform(0.75, 1.3, size=3)
        solid = ellipsoid(points, _centre(rng, shape, radii), radii, _rotation(rng))
        canvas.organ(solid, _away_from(rng, ground, rng.uniform(0.35, 1.0)), label)
    return canvas


def _assorted_solids(rng: np.random.Generator, shape: Shape) -> Canvas:
    """Up to eight solids of any kind and size, nested, overlapping or touching, on slowly varying ground."""
    points = grid_mm(shape, np.ones(3))
    canvas = Canvas.blank(shape, 1.0)
    slow = np.float32(rng.uniform(0, 0.12)) * smooth_field(rng, shape, rng.uniform(12, 30))
    draw = [_ellipsoid, _superellipsoid, _blob, _tube, _plate, _shell]
    for label in range(1, rng.integers(1, 9) + 1):
        solid = draw[rng.integers(len(draw))](rng, shape, points)
        inside = solid < 0
        around = float(np.median(canvas.image[inside])) if inside.any() else 1.0
        contrast = rng.uniform(0.3, 0.9) if rng.random() < 0.8 else rng.uniform(0.12, 0.3)
        texture = rng.choice([0, 0.02, 0.06]) * smooth_field(rng, shape, rng.uniform(1.5, 5))
        canvas.fill(inside, _away_from(rng, around, contrast) + texture, label)
    np.add(canvas.image, slow, out=canvas.image)
    return canvas


def _tessellation(rng: np.random.Generator, shape: Shape) -> Canvas:
    """A head-like ball, wrapped in thin shells and cut into regions of their own mean and texture."""
    points = grid_mm(shape, np.ones(3))
    canvas = Canvas.blank(shape, rng.uniform(0.0, 0.3))
    radii = np.array(shape) / 2 * rng.uniform(0.75, 1.0, size=3)
    head = ellipsoid(points, (0, 0, 0), radii) + rng.uniform(0, 2.5) * smooth_field(rng, shape, rng.uniform(6, 14))
    shells = int(rng.integers(3))
    regions = int(rng.integers(3, MAX_SHAPES + 1 - shells))
    scale = rng.uniform(4.5, 12)
    heights = [smooth_field(rng, shape, scale * rng.uniform(0.7, 1.4)) + rng.normal(0, 0.3) for _ in range(regions)]
    region = np.argmax(heights, axis=0) + 1
    means = rng.permutation(np.linspace(0.4, 1.8, regions)) + rng.normal(0, 0.05, regions)
    depth = 0.0
    for label in range(regions + 1, regions + 1 + shells):  # shells, from the outside in
        thickness = rng.uniform(2.5, 4.5)
        canvas.fill((head < -depth) & (head >= -depth - thickness), rng.uniform(0.3, 2.0), label)
        depth += thickness
    for label, mean in enumerate(means, start=1):
        texture = rng.choice([0, 0.03, 0.08]) * smooth_field(rng, shape, rng.uniform(1.5, 4))
        canvas.fill((region == label) & (head < -depth), mean + texture, label)
    return canvas


def _away_from(rng: np.random.Generator, ground: float, contrast: float) -> float:
    """An intensity brighter or, where it stays positive, as likely darker than the ground."""
    darker = ground - contrast
    return darker if darker > 0.1 and rng.random() < 0.5 else ground + contrast


def _ellipsoid(rng: np.random.Generator, shape: Shape, points: Points) -> Field:
    radii = _radii(rng, shape)
    return ellipsoid(points, _centre(rng, shape, radii), radii, _rotation(rng))


def _superellipsoid(rng: np.random.Generator, shape: Shape, points: Points) -> Field:
    radii = _radii(rng, shape)
    return superellipsoid(points, _centre(rng, shape, radii), radii, _rotation(rng), exponent=rng.uniform(1.3, 6))


def _blob(rng: np.random.Generator, shape: Shape, points: Points) -> Field:
    radii = _radii(rng, shape)
    smallest = radii.min()
    dents = smooth_field(rng, shape, max(2.5, smallest * rng.uniform(0.3, 0.8)))
    ball = ellipsoid(points, _centre(rng, shape, radii), radii, _rotation(rng))
    return ball + np.float32(smallest * rng.uniform(0.1, 0.35)) * dents


def _tube(rng: np.random.Generator, shape: Shape, points: Points) -> Field:
    """Bent tube: a polyline through points of a smooth random curve."""
    size = np.array(shape)
    bend = np.cumsum(rng.standard_normal((3, 3)) * [[1.0], [0.6], [0.5]], axis=0)
    share = np.linspace(-1, 1, 9)[:, None]
    path = bend[0] * share + bend[1] * (share**2 - 0.4) + bend[2] * (share**3 - 0.6 * share)
    path *= rng.uniform(0.25, 0.5) * size.min() / np.abs(path).max()
    return tube(points, path + rng.uniform(-0.2, 0.2, 3) * size, rng.uniform(1.6, 5.5))


def _plate(rng: np.random.Generator, shape: Shape, points: Points) -> Field:
    radii = np.array([rng.uniform(1.6, 4), *(min(shape) * rng.uniform(0.15, 0.45, 2))])
    warped = [axis + np.float32(2.5) * smooth_field(rng, shape, 14) for axis in points]
    return superellipsoid(warped, _centre(rng, shape, radii), radii, _rotation(rng), exponent=4)


def _shell(rng: np.random.Generator, shape: Shape, points: Points) -> Field:
    solid = (_ellipsoid if rng.random() < 0.5 else _blob)(rng, shape, points)
    return np.abs(solid + 2) - np.float32(rng.uniform(1.5, 3.5))


def _radii(rng: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    """Half axes in voxels, from 2 to more than half the volume's side, small ones as likely as large ones."""
    size = np.exp(rng.uniform(np.log(3.0), np.log(0.6 * min(shape))))
    radii: NDArray[np.float64] = np.maximum(1.7, size * rng.uniform(0.6, 1.4, size=3))
    return radii


def _centre(rng: np.random.Generator, shape: Shape, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """A centre that keeps most of the solid in the volume."""
    reach = np.maximum(np.array(shape) / 2 - 0.8 * radii, 1.0)
    return rng.uniform(-reach, reach)


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    matrix: NDArray[np.float64] = Rotation.random(random_state=rng).as_matrix()
    return matrix


def _drop_crumbs(labels: NDArray[np.uint8]) -> None:
    """Unname shapes of which later ones left next to nothing."""
    counts = np.bincount(labels.ravel(), minlength=MAX_SHAPES + 1)
    labels[(counts < _SMALLEST_VOXELS)[labels]] = 0


def _acquire(rng: np.random.Generator, tissue: Field, harm: float) -> Field:
    """Blur, bias field and noise, each at random and scaled by `harm` from 0 to 1; whole numbers."""
    image = gaussian_filter(tissue, rng.uniform(0.3, 0.5 + 0.5 * harm))
    if rng.random() < 0.5:
        image *= np.exp(
            np.float32(harm * rng.uniform(0.05, 0.25)) * smooth_field(rng, image.shape, rng.uniform(18, 35))
        )
    image = add_noise(rng, image, sigma=harm * rng.uniform(0.01, 0.1), grain=rng.choice([0.0, 0.6]))
    return np.round(_SCALE * image).astype(np.float32)
