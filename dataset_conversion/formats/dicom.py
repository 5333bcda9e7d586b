"""DICOM series with labels in RTSTRUCT (contours) or SEG (segments), in folders of any name and depth.

Labels name the series that they belong to by its UID, so that nothing depends on the names of files. Regions and
segments are classes by their names.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_conversion.dicom_labels import Contours, Segment, regions_of, segments_of
from dataset_conversion.format import Format
from dataset_conversion.source import Case, Fault, LabelFile, Source
from dataset_conversion.walking import all_folders, is_visible, require_folder
from sammoe_pipeline.dicom_series import DicomSeries, read_dicom
from sammoe_pipeline.errors import UnreadableFileError, UsageError
from sammoe_pipeline.paths import safe_name

if TYPE_CHECKING:
    from pydicom import Dataset

logger = logging.getLogger(__name__)

_CONTOURS, _SEGMENTS = "RTSTRUCT", "SEG"
_TAGS = (
    "Modality", "PatientID", "StudyDate", "SeriesNumber", "SeriesInstanceUID", "SeriesDescription",
    "StructureSetLabel", "ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence",
)  # fmt: skip
_CHANNELS = {"MR": "MRI", "PT": "PET"}
_DIGEST_LENGTH = 8
"""Characters of the digest that tells series apart where all else is the same."""


@dataclass
class _Image:
    """A series of slices: its first file's elements, and all its files."""

    data: Dataset
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Labels:
    """A file with labels.

    Attributes:
        path: the file.
        data: its elements.
        series: UID of the series that it belongs to; empty where it does not say.
    """

    path: Path
    data: Dataset
    series: str


def read_source(folder: Path, *, modality: str | None = None, labels: str | None = None) -> Source:
    """Reads all series that have labels, a case each, grouped by patient; other series are left alone.

    Args:
        folder: around the files.
        modality: of the images, such as `CT`, where there are several.
        labels: words in the description of the label files to take, where series have several.

    Raises:
        UsageError: there are no labels, or it is not clear which are meant.
    """
    require_folder(folder)
    images, found, faults = _scan(folder)
    if not found:
        raise UsageError(f"-i {folder} has no DICOM file with labels (RTSTRUCT or SEG) at any depth. Is it extracted?")
    wanted = [one for one in found if labels is None or labels.lower() in _description(one.data).lower()]
    if not wanted:
        there = ", ".join(sorted({_description(one.data) for one in found}))
        raise UsageError(f"--labels {labels!r} is in the description of no label file. There are: {there}.")
    by_series: dict[str, list[_Labels]] = defaultdict(list)
    for one in wanted:
        if one.series in images:
            by_series[one.series].append(one)
        else:
            text = f"{one.path} belongs to the series {one.series or '(not said)'}, which is not there. Add it."
            faults.append(Fault(text, str(one.path.relative_to(folder))))
    chosen = _choose(folder, {uid: str(images[uid].data.get("Modality", "")) for uid in by_series}, modality)
    names = _case_names({uid: images[uid].data for uid in chosen})
    cases: list[Case] = []
    for uid, name in names.items():
        image = images[uid]
        series = DicomSeries(folder=image.files[0].parent, files=tuple(image.files))
        files, more = _label_files(by_series[uid], series, name)
        faults += more
        if files:
            cases.append(Case(name=name, images=(series,), labels=files, patient=_patient(image.data)))
    _warn_of_unknown_patients(cases)
    channel = str(images[chosen[0]].data.get("Modality", "")) if chosen else "image"
    return Source(
        channels=(_CHANNELS.get(channel, channel),),
        classes=tuple(sorted({str(label.meaning) for case in cases for label in case.labels})),
        cases=tuple(cases),
        faults=tuple(faults),
        description=folder.resolve().name,
    )


def _scan(folder: Path) -> tuple[dict[str, _Image], list[_Labels], list[Fault]]:
    """Returns series by UID, label files, and what cannot be read."""
    from tqdm import tqdm

    images: dict[str, _Image] = {}
    labels: list[_Labels] = []
    faults: list[Fault] = []
    places = (folder, *all_folders(folder))
    paths = [path for place in places for path in sorted(place.iterdir()) if path.is_file() and is_visible(path)]
    for path in tqdm(paths, desc="Reading DICOM headers", unit="file", disable=None):
        try:
            data = read_dicom(path, *_TAGS)
        except (UnreadableFileError, OSError) as error:
            faults.append(Fault(str(error)))
            continue
        if data is None or "SeriesInstanceUID" not in data:
            continue
        if data.get("Modality") in (_CONTOURS, _SEGMENTS):
            labels.append(_Labels(path, data, _referenced_series(data)))
        else:
            images.setdefault(str(data.SeriesInstanceUID), _Image(data)).files.append(path)
    return images, labels, faults


def _referenced_series(data: Dataset) -> str:
    """Returns the UID of the series that labels belong to."""
    references = [*(data.get("ReferencedSeriesSequence") or ())]
    for frame in data.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            references += study.get("RTReferencedSeriesSequence") or ()
    return str(references[0].get("SeriesInstanceUID", "")) if references else ""


def _choose(folder: Path, modalities: Mapping[str, str], wanted: str | None) -> list[str]:
    """Returns the series of one modality."""
    known = sorted(set(modalities.values()))
    if wanted is None and len(known) > 1:
        raise UsageError(f"-i {folder}: the images with labels are {', '.join(known)}. Choose one with --modality.")
    if wanted is not None and wanted not in known:
        raise UsageError(f"--modality {wanted!r}: the images with labels are {', '.join(known) or 'none'}.")
    return [uid for uid, modality in modalities.items() if wanted in (None, modality)]


def _label_files(found: Sequence[_Labels], series: DicomSeries, case: str) -> tuple[tuple[LabelFile, ...], list[Fault]]:
    """Returns the masks of a case in the order of their names, which is that of painting."""
    masks: list[LabelFile] = []
    faults = []
    for one in found:
        try:
            if one.data.Modality == _CONTOURS:
                regions = regions_of(one.path).items()
                masks += [LabelFile(Contours(one.path, number, name, series), name) for number, name in regions]
            else:
                segments = segments_of(one.path).items()
                masks += [LabelFile(Segment(one.path, number, name, series), name) for number, name in segments]
        except UnreadableFileError as error:
            faults.append(Fault(str(error), case))
    times = Counter(str(mask.meaning) for mask in masks)
    twice = sorted(name for name, number in times.items() if number > 1)
    if twice:
        files = ", ".join(one.path.name for one in found)
        faults.append(
            Fault(f"{series} has {', '.join(twice)} several times, in {files}. Choose files with --labels.", case)
        )
    if not masks and not faults:
        faults.append(Fault(f"{found[0].path} has no closed contour and no segment. Remove it.", case))
    return tuple(sorted(masks, key=lambda mask: str(mask.meaning))), faults


def _description(data: Dataset) -> str:
    words = (str(data.get(tag) or "") for tag in ("StructureSetLabel", "SeriesDescription"))
    return " ".join(word for word in words if word)


def _patient(data: Dataset) -> str | None:
    return str(data.get("PatientID") or "").strip() or None


def _case_names(series: Mapping[str, Dataset]) -> dict[str, str]:
    """Calls each series by its patient; where several are called the same, by date and number too, then by its UID.

    Args:
        series: elements by UID.
    """

    def study(uid: str) -> str:
        return f"{series[uid].get('StudyDate') or 'undated'}_{series[uid].get('SeriesNumber') or 0}"

    def digest(uid: str) -> str:
        return hashlib.sha256(uid.encode()).hexdigest()[:_DIGEST_LENGTH]

    names = {uid: safe_name(_patient(data) or "unnamed") for uid, data in series.items()}
    for more in (study, digest):
        times = Counter(names.values())
        names = {uid: name if times[name] == 1 else f"{name}_{more(uid)}" for uid, name in names.items()}
    return names


def _warn_of_unknown_patients(cases: Sequence[Case]) -> None:
    unknown = [case.name for case in cases if case.patient is None]
    if unknown:
        logger.warning(
            "%d cases have no PatientID, such as %s: each counts as a patient of its own. Where several show one "
            "patient, say so in patients.json, or with --patients of sammoe_plan_and_preprocess.",
            len(unknown),
            unknown[0],
        )


FORMAT = Format(
    read=read_source,
    summary="DICOM series with labels in RTSTRUCT or DICOM-SEG",
    modality="any",
    classes=(),
    licence="that of the dataset itself",
    where="cancerimagingarchive.net, or your own data",
    tree="""\
SRC/                        in folders of any name and depth, files of any name
  slices of CT, MR or PET   one file each
  RTSTRUCT or SEG           each names the series that it belongs to""",
    notes=(
        "A case is a series with labels. It is called after its PatientID, and where a patient has several, after "
        "date and number of the series too: take care that IDs are pseudonyms. `patients.json` groups them by patient.",
        "Without a PatientID a case is called `unnamed` and counts as a patient of its own, with a warning. Where "
        "names are still the same, eight characters that stand for the UID of the series tell them apart.",
        "Classes are the names of regions (RTSTRUCT) or segments (SEG), in alphabetical order, which is that of "
        "painting too: where two overlap, the later one has the voxel. Leave out regions such as the body's outline "
        "with `--classes`, and join names that differ between patients with `--merge liver=Liver,LIVER`.",
        "A region that a case lacks is background there.",
        "Slices are sorted by where they lie. Missing slices, several volumes in a series and tilted gantries are "
        "faults.",
        "A pixel belongs to a region where its centre is inside an odd number of contours: holes are contours within "
        "contours. Points and open lines have no inside; regions without a closed contour are left out.",
        "Frames of a SEG are placed by position, those that it leaves out are empty; fractional segments count from a "
        "half. Segments on another grid than their image's are faults.",
        "Where a series has several label files, all are joined if they name different classes; otherwise choose with "
        "`--labels`, by words in their description.",
        "Images with many slices in one file (enhanced DICOM) are not read.",
    ),
    flags=("modality", "labels"),
)
