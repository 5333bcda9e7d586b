"""The organs of a torso: vessels, chest, abdomen and tumours."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from dataset_conversion.phantoms.fields import Field
from dataset_conversion.phantoms.implicit import blend, column, common, ellipsoid, tube, union
from dataset_conversion.phantoms.torso_patient import AIR, FAT, FLUID, LUNG, MUSCLE, SIDES, TORSO_LABELS, Patient


def paint_vessels(patient: Patient) -> None:
    """Aorta with its arch, and the inferior vena cava, both in front of the spine."""
    canvas, points, z = patient.canvas, patient.points, patient.points[2]
    path = np.array([(-7, -18, 70), (-8, -17, 130), (-18, -25, 180), (-20, -28, 236)]) + patient.near(0, 0, 0, by=1.5)
    radius = patient.about(9.5)[0]
    descending = common(column(points, path, (radius, radius)), z - 238, 66 - z)
    arch = tube(points, [path[-1], (-12, -8, 246), (4, 12, 238), (6, 18, 214)], radius)
    canvas.organ(union(descending, arch), patient.hu["aorta"], TORSO_LABELS["aorta"], gap_mm=1)
    cava = column(points, [(18, -19, 70), (19, -18, 130), (21, -8, 180)], (radius * 1.05, radius * 0.8))
    cava = common(cava, z - 190, 62 - z)
    canvas.organ(cava, patient.hu["inferior_vena_cava"], TORSO_LABELS["inferior_vena_cava"], gap_mm=2)


def paint_chest(patient: Patient) -> None:
    """Mediastinum with esophagus, airways and heart, and the lungs beside it."""
    rng, canvas, points = patient.rng, patient.canvas, patient.points
    x, y, z = points
    above = _diaphragm(patient) - z
    heart = common(
        ellipsoid(points, patient.near(-16, 26, 202, by=3), patient.about(44, 34, 33), _turn(patient, -25)), above
    )
    narrowing = np.clip((z - 205) / 62, 0, 1) ** 2
    cage = (np.hypot(x / (104 * (1 - 0.5 * narrowing)), (y - 1) / (67 * (1 - 0.35 * narrowing))) - 1) * np.float32(65)
    mediastinum = union(np.abs(x) - (17 + 0.05 * np.abs(y)), heart - 4, canvas.room - 2)

    # Fat and soft tissue alternate, so that the esophagus melts into its surroundings on part of its length.
    filling = np.clip(-5 + 65 * patient.texture(9), -95, 45)
    between = (cage < 2) & (above < 2)
    canvas.fill(between & (canvas.room > 0), FAT + 15)
    canvas.fill(between & (canvas.room > 2.5), filling)
    _paint_esophagus(patient)
    fork = (1, -4, 232)
    trachea = tube(points, [(2, -1, 290), fork], 7.5)
    bronchi = union(*(tube(patient.mirrored(sign), [fork, (36, -8, 212)], 5) for _, sign in SIDES))
    canvas.organ(trachea, AIR + 30, TORSO_LABELS["trachea"])
    canvas.fill((bronchi < 0) & (canvas.room > 0), AIR + 60)
    canvas.fill((heart < 4) & (canvas.room > 0), FAT + 15)
    canvas.organ(heart, patient.hu["heart"] + 5 * patient.texture(8), TORSO_LABELS["heart"], gap_mm=2)

    air = LUNG + rng.uniform(-40, 60) + 25 * patient.texture(10)
    vessels = (np.abs(patient.texture(5)) < 0.12 + 0.001 * (60 - np.abs(x))) & (patient.texture(6) > 0.2)
    air = np.where(vessels, -350, air).astype(np.float32)
    for side, sign in SIDES:
        canvas.organ(common(cage, above, -mediastinum, -sign * x), air, TORSO_LABELS[f"lung_{side}"])


def _paint_esophagus(patient: Patient) -> None:
    """Flattened tube from behind the airways, behind the heart, to the stomach; swallowed air here and there."""
    rng, canvas, points = patient.rng, patient.canvas, patient.points
    path = np.array([(-30, 4, 160), (-14, -5, 172), (-4, -12, 185), (4, -16, 205), (2, -20, 235), (2, -20, 270)])
    half_width, half_depth = rng.uniform(4.8, 7.2) / patient.scale, rng.uniform(3.6, 5.0) / patient.scale
    esophagus = column(points, np.add(path, (*rng.normal(0, 1.5, size=2), 0)), (half_width, half_depth))
    esophagus = common(esophagus, 158 - points[2])
    lumen = (esophagus < -2.6) & (canvas.room > 0) & (patient.texture(7) > (1.0 if rng.random() < 0.4 else 9.0))
    canvas.organ(esophagus, 34 + rng.uniform(-4, 6), TORSO_LABELS["esophagus"])
    canvas.fill(lumen, -400)


def _diaphragm(patient: Patient) -> Field:
    """Height of the diaphragm over each voxel in mm: a dome a side, the right one higher, and a saddle."""
    x, y, _ = patient.points
    right = np.exp(-(((x - 52) / 52) ** 2) - ((y - 6) / 72) ** 2)
    left = np.exp(-(((x + 52) / 52) ** 2) - ((y - 6) / 72) ** 2)
    saddle = np.exp(-((x / 30) ** 2))
    dome: Field = 132 + 50 * right + 42 * left + 34 * saddle
    return dome


def _turn(patient: Patient, degrees: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Rotation about z by about so many degrees."""
    angle = degrees + patient.rng.uniform(-8, 8)
    return np.asarray(Rotation.from_euler("z", angle, degrees=True).as_matrix())


def paint_abdomen(patient: Patient) -> None:
    """Organs under the diaphragm in the order in which they keep their place, then bowel between them."""
    rng, canvas, points = patient.rng, patient.canvas, patient.points
    under = points[2] - _diaphragm(patient) + 4
    for side, sign in SIDES:
        here, centre = patient.mirrored(sign), patient.near(54, -30, 119 if side == "right" else 126, by=2.5)
        hilum = ellipsoid(here, np.subtract(centre, (20, -6, 0)), (12, 9, 12))
        kidney = common(ellipsoid(here, centre, patient.about(20, 19, 34)), -hilum)
        canvas.organ(kidney, patient.hu["kidney"], TORSO_LABELS[f"kidney_{side}"], gap_mm=2)

    if rng.random() < 0.8:
        gallbladder = ellipsoid(points, patient.near(36, 38, 116, by=2.5), patient.about(12, 12, 19, by=0.15))
        canvas.organ(gallbladder, FLUID + rng.uniform(-3, 8), TORSO_LABELS["gallbladder"], gap_mm=1)
    right_lobe = ellipsoid(points, patient.near(52, 8, 148), patient.about(50, 56, 48))
    left_lobe = ellipsoid(points, patient.near(2, 32, 162), patient.about(48, 26, 20))
    liver = common(blend(right_lobe, left_lobe, 14), under)
    canvas.organ(liver, patient.hu["liver"] + 3 * patient.texture(3), TORSO_LABELS["liver"], gap_mm=2)
    spleen = ellipsoid(points, patient.near(-76, -22, 142), patient.about(21, 31, 34, by=0.12), _turn(patient, 20))
    canvas.organ(common(spleen, under), patient.hu["spleen"], TORSO_LABELS["spleen"], gap_mm=2)
    _paint_stomach(patient, under)

    path = np.array([(26, 6, 116), (8, 12, 126), (-20, 2, 132), (-52, -10, 140)]) + patient.near(0, 0, 0)
    pancreas = tube(points, path, patient.about(9)[0]) + 2 * patient.texture(5)
    lobules = patient.hu["pancreas"] + 6 * patient.texture(3)
    canvas.organ(pancreas, lobules, TORSO_LABELS["pancreas"], gap_mm=1)
    _paint_bowel(patient, under)


def _paint_stomach(patient: Patient, under: Field) -> None:
    """Fundus and antrum, filled with fluid, food or oral contrast medium."""
    points = patient.points
    fundus = ellipsoid(points, patient.near(-46, 16, 148), patient.about(27, 27, 30, by=0.12))
    antrum = ellipsoid(points, patient.near(-18, 40, 126), patient.about(30, 17, 16, by=0.12))
    stomach = common(blend(fundus, antrum, 12), under)
    content = patient.rng.choice([15.0, 30.0, 160.0]) + 4 * patient.texture(6)
    content = np.where(stomach > -3, MUSCLE - 7, content).astype(np.float32)
    patient.canvas.organ(stomach, content, TORSO_LABELS["stomach"], gap_mm=2.5)


def _paint_bowel(patient: Patient, under: Field) -> None:
    """Unnamed lumps as bright as organs, some with gas, in the fat that the organs leave."""
    canvas, (x, y, z) = patient.canvas, patient.points
    cavity = (np.hypot(x / 98, (y - 8) / 58) < 1) & (under < 0) & (canvas.room > 4) & (z < 150) & (y > -30)
    lumps = patient.texture(9)
    canvas.fill(cavity & (lumps > 0.55), patient.rng.uniform(20, 45))
    canvas.fill(cavity & (lumps > 1.5) & (patient.texture(12) > 0.3), -750)


def paint_tumours(patient: Patient) -> None:
    """Faint lesions in the liver, and one in a kidney of half the patients."""
    rng, hu = patient.rng, patient.hu
    if rng.random() < 0.9:
        for _ in range(rng.integers(1, 4)):
            _paint_lesion(patient, "liver", "liver_tumour", rng.uniform(4.2, 9.5), hu["liver"] - rng.uniform(20, 45))
    if rng.random() < 0.6:
        kidney = str(rng.choice(["kidney_right", "kidney_left"]))
        change = rng.uniform(0.45, 0.7) if hu["kidney"] > 60 else rng.uniform(1.4, 1.8)
        _paint_lesion(patient, kidney, "kidney_tumour", rng.uniform(6, 11), hu["kidney"] * change)


def _paint_lesion(patient: Patient, organ: str, name: str, radius_mm: float, value: float) -> None:
    """One nearly round lesion somewhere in an organ, unless too little of either is in the field of view."""
    canvas, rng = patient.canvas, patient.rng
    host = canvas.labels == TORSO_LABELS[organ]
    sites = np.argwhere(host)
    if len(sites) < 500:
        return
    site = tuple(sites[rng.integers(len(sites))])
    radii = radius_mm / patient.scale * rng.uniform(0.9, 1.1, size=3)
    lesion = (ellipsoid(patient.points, [axis[site] for axis in patient.points], radii) < 0) & host
    if np.count_nonzero(lesion) * np.prod(patient.spacing) > 0.5 * radius_mm**3 * 4.19:
        canvas.fill(lesion, value, TORSO_LABELS[name])
