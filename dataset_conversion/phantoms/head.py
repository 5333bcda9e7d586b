"""MR-like heads of random contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dataset_conversion.phantoms.canvas import Canvas
from dataset_conversion.phantoms.case import PhantomCase, store
from dataset_conversion.phantoms.fields import Field, add_noise, box_mm, grid_mm, smooth_field, warp
from dataset_conversion.phantoms.implicit import Points, blend, capsule, ellipsoid, tube

_NAMES = (
    "scalp", "skull", "csf", "grey_matter", "white_matter", "ventricles", "cerebellum", "brainstem", "thalamus",
    "putamen", "caudate", "eye_left", "eye_right", "hippocampus_left", "hippocampus_right", "optic_nerve", "pituitary",
)  # fmt: skip
HEAD_LABELS: dict[str, int] = {name: value for value, name in enumerate(_NAMES, start=1)}
"""Label value of each class."""
HEAD_HARD: tuple[str, ...] = ("hippocampus_left", "hippocampus_right", "optic_nerve", "pituitary")
"""Classes that are thin or small, or as bright as what they touch."""

_TISSUES = ("fat", "muscle", "bone", "fluid", "grey", "white", "vitreous")
# intensities of the tissues above
_CONTRASTS: dict[str, tuple[float, ...]] = {
    "t1": (950, 420, 120, 190, 570, 800, 220),
    "t2": (700, 260, 110, 1000, 640, 430, 960),
    "flair": (680, 360, 120, 150, 660, 500, 200),
}
_AIR = 15.0
_STRIPPED_SHARE = 0.2


def head_case(rng: np.random.Generator) -> PhantomCase:
    """Make one MR-like head of T1, T2 or FLAIR contrast, or of one that no scanner makes; a fifth without skull.

    Example:
        >>> case = head_case(np.random.default_rng(0))
        >>> case.image.shape == case.labels.shape
        True
    """
    scale = rng.uniform(0.93, 1.07) * rng.uniform(0.96, 1.04, size=3)
    spacing_mm = np.full(3, rng.uniform(1.75, 2.2))
    if rng.random() < 0.4:
        spacing_mm[rng.integers(3)] = rng.uniform(2.0, 2.5)
    width_mm = np.array([162, 196, 176]) * scale + rng.uniform(0, 8, size=3)
    x, y, z = (int(size) for size in np.round(width_mm / spacing_mm))
    shape = (x, y, z)
    spacing = spacing_mm / scale
    across, along, up = grid_mm(shape, spacing)
    grid = (across, along - 4, up + 10)
    points = warp(rng, grid, amplitude_mm=rng.uniform(1.0, 2.5), scale=rng.uniform(22, 40) / spacing)
    tissue = _contrast(rng)
    canvas = Canvas.blank(shape, _AIR)
    stripped = rng.random() < _STRIPPED_SHARE
    cranium, cerebrum = _cranium(rng, points)
    if not stripped:
        _paint_outside(rng, canvas, points, cranium, tissue)
    canvas.fill(cranium < 0, _AIR if stripped else tissue["fluid"], HEAD_LABELS["csf"])
    _paint_cerebrum(rng, canvas, points, cerebrum, tissue, spacing)
    _paint_hindbrain(rng, canvas, points, tissue, spacing)
    core = box_mm(grid, (-50, -55, -35), (50, 48, 45))
    _paint_deep(rng, canvas.part(core), [axis[core] for axis in points], tissue)
    if stripped:
        _strip(canvas, cranium)
    else:
        base = box_mm(grid, (-55, -15, -50), (55, 100, 10))
        _paint_eyes_and_sella(rng, canvas.part(base), [axis[base] for axis in points], tissue)
    image = _acquire(rng, canvas.image, spacing)
    return store(rng, image=image, labels=canvas.labels, spacing_mm=spacing_mm, oblique_share=0.33)


def _contrast(rng: np.random.Generator) -> dict[str, float]:
    """Draw the intensity of each tissue: a known contrast jittered, or in a quarter of the cases a shuffled one."""
    values = np.array(_CONTRASTS[str(rng.choice(list(_CONTRASTS)))])
    if rng.random() < 0.25:
        values = rng.permutation(values)
    values = values * rng.uniform(0.9, 1.1, size=len(values))
    return {name: float(value) for name, value in zip(_TISSUES, values, strict=True)}


def _mirrored(points: Points, sign: int) -> Points:
    """Coordinates in which the patient's right (sign 1) or left (-1) side has positive x."""
    x, y, z = points
    return (x, y, z) if sign == 1 else (-x, y, z)


def _cranium(rng: np.random.Generator, points: Points) -> tuple[Field, Field]:
    """Distances in mm to the inside of the skull and to the cerebrum."""
    radii = np.array([61, 79, 57]) + rng.normal(0, 1.5, size=3)
    hemispheres = np.maximum(ellipsoid(points, (0, -2, 18), radii), -8 - points[2])
    temporal = [ellipsoid(_mirrored(points, sign), (40, 8, -12), (19, 34, 18)) for sign in (1, -1)]
    cerebrum = blend(hemispheres, np.minimum(*temporal), 6)
    hindbrain = blend(ellipsoid(points, (0, -46, -28), (46, 31, 24)), _brainstem(points), 10)
    cistern = ellipsoid(points, (0, 4, -10), (17, 16, 12))
    cranium = blend(blend(cerebrum, hindbrain, 8), cistern, 4) - np.float32(rng.uniform(2, 4))
    return cranium, cerebrum


def _brainstem(points: Points) -> Field:
    pons = ellipsoid(points, (0, -16, -26), (14, 11, 14))
    return blend(capsule(points, (0, -12, -4), (0, -28, -90), 9.5), pons, 6)


def _paint_outside(
    rng: np.random.Generator, canvas: Canvas, points: Points, cranium: Field, tissue: dict[str, float]
) -> None:
    """Face and neck, scalp and skull."""
    bone_mm, scalp_mm = rng.uniform(4.5, 7), rng.uniform(5, 8)
    face = ellipsoid(points, (0, 38, -46), (55, 48, 50))
    neck = capsule(points, (0, -22, -40), (0, -30, -120), 46)
    covered = cranium - np.float32(bone_mm + scalp_mm)
    canvas.fill(blend(blend(covered, face, 12), neck, 15) < 0, tissue["muscle"])
    airways = ellipsoid(points, (0, 52, -46), (16, 26, 16))
    canvas.fill(airways < 0, _AIR)
    above = points[2] > -32
    canvas.fill((covered < 0) & above, tissue["fat"], HEAD_LABELS["scalp"])
    canvas.fill((cranium < bone_mm) & (points[2] > -50), tissue["bone"], HEAD_LABELS["skull"])


def _paint_cerebrum(
    rng: np.random.Generator,
    canvas: Canvas,
    points: Points,
    cerebrum: Field,
    tissue: dict[str, float],
    spacing: NDArray[np.float64],
) -> None:
    """White matter under a folded cortex, sulci and the fissure between the hemispheres."""
    x, y, z = points
    fold_mm = rng.uniform(5.5, 7.5)
    folds = np.abs(smooth_field(rng, canvas.shape, fold_mm / spacing)) * np.float32(1.41 * fold_mm)  # mm to a sulcus
    sulcus_mm = rng.uniform(0.6, 1.4)
    callosum = ((y + 4) / 40) ** 2 + ((z - 12) / 24) ** 2 < 1
    fissure = np.where(callosum, 99, np.abs(x)).astype(np.float32)
    depth = -cerebrum
    inside = depth > 0
    open_sulcus = (folds < sulcus_mm * (1 - depth / 16)) | (fissure < 1.6)
    cortex_mm = rng.uniform(2.6, 3.6)
    cortex = (depth < cortex_mm) | (fissure < 1.6 + cortex_mm) | ((folds < sulcus_mm + cortex_mm) & (depth < 19))
    white = tissue["white"] + 12 * smooth_field(rng, canvas.shape, 5 / spacing)
    canvas.fill(inside, white, HEAD_LABELS["white_matter"])
    canvas.fill(inside & cortex, tissue["grey"], HEAD_LABELS["grey_matter"])
    canvas.fill(inside & open_sulcus, tissue["fluid"], HEAD_LABELS["csf"])


def _paint_hindbrain(
    rng: np.random.Generator, canvas: Canvas, points: Points, tissue: dict[str, float], spacing: NDArray[np.float64]
) -> None:
    """Cerebellum with its folia, and brainstem."""
    cerebellum = ellipsoid(points, (0, -46, -28), (43, 28, 21.5)) + 1.2 * smooth_field(rng, canvas.shape, 6 / spacing)
    folia = np.clip(0.5 + smooth_field(rng, canvas.shape, np.array([8, 3, 2.5]) / spacing), 0, 1)
    white_share = np.where(cerebellum < -11, np.float32(0.9), 0.4 * folia)
    mixed = (tissue["grey"] + (tissue["white"] - tissue["grey"]) * white_share).astype(np.float32)
    free = (canvas.labels == HEAD_LABELS["csf"]) | (canvas.labels == 0) | (canvas.labels == HEAD_LABELS["skull"])
    canvas.fill((cerebellum < 0) & free, mixed, HEAD_LABELS["cerebellum"])
    brainstem = np.maximum(_brainstem(points), points[2] - 2) + np.float32(0.5)
    value = 0.9 * tissue["white"] + 0.1 * tissue["grey"]
    canvas.fill((brainstem < 0) & (points[2] > -66), value, HEAD_LABELS["brainstem"])
    canvas.fill((brainstem < 0) & (points[2] <= -66), value)


def _paint_deep(rng: np.random.Generator, canvas: Canvas, points: Points, tissue: dict[str, float]) -> None:
    """Deep grey matter, hippocampi and ventricles."""
    deep = tissue["grey"] + 0.3 * (tissue["white"] - tissue["grey"])
    wide = rng.uniform(0.75, 1.45)
    thin = rng.uniform(0.9, 1.1)
    for side, sign in (("right", 1), ("left", -1)):
        here = _mirrored(points, sign)
        shift = rng.normal(0, 1, size=3)
        canvas.fill(ellipsoid(here, np.add(shift, [11.5, -12, 11]), (9, 15, 9)) < 0, deep, HEAD_LABELS["thalamus"])
        canvas.fill(
            ellipsoid(here, np.add(shift, [26, 6, 9]), (5.5, 17, 11)) < 0, tissue["grey"], HEAD_LABELS["putamen"]
        )
        caudate = tube(here, np.add(shift, [(13, 26, 12), (15, 14, 24), (18, -8, 28)]), 5.0)
        canvas.fill(caudate < 0, tissue["grey"], HEAD_LABELS["caudate"])
        horn = [(9, 30, 15), (9, 12, 25), (11, -10, 30), (21, -34, 20), (30, -22, 0)]
        lateral = tube(here, np.add(shift, horn), 5.0 * wide)
        temporal = tube(here, np.add(shift, [(30, -22, 0), (34, -2, -10)]), 2.4 * wide)
        canvas.fill(np.minimum(lateral, temporal) < 0, tissue["fluid"], HEAD_LABELS["ventricles"])
        path = [(24, 0, -14), (27, -14, -11), (26, -28, -3), (19, -35, 6)]
        hippocampus = tube(here, np.add(shift, path), 5.2 * thin)
        value = 0.92 * tissue["grey"] + 0.08 * tissue["white"]
        canvas.fill(hippocampus < 0, value, HEAD_LABELS[f"hippocampus_{side}"])
    third = ellipsoid(points, (0, -6, 8), (2.6 * wide, 14, 10))
    fourth = ellipsoid(points, (0, -33, -26), (8, 4 * wide, 10))
    canvas.fill(np.minimum(third, fourth) < 0, tissue["fluid"], HEAD_LABELS["ventricles"])


def _paint_eyes_and_sella(rng: np.random.Generator, canvas: Canvas, points: Points, tissue: dict[str, float]) -> None:
    """Eyes in orbital fat, the optic nerves up to their chiasm, and the pituitary gland."""
    nerve_mm = rng.uniform(1.9, 2.5)
    for side, sign in (("right", 1), ("left", -1)):
        here = _mirrored(points, sign)
        eye = np.add((31, 67, -23), rng.normal(0, 1, size=3))
        orbit = ellipsoid(here, np.subtract(eye, (3, 17, -1)), (15, 25, 14))
        canvas.fill(orbit < 0, 0.9 * tissue["fat"], 0)
        canvas.fill(ellipsoid(here, eye, [12.2] * 3) < 0, tissue["vitreous"], HEAD_LABELS[f"eye_{side}"])
        path = np.array([eye - (1, 11, 0), eye - (9, 32, -4), (3, 13, -10), (0, 10, -9)])
        nerve = tube(here, path, nerve_mm)
        canvas.fill(nerve < 0, tissue["white"], HEAD_LABELS["optic_nerve"])
    centre, size = np.add((0, 6, -22), rng.normal(0, 0.8, size=3)), rng.uniform(0.9, 1.15)
    gland = ellipsoid(points, centre, np.multiply(size, (6.5, 5, 4.5)))
    value = 0.7 * tissue["grey"] + 0.3 * tissue["white"]
    canvas.fill(gland < 0, value, HEAD_LABELS["pituitary"])


def _strip(canvas: Canvas, cranium: Field) -> None:
    """Leave the brain alone, as skull-stripping tools do: no fluid outside it either."""
    kept = (cranium < 0) & (canvas.labels > 0)
    canvas.fill(~kept, 0.0, 0)


def _acquire(rng: np.random.Generator, tissue: Field, spacing: NDArray[np.float64]) -> Field:
    """Partial volume, bias field and Rician-like noise; whole numbers from 0."""
    image = gaussian_filter(tissue, rng.uniform(0.4, 0.65), truncate=3)
    bias = smooth_field(rng, (image.shape[0], image.shape[1], image.shape[2]), rng.uniform(45, 80) / spacing)
    image *= np.exp(np.float32(rng.uniform(0.05, 0.25)) * bias)
    image = add_noise(rng, image, sigma=rng.uniform(8, 35), grain=rng.choice([0.0, 0.5]))
    return np.round(np.abs(image)).astype(np.float32)
