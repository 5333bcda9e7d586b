"""DICOM files of a few voxels: series, RTSTRUCT and SEG, with what the real ones have and get wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.dataset_conversion.volumes import AFFINE, SHAPE

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
CT, MR, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.481.3"
Name = Callable[[int], str]


def series(
    folder: Path,
    *,
    data: NDArray[Any] | None = None,
    affine: NDArray[np.float64] = AFFINE,
    name: Name = "slice_{:03d}.dcm".format,
    modality: str = "CT",
    patient: str = "P1",
    uid: str = "1.2.3.1",
    number: int = 1,
) -> list[Path]:
    """Writes a file a slice, named from the top downwards: against the order of positions.

    Args:
        folder: to write to.
        data: (x, y, z); of values from -1024 on.
        affine: 4 x 4, voxel to mm in RAS+.
        name: of the file of a number.
        modality: "CT" or "MR".
        patient: ID.
        uid: of the series; files share their study and frame of reference by patient.
        number: of the series.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    if data is None:
        data = np.random.default_rng(number).integers(-1000, 1000, SHAPE)
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    depth = data.shape[2]
    written = []
    for index in range(depth):
        z = depth - 1 - index
        item = Dataset()
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = CT if modality == "CT" else MR
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{index + 1}"
        item.update(_study(patient))
        item.Modality, item.SeriesInstanceUID, item.SeriesNumber, item.InstanceNumber = modality, uid, number, index + 1
        item.ImageOrientationPatient = [*directions[:, 0], *directions[:, 1]]
        item.ImagePositionPatient = list((lps @ [0, 0, z, 1])[:3])
        item.PixelSpacing, item.SliceThickness = [float(spacing[1]), float(spacing[0])], float(spacing[2])
        item.Rows, item.Columns = data.shape[1], data.shape[0]
        item.SamplesPerPixel, item.PhotometricInterpretation, item.PixelRepresentation = 1, "MONOCHROME2", 0
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 16, 15
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 1, -1024, "HU"
        item.PixelData = np.ascontiguousarray(data[:, :, z].T + 1024).astype("<u2").tobytes()
        path = folder / name(index)
        item.save_as(path, enforce_file_format=True)
        written.append(path)
    return written


def rtstruct(
    path: Path,
    regions: Mapping[str, Sequence[tuple[int, Sequence[tuple[float, float]]]]],
    *,
    of: str = "1.2.3.1",
    patient: str = "P1",
    affine: NDArray[np.float64] = AFFINE,
    kind: str = "CLOSED_PLANAR",
) -> Path:
    """Writes contours.

    Args:
        path: of the file.
        regions: by name, contours: the slice, and points (x, y) in voxels.
        of: UID of the series.
        patient: ID.
        affine: 4 x 4, voxel to mm in RAS+.
        kind: of contour.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = RTSTRUCT
    item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{abs(hash(path.name)) % 10**6}"
    item.update(_study(patient))
    item.Modality, item.SeriesInstanceUID, item.StructureSetLabel = "RTSTRUCT", f"{of}.99", path.stem
    reference, study, frame = Dataset(), Dataset(), Dataset()
    reference.SeriesInstanceUID = of
    study.RTReferencedSeriesSequence = [reference]
    frame.RTReferencedStudySequence = [study]
    item.ReferencedFrameOfReferenceSequence = [frame]
    item.StructureSetROISequence, item.ROIContourSequence = [], []
    # Numbers of regions follow no order.
    for number, (name, contours) in enumerate(regions.items()):
        region, drawn = Dataset(), Dataset()
        region.ROINumber, region.ROIName = 7 * (len(regions) - number), name
        drawn.ReferencedROINumber = region.ROINumber
        drawn.ContourSequence = []
        for z, points in contours:
            contour = Dataset()
            mm = (LPS @ affine @ np.array([[x, y, z, 1.0] for x, y in points]).T)[:3].T
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [round(float(value), 6) for value in mm.ravel()]
            drawn.ContourSequence.append(contour)
        item.StructureSetROISequence.append(region)
        item.ROIContourSequence.append(drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    item.save_as(path, enforce_file_format=True)
    return path


def seg(path: Path, slices: Sequence[Path], masks: Mapping[str, NDArray[Any]], *, fractional: bool = False) -> Path:
    """Writes segments; frames without any are left out, and the others lie in the order of the slices' files.

    Args:
        path: of the file.
        slices: files of the series.
        masks: (x, y, z) by label, z in the order of the files; shares from 0 to 1 where `fractional`.
        fractional: whether voxels can belong in part.
    """
    import highdicom
    import pydicom
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in enumerate(masks, start=1)
    ]
    pixels = np.stack([mask.transpose(2, 1, 0) for mask in masks.values()], axis=-1)
    item = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(one) for one in slices],
        pixel_array=pixels.astype(np.float32) if fractional else pixels.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.FRACTIONAL if fractional else SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid="1.2.8.1",
        series_number=50,
        sop_instance_uid="1.2.8.1.1",
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        series_description=path.stem,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    item.save_as(path)
    return path


def png(path: Path, pixels: NDArray[Any]) -> Path:
    """Writes a slice (x, y) as a PNG of its gray values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels.T.astype(np.uint8))).save(path)
    return path


def box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """Returns the corners of a rectangle around the centres of `width` x `height` pixels from (x, y) on."""
    left, right, low, high = x - 0.5, x + width - 0.5, y - 0.5, y + height - 0.5
    return [(left, low), (right, low), (right, high), (left, high)]


def _study(patient: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PatientID, item.PatientName, item.PatientBirthDate, item.PatientSex = patient, "x^", "", ""
    item.StudyInstanceUID, item.FrameOfReferenceUID = "1.2.3", "1.2.3.4"
    item.StudyDate, item.StudyTime, item.StudyID, item.AccessionNumber = "20310402", "120000", "1", ""
    return item
