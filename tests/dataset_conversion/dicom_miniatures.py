"""Miniatures of public datasets in DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.dataset_conversion.dicom_files import box, png, rtstruct, seg, series
from tests.dataset_conversion.volumes import AFFINE, JUNK, SHAPE


def chaos(folder: Path) -> Path:
    """`Train_Sets` and `Test_Sets`; the first file, DICOM or PNG, is the top slice."""
    train, test = folder / "CHAOS_Train_Sets" / "Train_Sets", folder / "CHAOS_Test_Sets" / "Test_Sets"
    for root, modality, patient in ((train, "CT", 1), (train, "CT", 10), (test, "CT", 3)):
        case = root / modality / str(patient)
        series(case / "DICOM_anon", name="i{:04d},0000b.dcm".format)
        (case / "DICOM_anon" / "._i0000,0000b.dcm").write_bytes(JUNK)
        if root is train:
            for number in range(SHAPE[2]):
                png(case / "Ground" / f"liver_GT_{number:03d}.png", shown(number, [255]))
    for root, patient in ((train, 2), (train, 39), (test, 4)):
        case = root / "MR" / str(patient)
        t1, t2 = case / "T1DUAL", case / "T2SPIR"
        series(t1 / "DICOM_anon" / "InPhase", modality="MR", name=lambda k: f"IMG-0004-{2 * k + 2:05d}.dcm")
        series(t1 / "DICOM_anon" / "OutPhase", modality="MR", name=lambda k: f"IMG-0004-{2 * k + 1:05d}.dcm")
        other = AFFINE @ np.diag([1.2, 1.2, 1, 1])
        series(t2 / "DICOM_anon", modality="MR", affine=other, name=lambda k: f"IMG-0007-{k + 1:05d}.dcm")
        if root is train:
            for number in range(SHAPE[2]):
                png(t1 / "Ground" / f"IMG-0004-{2 * number + 2:05d}.png", shown(number, [63, 126, 189, 252]))
                png(t2 / "Ground" / f"IMG-0007-{number + 1:05d}.png", shown(number, [63, 126, 189, 252]))
    return folder


def shown(number: int, grays: list[int]) -> NDArray[np.uint8]:
    """Returns the labels (x, y) of the slice with a number: each gray value in a row of its own, from x = number on."""
    pixels = np.zeros(SHAPE[:2], np.uint8)
    for y, gray in enumerate(grays, start=2):
        pixels[number : number + 2, y] = gray
    return pixels


def dicom(folder: Path) -> Path:
    """Two patients, one with two series, contours for one series and segments for the others."""
    series(folder / "A" / "study" / "ct", uid="1.2.3.1", patient="LUNG-1")
    (folder / "A" / "study" / "LICENSE").write_text("no DICOM")
    rtstruct(
        folder / "A" / "study" / "1-1.dcm",
        {"lung": [(2, box(1, 1, 6, 6)), (2, box(3, 3, 2, 2))], "heart": [(4, box(2, 5, 3, 2))], "nothing": []},
        of="1.2.3.1",
        patient="LUNG-1",
    )
    for number in (2, 3):
        slices = series(folder / "B" / f"ct{number}", uid=f"1.2.3.{number}", patient="LUNG-2", number=number)
        masks = {name: np.zeros(SHAPE) for name in ("lung", "heart")}
        masks["lung"][1:4, 1:3, 2] = masks["heart"][5:8, 4:6, 5] = 1
        seg(folder / "B" / f"seg{number}" / "1-1.dcm", slices, masks)
    series(folder / "B" / "scout", uid="1.2.3.7", patient="LUNG-2", number=9)
    return folder
