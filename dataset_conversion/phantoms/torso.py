"""CT-like torsos of small patients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dataset_conversion.phantoms.case import PhantomCase, store
from dataset_conversion.phantoms.fields import Field, Shape, add_noise, grid_mm
from dataset_conversion.phantoms.torso_frame import paint_pelvis, paint_spine, paint_wall
from dataset_conversion.phantoms.torso_organs import paint_abdomen, paint_chest, paint_tumours, paint_vessels
from dataset_conversion.phantoms.torso_patient import random_patient

TORSO_EASY: tuple[str, ...] = (
    "liver", "spleen", "kidney_right", "kidney_left", "stomach", "heart", "aorta", "lung_right", "lung_left",
    "urinary_bladder",
)  # fmt: skip
"""Classes bounded by intensity: what a click looks like is what it means."""
TORSO_HARD: tuple[str, ...] = (
    "spinal_cord", "esophagus", "hip_right", "hip_left", "liver_tumour", "kidney_tumour", "pancreas",
)  # fmt: skip
"""Classes that are thin, of low contrast, or bounded by convention."""

# Parts of the body in the order in which organs keep their place, with the heights in mm that hold them (with 15 mm to
# spare for the warp).
_PARTS = (
    (paint_wall, -100, 400),
    (paint_spine, -100, 400),
    (paint_pelvis, -100, 150),
    (paint_vessels, 45, 275),
    (paint_chest, 115, 400),
    (paint_abdomen, 20, 205),
    (paint_tumours, 60, 215),
)


def torso_case(rng: np.random.Generator) -> PhantomCase:
    """Make one CT-like torso in Hounsfield units.

    The field of view covers 110 to 220 mm of the body, so organs may be cut off or missing. The anatomy is that of one
    reference patient, scaled, warped smoothly and jittered organ by organ.

    Example:
        >>> case = torso_case(np.random.default_rng(0))
        >>> case.image.shape == case.labels.shape
        True
    """
    patient, spacing_mm = random_patient(rng)
    for paint, bottom_mm, top_mm in _PARTS:
        part = patient.slab(bottom_mm, top_mm)
        if part is not None:
            paint(part)
    image = _scan(rng, patient.canvas.image, spacing_mm)
    return store(rng, image=image, labels=patient.canvas.labels, spacing_mm=spacing_mm, oblique_share=0.33)


def _scan(rng: np.random.Generator, tissue: Field, spacing_mm: NDArray[np.float64]) -> Field:
    """Partial volume, streaks in some cases and noise; whole Hounsfield units."""
    image = gaussian_filter(tissue, rng.uniform(0.45, 0.75), truncate=3)
    if rng.random() < 0.25:
        x, y, z = image.shape
        image += _streaks(rng, (x, y, z), spacing_mm)
    image = add_noise(rng, image, sigma=rng.uniform(5, 16), grain=rng.uniform(0.4, 0.8))
    return np.clip(np.round(image), -1024, 3071).astype(np.float32)


def _streaks(rng: np.random.Generator, shape: Shape, spacing_mm: NDArray[np.float64]) -> Field:
    """Bright and dark lines through one point, over a few slices."""
    x, y, z = grid_mm(shape, spacing_mm)
    x, y = x - np.float32(rng.uniform(-60, 60)), y - np.float32(rng.uniform(-40, 40))
    lines = np.zeros((shape[0], shape[1], 1), dtype=np.float32)
    for angle in rng.uniform(0, np.pi, size=rng.integers(3, 8)):
        across = x * np.float32(np.sin(angle)) - y * np.float32(np.cos(angle))
        lines += np.float32(rng.normal(0, 45)) * np.exp(-((across / 3) ** 2))
    streaks: Field = lines * np.exp(-(((z - np.float32(rng.uniform(z.min(), z.max()))) / 12) ** 2))
    return streaks
