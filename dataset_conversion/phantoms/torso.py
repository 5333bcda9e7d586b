"""CT-like torsos of small patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dataset_conversion.phantoms.canvas import Canvas
from dataset_conversion.phantoms.case import PhantomCase, store
from dataset_conversion.phantoms.fields import Field, Shape, add_noise, grid_mm, smooth_field, warp
from dataset_conversion.phantoms.implicit import Points, blend, capsule, column, ellipsoid, tube

_NAMES = (
    "liver", "spleen", "kidney_right", "kidney_left", "stomach", "gallbladder", "pancreas", "heart", "aorta",
    "inferior_vena_cava", "lung_right", "lung_left", "trachea", "esophagus", "spinal_cord", "vertebrae", "sacrum",
    "hip_right", "hip_left", "femur_right", "femur_left", "urinary_bladder", "liver_tumour", "kidney_tumour",
)  # fmt: skip
TORSO_LABELS: dict[str, int] = {name: value for value, name in enumerate(_NAMES, start=1)}
"""Label value of each class."""
TORSO_EASY: tuple[str, ...] = (
    "liver", "spleen", "kidney_right", "kidney_left", "stomach", "heart", "aorta", "lung_right", "lung_left",
    "urinary_bladder",
)  # fmt: skip
"""Classes bounded by intensity: what a click looks like is what it means."""
TORSO_HARD: tuple[str, ...] = (
    "spinal_cord", "esophagus", "hip_right", "hip_left", "liver_tumour", "kidney_tumour", "pancreas",
)  # fmt: skip
"""Classes that are thin, of low contrast, or bounded by convention."""

AIR, LUNG, FAT, MUSCLE, FLUID, CORD, BONE = -1000.0, -820.0, -100.0, 55.0, 8.0, 38.0, 420.0

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
_BOTTOM_MM, _TOP_MM = -18.0, 268.0  # of the modelled body, z = 0 at the hip joints' level
_HALF_WIDTH_MM, _HALF_DEPTH_MM = 126.0, 86.0


@dataclass(frozen=True)
class _Patient:
    """What the painting functions share."""

    rng: np.random.Generator
    points: Points
    """x, y, z in the reference patient's mm, each (x, y, z); x to the right, y forward, z up."""
    canvas: Canvas
    scale: float
    """mm of this patient per mm of the reference patient."""
    spacing: NDArray[np.float64]
    """Voxel size in the reference patient's mm."""
    hu: dict[str, float]
    """Intensity of each perfused organ."""

    @property
    def shape(self) -> Shape:
        x, y, z = self.canvas.image.shape
        return x, y, z

    def near(self, *centre: float, by: float = 4.0) -> NDArray[np.float64]:
        """A point displaced at random by `by` mm (standard deviation)."""
        return np.array(centre) + by * np.clip(self.rng.standard_normal(3), -2, 2)

    def about(self, *sizes: float, by: float = 0.08) -> NDArray[np.float64]:
        """Sizes changed at random, together and one by one."""
        common = 1 + by * np.clip(self.rng.standard_normal(), -2, 2)
        return np.array(sizes) * common * (1 + by / 2 * np.clip(self.rng.standard_normal(len(sizes)), -2, 2))

    def texture(self, scale_mm: float) -> Field:
        return smooth_field(self.rng, self.shape, scale_mm / self.spacing)


def torso_case(rng: np.random.Generator) -> PhantomCase:
    """Make one CT-like torso in Hounsfield units.

    The field of view covers 110 to 220 mm of the body, so organs may be cut off or missing. The anatomy is that of one
    reference patient, scaled, warped smoothly and jittered organ by organ.

    Example:
        >>> case = torso_case(np.random.default_rng(0))
        >>> case.image.shape == case.labels.shape
        True
    """
    patient, spacing_mm = _patient(rng)
    _paint_wall(patient)
    spine = _paint_spine(patient)
    _paint_pelvis(patient, spine)
    _paint_vessels(patient)
    _paint_chest(patient)
    _paint_abdomen(patient)
    _paint_tumours(patient)
    image = _scan(rng, patient.canvas.image, spacing_mm)
    return store(rng, image=image, labels=patient.canvas.labels, spacing_mm=spacing_mm, oblique_share=0.33)


def _patient(rng: np.random.Generator) -> tuple[_Patient, NDArray[np.float64]]:
    """Draw a patient's size, the grid and the perfusion; and the voxel size in mm."""
    scale = rng.uniform(0.92, 1.1)
    stretch = scale * rng.uniform(0.95, 1.05, size=3)
    in_plane, slices = rng.uniform(1.8, 2.8), rng.uniform(2.0, 4.0)
    spacing_mm = np.array([in_plane, in_plane, slices])
    width = 2 * _HALF_WIDTH_MM * stretch[0] + rng.uniform(6, 24)
    depth = 2 * _HALF_DEPTH_MM * stretch[1] + rng.uniform(6, 24)
    height = np.clip(rng.uniform(110, 220), 40 * slices, min(90 * slices, (_TOP_MM - _BOTTOM_MM) * stretch[2]))
    shape = tuple(int(size) for size in np.round(np.array([width, depth, height]) / spacing_mm))
    spacing = spacing_mm / stretch
    half = shape[2] * spacing[2] / 2
    middle = rng.uniform(_BOTTOM_MM + half, _TOP_MM - half)

    x, y, z = grid_mm((shape[0], shape[1], shape[2]), spacing)
    z = z + np.float32(middle)
    points = warp(rng, (x, y, z), amplitude_mm=rng.uniform(1.5, 4.0), scale=rng.uniform(28, 45) / spacing)
    phase = rng.integers(3)
    hu = {organ: phases[phase] * rng.uniform(0.92, 1.08) for organ, phases in _PERFUSION.items()}
    canvas = Canvas((shape[0], shape[1], shape[2]), ground=AIR)
    return _Patient(rng=rng, points=points, canvas=canvas, scale=scale, spacing=spacing, hu=hu), spacing_mm


def _paint_wall(patient: _Patient) -> None:
    """Skin, subcutaneous fat, the muscles of the wall with ribs, and fat inside."""
    rng, canvas, (x, y, z) = patient.rng, patient.canvas, patient.points
    fat_mm = rng.uniform(5, 14)
    radius = (np.abs(x / _HALF_WIDTH_MM) ** 2.3 + np.abs(y / _HALF_DEPTH_MM) ** 2.3) ** np.float32(1 / 2.3)
    skin = (radius - 1) * np.float32(100)
    canvas.fill(skin < 0, MUSCLE)
    canvas.fill(skin < -2.5, FAT + 8 * patient.texture(6))
    canvas.fill(skin < -fat_mm, MUSCLE + 6 * patient.texture(4))
    canvas.fill((skin < -fat_mm - rng.uniform(8, 12)) & (y > -46), FAT + 10 * patient.texture(5))
    ribs = np.cos((z + 0.45 * y + rng.uniform(0, 24)) * np.float32(2 * np.pi / 24)) > 0.45
    chest = (z > 128 - 0.3 * y) & (z < 262)
    canvas.fill(ribs & chest & (skin < -fat_mm - 3) & (skin > -fat_mm - 8), BONE)


def _paint_spine(patient: _Patient) -> Field:
    """Vertebrae, discs, canal and cord, sacrum; returns the distance to the sacrum in mm."""
    rng, canvas, points = patient.rng, patient.canvas, patient.points
    x, y, z = points
    curve = rng.normal(0, 2, size=(5, 1)) * [[1, 1, 0]]
    spine = np.array([[0, -45, 30], [0, -41, 80], [0, -43, 140], [0, -47, 200], [0, -44, 268]]) + curve
    behind = spine - [0, 21.5, 0]
    body = column(points, spine, tuple(patient.about(18, 13)))
    canal_mm = rng.uniform(8.5, 9.5)
    canal = column(points, behind, (canal_mm * 1.1, canal_mm * 0.95))
    arch = column(points, behind, (canal_mm + 6.5, canal_mm + 5))
    spinous = np.maximum(np.abs(x) - 3.5, np.abs(y + 76) - 8)

    period = rng.uniform(25, 28)
    level = np.abs((z / np.float32(period) + np.float32(rng.random())) % 1 - 0.5) * np.float32(2 * period)
    disc = level < 5
    transverse = np.maximum(np.abs(x) - 34, np.hypot(y + 55, (level - period * 0.6)) - 5)
    rear = blend(blend(arch, spinous, 4), transverse, 3)
    rear = np.where(level < 4, np.maximum(rear, 3.5 - np.abs(np.abs(x) - 13)), rear)  # facet joints bridge the levels
    above = 78 - z
    sacrum = np.maximum(ellipsoid(points, patient.near(0, -52, 52, by=2), patient.about(37, 17, 36)), 3 - above)
    column_end = np.maximum(np.minimum(body, rear), above)

    canvas.organ(np.maximum(body, above), 85.0)
    canvas.labels[(column_end < 0) & ~(disc & (body < 0))] = TORSO_LABELS["vertebrae"]
    vertebrae = canvas.labels == TORSO_LABELS["vertebrae"]
    canvas.fill(vertebrae, _bone(patient, column_end))
    canvas.room = np.minimum(canvas.room, column_end)
    canvas.fill(sacrum < 0, _bone(patient, sacrum), TORSO_LABELS["sacrum"])
    canvas.room = np.minimum(canvas.room, sacrum)

    canvas.fill((canal < 0) & (z > 30), FLUID + 3 * patient.texture(4), 0)
    cord_mm = rng.uniform(3.7, 5.3) / patient.scale
    taper = np.clip((z - rng.uniform(66, 84)) / 22, 0, 1)
    cord = column(points, behind + [0, rng.uniform(-1, 1), 0], (1.0, 0.92)) + 1
    canvas.fill(cord < cord_mm * np.sqrt(taper), CORD + rng.uniform(-4, 4), TORSO_LABELS["spinal_cord"])
    return sacrum


def _bone(patient: _Patient, distance: Field) -> Field:
    """Spongy bone, denser within 3 mm of the surface; `distance` is that of all bones that touch."""
    cortex = np.clip(1 + distance / np.float32(3.0), 0, 1)
    return BONE - 60 + 330 * cortex + 35 * patient.texture(2.5)


def _paint_pelvis(patient: _Patient, sacrum: Field) -> None:
    """Hip bones and femora, fused at the joint, and the bladder."""
    rng, canvas = patient.rng, patient.canvas
    if patient.points[2].min() > 125:
        return
    head = patient.near(75, -2, 26, by=2)
    sizes = patient.about(17, 4.6, by=0.06)
    for side, sign in (("right", 1), ("left", -1)):
        x, y, z = patient.points
        mirrored = (sign * x, y, z)
        femur = _femur(mirrored, head, sizes[0])
        hip = np.maximum(_hip(mirrored, head, sizes[0], sizes[1]), -ellipsoid(mirrored, head, [sizes[0]] * 3))
        bone = _bone(patient, np.minimum(np.minimum(femur, hip), sacrum))
        canvas.organ(hip, bone, TORSO_LABELS[f"hip_{side}"])
        canvas.fill((femur < 0) & ~(hip < 0), bone, TORSO_LABELS[f"femur_{side}"])
        canvas.room = np.minimum(canvas.room, femur)
    for sign in (1, -1):
        x, y, z = patient.points
        muscle = column((sign * x, y, z), [(70, 35, 0), (58, 0, 62), (34, -32, 130)], (15, 13))
        canvas.organ(np.maximum(muscle, z - 140), MUSCLE + 6 * patient.texture(4), gap_mm=1.5)
        gluteal = np.maximum(ellipsoid((sign * x, y, z), (72, -42, 40), (42, 30, 52)), -60 - z)
        canvas.organ(gluteal, MUSCLE + 6 * patient.texture(4), gap_mm=1.0)
    fullness = rng.uniform(0.75, 1.15)
    bladder = ellipsoid(patient.points, patient.near(0, 22, 34, by=3), patient.about(33, 26, 23) * fullness)
    wall = np.where(bladder > -2, MUSCLE - 15, FLUID + rng.uniform(-5, 8)).astype(np.float32)
    canvas.organ(bladder, wall, TORSO_LABELS["urinary_bladder"], gap_mm=3)


def _femur(points: Points, head: NDArray[np.float64], head_mm: float) -> Field:
    """Right femur: head, neck, trochanter and shaft."""
    trochanter = head + [27, -5, -12]
    neck = capsule(points, head, trochanter, 10)
    shaft = capsule(points, trochanter, head + [20, 0, -90], 12)
    return np.minimum(ellipsoid(points, head, [head_mm] * 3), blend(neck, shaft, 8))


def _hip(points: Points, head: NDArray[np.float64], head_mm: float, half_mm: float) -> Field:
    """Right hip bone: the iliac wing, a curved plate; the socket around the femur's head; pubis and ischium."""
    x, y, z = (axis - np.float32(c) for axis, c in zip(points, head - [75, -2, 26], strict=True))
    sheet = 69 + 0.42 * (z - 42) + 0.5 * y - 0.0045 * y * y
    wing = np.abs(x - sheet) * np.float32(0.8) - half_mm
    outline = np.maximum(np.abs(y + 2) - 14 - 0.8 * (z - 38), z - 104 + 0.012 * (y + 2) ** 2)
    wing = np.maximum(wing, np.maximum(outline, 34 - z))
    socket = ellipsoid(points, head, [head_mm + 8] * 3)
    facing = (0.75 * (75 - x) + 0.66 * (z - 26)) / np.float32(head_mm)
    socket = np.maximum(socket, (0.15 - facing) * 10)
    pubis = capsule((x, y, z), (60, 10, 24), (8, 42, 18), 7)
    ischium = capsule((x, y, z), (62, -14, 16), (50, -32, -16), 9)
    ramus = capsule((x, y, z), (50, -32, -16), (10, 38, 12), 5.5)
    return np.minimum.reduce([blend(wing, socket, 6), pubis, ischium, ramus])


def _paint_vessels(patient: _Patient) -> None:
    """Aorta with its arch, and the inferior vena cava."""
    canvas, points, z = patient.canvas, patient.points, patient.points[2]
    path = np.array([(-7, -18, 70), (-8, -17, 130), (-18, -25, 180), (-20, -28, 236)]) + patient.near(0, 0, 0, by=1.5)
    radius = patient.about(9.5)[0]
    descending = np.maximum(column(points, path, (radius, radius)), np.maximum(z - 238, 66 - z))
    arch = tube(points, [path[-1], (-12, -8, 246), (4, 12, 238), (6, 18, 214)], radius)
    canvas.organ(np.minimum(descending, arch), patient.hu["aorta"], TORSO_LABELS["aorta"], gap_mm=1)
    cava = column(points, [(17, -19, 70), (18, -18, 130), (20, -8, 180)], (radius * 1.05, radius * 0.8))
    cava = np.maximum(cava, np.maximum(z - 190, 62 - z))
    canvas.organ(cava, patient.hu["inferior_vena_cava"], TORSO_LABELS["inferior_vena_cava"], gap_mm=1)


def _paint_chest(patient: _Patient) -> None:
    """Mediastinum with trachea, esophagus and heart, and the lungs beside it."""
    rng, canvas, points = patient.rng, patient.canvas, patient.points
    x, y, z = points
    # soft tissue and fat alternate, so the esophagus melts into its surroundings on part of its length
    filling = np.clip(-20 + 60 * patient.texture(9), -95, 48)
    gullet = [(2, -22, 270), (2, -22, 235), (4, -16, 205), (-4, -12, 185), (-14, -5, 172), (-30, 4, 160)]
    section = rng.uniform(4.8, 7.2) / patient.scale, rng.uniform(3.6, 5.0) / patient.scale
    esophagus = np.maximum(column(points, np.array(gullet)[::-1] + [*rng.normal(0, 1.5, 2), 0], section), 158 - z)
    airway = np.array([(2, -4, 275), (1, -6, 232)])
    trachea = tube(points, airway, 7.5)
    bronchi = np.minimum(tube(points, [airway[1], (34, -10, 214)], 5), tube(points, [airway[1], (-34, -10, 214)], 5))
    heart = ellipsoid(points, patient.near(-16, 26, 200, by=3), patient.about(44, 35, 33), _tilt(rng, z_degrees=-25))

    dome = _dome(patient)
    taper = np.clip((z - 205) / 62, 0, 1) ** 2
    cage = (np.hypot(x / (104 * (1 - 0.5 * taper)), (y - 1) / (67 * (1 - 0.35 * taper))) - 1) * 65
    middle = np.minimum(np.abs(x) - (17 + 0.05 * np.abs(y)), heart - 4)
    middle = np.minimum(middle, canvas.room - 2)
    canvas.fill((cage < 2) & (z > dome - 2) & (canvas.room > 0), filling)
    canvas.organ(esophagus, 38 + rng.uniform(-4, 6), TORSO_LABELS["esophagus"])
    if rng.random() < 0.4:  # swallowed air, here and there
        canvas.fill(
            (esophagus < -2.6) & (patient.texture(7) > 1.2) & (canvas.labels == TORSO_LABELS["esophagus"]), -400
        )
    canvas.organ(trachea, AIR + 30, TORSO_LABELS["trachea"])
    canvas.fill((bronchi < 0) & (canvas.room > 0), AIR + 60)
    muscle = patient.hu["heart"] + 5 * patient.texture(8)
    canvas.fill((heart < 4) & (canvas.room > 0), FAT + 15)
    canvas.organ(np.maximum(heart, dome - z), muscle, TORSO_LABELS["heart"], gap_mm=2)

    air = LUNG + rng.uniform(-40, 60) + 25 * patient.texture(10)
    vessels = np.abs(patient.texture(5)) + 0.05 * np.abs(np.abs(x) - 25) / 10 < 0.12
    air = np.where(vessels & (patient.texture(6) > 0.2), -350.0, air).astype(np.float32)
    for side, sign in (("right", 1), ("left", -1)):
        lung = np.maximum(np.maximum(cage, dome - z), np.maximum(-middle, -sign * x))
        canvas.organ(lung, air, TORSO_LABELS[f"lung_{side}"])


def _dome(patient: _Patient) -> Field:
    """Height of the diaphragm over each voxel, in mm."""
    x, y, _ = patient.points
    right = np.exp(-(((x - 52) / 48) ** 2) - ((y - 8) / 55) ** 2)
    left = np.exp(-(((x + 52) / 48) ** 2) - ((y - 8) / 55) ** 2)
    lift = patient.rng.normal(0, 3)
    dome: Field = (132 + lift + 52 * right + 44 * left + 38 * np.exp(-((x / 30) ** 2))).astype(np.float32)
    return dome


def _tilt(rng: np.random.Generator, z_degrees: float) -> NDArray[np.float64]:
    """Rotation about z by about so many degrees."""
    angle = np.radians(z_degrees + rng.uniform(-8, 8))
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def _paint_abdomen(patient: _Patient) -> None:
    """Organs under the diaphragm, in the order in which they keep their place, and bowel between them."""
    rng, canvas, points = patient.rng, patient.canvas, patient.points
    x, y, z = points
    under = z - _dome(patient) + 4
    for side, sign in (("right", 1), ("left", -1)):
        centre = patient.near(50, -30, 112 if sign == 1 else 121, by=2.5)
        mirrored = (sign * x, y, z)
        kidney = ellipsoid(mirrored, centre, patient.about(19, 18, 34))
        hilum = ellipsoid(mirrored, centre - [19, -6, 0], (12, 9, 12))
        canvas.organ(np.maximum(kidney, -hilum), patient.hu["kidney"], TORSO_LABELS[f"kidney_{side}"], gap_mm=2)

    if rng.random() < 0.8:
        gallbladder = ellipsoid(points, patient.near(36, 36, 118, by=2.5), patient.about(12, 12, 19, by=0.15))
        canvas.organ(gallbladder, FLUID + rng.uniform(-3, 8), TORSO_LABELS["gallbladder"], gap_mm=1)
    lobes = blend(
        ellipsoid(points, patient.near(52, 8, 148), patient.about(50, 56, 48)),
        ellipsoid(points, patient.near(2, 32, 164), patient.about(48, 26, 20)),
        14,
    )
    liver = patient.hu["liver"] + 3 * patient.texture(3)
    canvas.organ(np.maximum(lobes, under), liver, TORSO_LABELS["liver"], gap_mm=2)
    spleen = ellipsoid(points, patient.near(-76, -24, 154), patient.about(20, 30, 34, by=0.12), _tilt(rng, 20))
    canvas.organ(np.maximum(spleen, under), patient.hu["spleen"], TORSO_LABELS["spleen"], gap_mm=2)

    stomach = blend(
        ellipsoid(points, patient.near(-46, 16, 152), patient.about(28, 27, 30, by=0.12)),
        ellipsoid(points, patient.near(-18, 38, 130), patient.about(30, 17, 16, by=0.12)),
        12,
    )
    filling = rng.choice([15.0, 30.0, 160.0]) + 4 * patient.texture(6)
    filling = np.where(stomach > -3, 48.0, filling).astype(np.float32)
    canvas.organ(np.maximum(stomach, under), filling, TORSO_LABELS["stomach"], gap_mm=2.5)
    spine_to_spleen = np.array([(26, 6, 116), (8, 12, 126), (-20, 2, 132), (-52, -10, 142)]) + patient.near(0, 0, 0)
    pancreas = tube(points, spine_to_spleen, patient.about(8.5)[0]) + 2 * patient.texture(5)
    canvas.organ(pancreas, patient.hu["pancreas"] + 6 * patient.texture(3), TORSO_LABELS["pancreas"], gap_mm=1)

    lumps = patient.texture(9)
    cavity = ((np.hypot(x / 98, (y - 8) / 58) < 1) & (under < 0)) & (canvas.room > 4) & (z < 150) & (y > -30)
    canvas.fill(cavity & (lumps > 0.55), rng.uniform(20, 45))
    canvas.fill(cavity & (lumps > 1.5) & (patient.texture(12) > 0.3), -750)


def _paint_tumours(patient: _Patient) -> None:
    """Faint lesions inside the liver, and one on a kidney in some patients."""
    rng, canvas = patient.rng, patient.canvas
    lesions = rng.integers(1, 4) if rng.random() < 0.9 else 0
    for _ in range(lesions):
        size = rng.uniform(4.5, 10.0) / patient.scale
        darker = rng.uniform(12, 30)
        _paint_lesion(patient, "liver", size, patient.hu["liver"] - darker)
    if rng.random() < 0.5:
        change = rng.uniform(0.4, 0.65) if patient.hu["kidney"] > 60 else 1.5
        side = rng.choice(["kidney_right", "kidney_left"])
        _paint_lesion(patient, str(side), rng.uniform(6, 11) / patient.scale, patient.hu["kidney"] * change)


def _paint_lesion(patient: _Patient, organ: str, radius: float, value: float) -> None:
    canvas = patient.canvas
    host = canvas.labels == TORSO_LABELS[organ]
    sites = np.argwhere(host)
    if len(sites) < 500:
        return
    site = tuple(sites[patient.rng.integers(len(sites))])
    centre = [axis[site] for axis in patient.points]
    lesion = ellipsoid(patient.points, centre, radius * patient.rng.uniform(0.85, 1.15, size=3))
    inside = (lesion < 0) & host
    if inside.sum() < 30:
        return
    tumour = TORSO_LABELS["liver_tumour" if organ == "liver" else "kidney_tumour"]
    canvas.fill(inside, value, tumour)


def _scan(rng: np.random.Generator, tissue: Field, spacing_mm: NDArray[np.float64]) -> Field:
    """Partial volume, streaks in some cases and noise; whole Hounsfield units."""
    image = gaussian_filter(tissue, rng.uniform(0.45, 0.75), truncate=3)
    if rng.random() < 0.25:
        image += _streaks(rng, image.shape, spacing_mm)
    image = add_noise(rng, image, sigma=rng.uniform(5, 16), grain=rng.uniform(0.4, 0.8))
    return np.clip(np.round(image), -1024, 3071).astype(np.float32)


def _streaks(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: NDArray[np.float64]) -> Field:
    """Bright and dark lines through one point, over a few slices."""
    x, y, z = grid_mm((shape[0], shape[1], shape[2]), spacing_mm)
    x, y = x - np.float32(rng.uniform(-60, 60)), y - np.float32(rng.uniform(-40, 40))
    lines = np.zeros((shape[0], shape[1], 1), dtype=np.float32)
    for angle in rng.uniform(0, np.pi, size=rng.integers(3, 8)):
        across = x * np.float32(np.sin(angle)) - y * np.float32(np.cos(angle))
        lines += np.float32(rng.normal(0, 45)) * np.exp(-((across / 3) ** 2))
    return lines * np.exp(-(((z - np.float32(rng.uniform(z.min(), z.max()))) / 12) ** 2))
