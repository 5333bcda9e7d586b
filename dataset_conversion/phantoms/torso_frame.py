"""What holds a torso together: its wall, spine and pelvis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.phantoms.fields import Field
from dataset_conversion.phantoms.implicit import Points, blend, capsule, column, common, ellipsoid, union
from dataset_conversion.phantoms.torso_patient import (
    CORD,
    DENSE_BONE,
    DISC,
    FAT,
    FLUID,
    HALF_DEPTH_MM,
    HALF_WIDTH_MM,
    MUSCLE,
    SIDES,
    SPONGY_BONE,
    TORSO_LABELS,
    Patient,
)


def paint_wall(patient: Patient) -> None:
    """Skin, subcutaneous fat, the muscles of the wall with ribs, and fat inside."""
    rng, canvas, (x, y, z) = patient.rng, patient.canvas, patient.points
    fat_mm = rng.uniform(5, 14)
    norm = (np.abs(x / HALF_WIDTH_MM) ** 2.3 + np.abs(y / HALF_DEPTH_MM) ** 2.3) ** np.float32(1 / 2.3)
    skin = (norm - 1) * np.float32((HALF_WIDTH_MM + HALF_DEPTH_MM) / 2)
    canvas.fill(skin < 0, MUSCLE)
    canvas.fill(skin < -2.5, FAT + 8 * patient.texture(6))
    canvas.fill(skin < -fat_mm, MUSCLE + 6 * patient.texture(4))
    inside = skin + np.float32(fat_mm + rng.uniform(8, 12))
    canvas.fill((inside < 0) & (y > -42 - 0.0018 * x * x), FAT + 10 * patient.texture(5))
    canvas.reserve(-inside)
    ribs = np.cos((z + 0.45 * y + rng.uniform(0, 24)) * np.float32(2 * np.pi / 24)) > 0.45
    chest = (z > 128 - 0.3 * y) & (z < 262)
    canvas.fill(ribs & chest & (skin < -fat_mm - 3) & (skin > -fat_mm - 8), (SPONGY_BONE + DENSE_BONE) / 2)


def paint_spine(patient: Patient) -> None:
    """Vertebrae and discs down to the sacrum, and the canal with the cord, whose lower end is no visible edge."""
    rng, canvas, points, z = patient.rng, patient.canvas, patient.points, patient.points[2]
    bodies = np.array([(0, -45, 30), (0, -41, 80), (0, -43, 140), (0, -47, 200), (0, -44, 268)], dtype=np.float64)
    bodies[:, :2] += rng.normal(0, 2, size=(len(bodies), 2))
    behind = np.subtract(bodies, (0, 22.5, 0))
    canal_mm = rng.uniform(9.3, 10.3)
    body = column(points, bodies, patient.about(18, 13))
    bone = union(body, _arches(patient, behind, canal_mm))
    vertebrae = common(bone, 78 - z)
    sacrum = common(ellipsoid(points, patient.near(0, -52, 56, by=2), patient.about(47, 17, 38, by=0.05)), z - 75)
    canvas.fill(vertebrae < 0, _bone(patient, vertebrae), TORSO_LABELS["vertebrae"])
    canvas.fill((vertebrae < 0) & (body < 0) & (_mm_from_disc(patient) < 2.5), DISC, 0)
    canvas.fill(sacrum < 0, _bone(patient, sacrum), TORSO_LABELS["sacrum"])
    canvas.reserve(union(vertebrae, sacrum))

    canal = column(points, behind, (canal_mm * 1.1, canal_mm * 0.95))
    canvas.fill((canal < 0) & (z > 30), FLUID + 3 * patient.texture(4), 0)
    radius = rng.uniform(3.6, 5.0) / patient.scale
    taper = np.sqrt(np.clip((z - rng.uniform(66, 84)) / 22, 0, 1))
    middle = np.add(behind, (0, rng.uniform(-1, 1), 0))
    from_middle = column(points, middle, (1.0, 0.92)) + 1
    canvas.fill(from_middle < radius * taper, CORD + rng.uniform(-4, 4), TORSO_LABELS["spinal_cord"])


def _mm_from_disc(patient: Patient) -> Field:
    """Height over or under the middle of the nearest disc: discs lie 26.5 mm apart."""
    height: Field = np.abs((patient.points[2] / np.float32(26.5)) % 1 - np.float32(0.5)) * np.float32(26.5)
    return height


def _arches(patient: Patient, canal: NDArray[np.float64], canal_mm: float) -> Field:
    """Rings around the canal with spinous and transverse processes."""
    points, level = patient.points, _mm_from_disc(patient)
    x, y, _ = points
    ring = column(points, canal, (canal_mm + 6.5, canal_mm + 5))
    spinous = common(np.abs(x) - 3.5, np.abs(y + 76) - 8)
    transverse = common(np.abs(x) - 34, np.hypot(y + 55, level - 8) - 5)
    arches = blend(blend(ring, spinous, 4), transverse, 3)
    facets = np.abs(np.abs(x) - 13) - 3.5  # between two vertebrae only these joints are bone
    return np.where(level < 2, common(arches, facets), arches).astype(np.float32)


def _bone(patient: Patient, distance: Field) -> Field:
    """Spongy bone, denser within 3 mm of the surface; `distance` is that of all bones that are fused."""
    dense = np.clip(1 + distance / np.float32(3.0), 0, 1)
    hu: Field = SPONGY_BONE + (DENSE_BONE - SPONGY_BONE) * dense + 35 * patient.texture(2.5)
    return hu


def paint_pelvis(patient: Patient) -> None:
    """Hip bones, fused with femora and sacrum so that only form tells where one ends; muscles and bladder."""
    rng, canvas, points, z = patient.rng, patient.canvas, patient.points, patient.points[2]
    head = patient.near(75, -2, 26, by=2)
    head_mm, half_mm = patient.about(17, 4.6, by=0.06)
    for side, sign in SIDES:
        here = patient.mirrored(sign)
        ball = ellipsoid(here, head, [head_mm] * 3)
        hip = common(_hip(here, head, head_mm, half_mm), -ball)
        femur = common(union(ball, _femur(here, head)), -hip)
        bone = _bone(patient, union(hip, femur))
        canvas.fill((hip < 0) & (canvas.labels == 0), bone, TORSO_LABELS[f"hip_{side}"])
        canvas.fill(femur < 0, bone, TORSO_LABELS[f"femur_{side}"])
        canvas.reserve(union(hip, femur))
    for _, sign in SIDES:
        here = patient.mirrored(sign)
        psoas = column(here, [(72, 32, 0), (60, 10, 45), (45, -16, 78), (32, -34, 105), (28, -40, 130)], (12, 13))
        canvas.organ(common(psoas, z - 135), MUSCLE + 6 * patient.texture(4), gap_mm=1.5)
        gluteal = ellipsoid(here, (72, -42, 40), (42, 30, 52))
        canvas.organ(gluteal, MUSCLE + 6 * patient.texture(4), gap_mm=1)
    fullness = rng.uniform(0.75, 1.15)
    bladder = ellipsoid(points, patient.near(0, 22, 34, by=3), fullness * patient.about(33, 26, 23))
    content = np.where(bladder > -2, MUSCLE - 15, FLUID + rng.uniform(-5, 8)).astype(np.float32)
    canvas.organ(bladder, content, TORSO_LABELS["urinary_bladder"], gap_mm=3)


def _femur(points: Points, head: NDArray[np.float64]) -> Field:
    """Right femur without its head: neck and shaft."""
    trochanter = np.add(head, (27, -5, -12))
    neck = capsule(points, head, trochanter, 10)
    shaft = capsule(points, trochanter, np.add(head, (20, 0, -90)), 12)
    return blend(neck, shaft, 8)


def _hip(points: Points, head: NDArray[np.float64], head_mm: float, half_mm: float) -> Field:
    """Right hip bone: the wing, a curved plate; the socket around the femur's head; pubis and ischium."""
    x, y, z = (axis - np.float32(shift) for axis, shift in zip(points, head - (75, -2, 26), strict=True))
    sheet = 68 + 0.42 * (z - 42) + 0.55 * y - 0.0045 * y * y
    front, back = y - 12 - 0.8 * (z - 38), -16 - y - 1.25 * (z - 38)
    crest = z - 95 + 0.010 * (y + 2) ** 2
    wing = common(np.abs(x - sheet) * np.float32(0.8) - half_mm, front, back, crest, 34 - z)
    faces_pelvis = (0.75 * (75 - x) + 0.66 * (z - 26)) / np.float32(head_mm)
    socket = common(ellipsoid(points, head, [head_mm + 8] * 3), (0.15 - faces_pelvis) * 10)
    ischium_end = (50, -32, -16)
    pubis = capsule((x, y, z), (60, 10, 24), (8, 42, 18), 7)
    ischium = capsule((x, y, z), (62, -14, 16), ischium_end, 9)
    ramus = capsule((x, y, z), ischium_end, (10, 38, 12), 5.5)
    return union(blend(wing, socket, 6), pubis, ischium, ramus)
