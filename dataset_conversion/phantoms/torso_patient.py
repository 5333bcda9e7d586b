"""The patient whose torso is painted: grid, frame, size and perfusion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.phantoms.canvas import Canvas
from dataset_conversion.phantoms.fields import Field, box_mm, grid_mm, smooth_field, warp
from dataset_conversion.phantoms.implicit import Points

_NAMES = (
    "liver", "spleen", "kidney_right", "kidney_left", "stomach", "gallbladder", "pancreas", "heart", "aorta",
    "inferior_vena_cava", "lung_right", "lung_left", "trachea", "esophagus", "spinal_cord", "vertebrae", "sacrum",
    "hip_right", "hip_left", "femur_right", "femur_left", "urinary_bladder", "liver_tumour", "kidney_tumour",
)  # fmt: skip
TORSO_LABELS: dict[str, int] = {name: value for value, name in enumerate(_NAMES, start=1)}
"""Label value of each class."""
SIDES: tuple[tuple[str, int], ...] = (("right", 1), ("left", -1))
"""Sides of the body with the sign of their x."""

# Hounsfield units
AIR, LUNG, FAT, MUSCLE, FLUID, CORD, DISC = -1000.0, -820.0, -100.0, 55.0, 8.0, 38.0, 85.0
SPONGY_BONE, DENSE_BONE = 360.0, 690.0
# HU of perfused organs without contrast medium, in the arterial and in the portal venous phase
_PERFUSION: dict[str, tuple[float, float, float]] = {
    "liver": (56, 78, 112),
    "spleen": (50, 115, 122),
    "kidney": (34, 155, 180),
    "pancreas": (42, 100, 95),
    "heart": (44, 210, 145),
    "aorta": (44, 280, 155),
    "inferior_vena_cava": (42, 70, 140),
}
_BOTTOM_MM, _TOP_MM = -18.0, 268.0
HALF_WIDTH_MM, HALF_DEPTH_MM = 126.0, 86.0
"""Half axes of the reference patient's body."""


@dataclass(frozen=True)
class Patient:
    """What the painting functions share.

    Anatomy is written down once, in mm of a reference patient: x to the right, y forward, z up, the origin in the
    middle of the body at the height of the hip joints' lower rim.
    """

    rng: np.random.Generator
    canvas: Canvas
    points: Points
    """x, y, z of each voxel in the reference patient's mm, each (x, y, z)."""
    grid: Points
    """Open grid of x, y, z of the whole field of view before warping."""
    spacing: NDArray[np.float64]
    """Voxel size along x, y, z in the reference patient's mm."""
    scale: float
    """mm of this patient per mm of the reference patient."""
    hu: dict[str, float]
    """Intensity of each perfused organ."""

    def slab(self, bottom_mm: float, top_mm: float) -> Patient | None:
        """The part of the body between two heights, sharing memory with the whole; None outside the field of view."""
        box = box_mm(self.grid, (-np.inf, -np.inf, bottom_mm), (np.inf, np.inf, top_mm))
        canvas = self.canvas.part(box)
        if canvas.image.size == 0:
            return None
        return replace(self, canvas=canvas, points=[axis[box] for axis in self.points])

    def mirrored(self, sign: int) -> Points:
        """Coordinates in which the right (1) or left (-1) side of the body has positive x."""
        x, y, z = self.points
        return [x, y, z] if sign == 1 else [-x, y, z]

    def near(self, *centre: float, by: float = 4.0) -> NDArray[np.float64]:
        """A point displaced at random by `by` mm (standard deviation, cut off at two)."""
        return np.array(centre) + by * np.clip(self.rng.standard_normal(3), -2, 2)

    def about(self, *sizes: float, by: float = 0.08) -> NDArray[np.float64]:
        """Sizes changed at random by the share `by`, together, and by half of it one by one."""
        together, singly = self.rng.standard_normal(), self.rng.standard_normal(len(sizes))
        changed: NDArray[np.float64] = (
            np.array(sizes) * (1 + by * np.clip(together, -2, 2)) * (1 + by / 2 * np.clip(singly, -2, 2))
        )
        return changed

    def texture(self, scale_mm: float) -> Field:
        """Random field of mean 0 and variance 1, see `smooth_field`."""
        return smooth_field(self.rng, self.canvas.shape, scale_mm / self.spacing)


def random_patient(rng: np.random.Generator) -> tuple[Patient, NDArray[np.float64]]:
    """Draw a patient, not yet painted, and the voxel size in mm.

    The field of view is as wide as the body, and covers 110 to 220 mm of its height.
    """
    scale = rng.uniform(0.92, 1.1)
    stretch = scale * rng.uniform(0.95, 1.05, size=3)
    in_plane, between_slices = rng.uniform(1.8, 2.8), rng.uniform(2.0, 4.0)
    spacing_mm = np.array([in_plane, in_plane, between_slices])
    width, depth = 2 * np.array([HALF_WIDTH_MM, HALF_DEPTH_MM]) * stretch[:2] + rng.uniform(6, 24, size=2)
    height = np.clip(rng.uniform(110, 220), 40 * between_slices, 90 * between_slices)
    x, y, z = (int(size) for size in np.round(np.array([width, depth, height]) / spacing_mm))

    spacing = spacing_mm / stretch
    half = z * spacing[2] / 2
    middle = rng.uniform(_BOTTOM_MM + half, _TOP_MM - half)
    across, along, up = grid_mm((x, y, z), spacing)
    up = up + np.float32(middle)
    points = warp(rng, (across, along, up), amplitude_mm=rng.uniform(1.5, 4.0), scale=rng.uniform(28, 45) / spacing)
    phase = rng.integers(3)
    patient = Patient(
        rng=rng,
        canvas=Canvas.blank((x, y, z), ground=AIR),
        points=points,
        grid=(across, along, up),
        spacing=spacing,
        scale=scale,
        hu={organ: phases[phase] * rng.uniform(0.92, 1.08) for organ, phases in _PERFUSION.items()},
    )
    return patient, spacing_mm
