"""CHAOS (Kavur et al. 2021): abdominal organs in CT and in MR of other patients; DICOM with a PNG a slice.

`{CT|MR}/ID/[{T1DUAL|T2SPIR}/]DICOM_anon/*.dcm` and `Ground/*.png` beside `DICOM_anon`. T1 has two echoes, in phase and
out of phase, with one set of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.png_stack import PngStack
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.tables import CHAOS_CT, CHAOS_MR
from dataset_conversion.walking import all_folders, is_visible, require_folder, subfolders
from sammoe_pipeline.dicom_series import DicomSeries
from sammoe_pipeline.errors import UsageError

_SLICES, _LABELS, _TRAINING = "DICOM_anon", "Ground", "Train_Sets"


@dataclass(frozen=True)
class _Sequence:
    """Where the files of one kind of image lie.

    Attributes:
        modality: folder above the patients.
        folder: below a patient; empty for none.
        channels: folder below `DICOM_anon`, by channel.
        meaning: of gray values.
    """

    modality: str
    folder: str
    channels: dict[str, str]
    meaning: dict[int, str]


_SEQUENCES = {
    "ct": _Sequence("CT", "", {"CT": ""}, CHAOS_CT),
    "t1": _Sequence("MR", "T1DUAL", {"T1 in phase": "InPhase", "T1 out of phase": "OutPhase"}, CHAOS_MR),
    "t2": _Sequence("MR", "T2SPIR", {"T2": ""}, CHAOS_MR),
}


def read_source(folder: Path, *, sequence: str) -> Source:
    """Reads the cases of one kind of image; those without labels, from the test sets, are test cases.

    Args:
        folder: `Train_Sets`, or a folder around it, which may hold `Test_Sets` too.
        sequence: "ct", "t1" or "t2".

    Raises:
        UsageError: there is no such image.
    """
    require_folder(folder)
    wanted = _SEQUENCES[sequence]
    roots = [path for path in (folder, *all_folders(folder)) if path.name == wanted.modality]
    patients = [path for root in roots for path in subfolders(root) if (path / wanted.folder / _SLICES).is_dir()]
    if not patients:
        where = "/".join(filter(None, (wanted.modality, "ID", wanted.folder, _SLICES)))
        raise UsageError(f"-i {folder} has no {where} at any depth. Is it CHAOS, extracted?")
    cases: list[Case] = []
    faults: list[Fault] = []
    for patient in patients:
        base, name = patient / wanted.folder, f"chaos_{sequence}_{patient.name}"
        series = [_series(base / _SLICES / channel) for channel in wanted.channels.values()]
        empty = [one.folder for one in series if not one.files]
        if empty:
            faults.append(Fault(f"{empty[0]} has no .dcm file. Download the case again, or remove it.", name))
            continue
        pngs = _files(base / _LABELS, ".png")
        if not pngs and _TRAINING in patient.resolve().parts:
            faults.append(Fault(f"{base / _LABELS} has no .png file. Download the case again, or remove it.", name))
            continue
        labels = (LabelFile(PngStack(base / _LABELS, pngs, series[0]), wanted.meaning),) if pngs else ()
        cases.append(Case(name=name, images=tuple(series), labels=labels, test=not labels))
    return Source(
        channels=tuple(wanted.channels),
        classes=classes_of(wanted.meaning),
        cases=tuple(cases),
        faults=tuple(faults),
        description=f"CHAOS: abdominal organs in {wanted.modality}",
        reference="Kavur et al., CHAOS, Medical Image Analysis 2021, chaos.grand-challenge.org",
    )


def _series(folder: Path) -> DicomSeries:
    return DicomSeries(folder=folder, files=_files(folder, ".dcm"))


def _files(folder: Path, ending: str) -> tuple[Path, ...]:
    found = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(path for path in found if path.name.lower().endswith(ending) and is_visible(path)))


_TREE = """\
CHAOS_Train_Sets/Train_Sets/          and Test_Sets/, without Ground: test cases
  CT/ID/
    DICOM_anon/*.dcm
    Ground/liver_GT_NNN.png
  MR/ID/
    T1DUAL/DICOM_anon/{InPhase, OutPhase}/*.dcm
    T1DUAL/Ground/*.png
    T2SPIR/DICOM_anon/*.dcm
    T2SPIR/Ground/*.png"""
_ORDER = (
    "PNG say nothing of their place: they are tied to DICOM files by the numbers in file names, and lie where these "
    "lie. This was not checked on the archive itself: look at a case before you train on it.",
    "Numbers of PNG and slices that differ are faults.",
)
_LICENCE = "sources disagree: CC BY-NC-SA, or CC BY-SA 4.0"
_WHERE = "zenodo.org/records/3431873, chaos.grand-challenge.org"
_RANGES = "Gray values: 55 to 70 liver, 110 to 135 right kidney, 175 to 200 left kidney, 240 to 255 spleen."

CT = Format(
    read=partial(read_source, sequence="ct"),
    summary="CHAOS: the liver in CT",
    modality="CT",
    classes=classes_of(CHAOS_CT),
    licence=_LICENCE,
    where=_WHERE,
    tree=_TREE,
    notes=(*_ORDER, "CT and MR show different patients."),
)
MR_T1 = Format(
    read=partial(read_source, sequence="t1"),
    summary="CHAOS: abdominal organs in T1-weighted MR, in and out of phase",
    modality="MR: T1 in phase, T1 out of phase",
    classes=classes_of(CHAOS_MR),
    licence=_LICENCE,
    where=_WHERE,
    tree=_TREE,
    notes=(
        *_ORDER,
        _RANGES,
        "In test case 35 the two phases have different numbers of slices: `--skip-faulty` goes on without it.",
        "`chaos_mr_t2` shows the same patients on other grids. Do not evaluate one on the other.",
    ),
)
MR_T2 = Format(
    read=partial(read_source, sequence="t2"),
    summary="CHAOS: abdominal organs in T2-weighted MR",
    modality="MR: T2",
    classes=classes_of(CHAOS_MR),
    licence=_LICENCE,
    where=_WHERE,
    tree=_TREE,
    notes=(
        *_ORDER,
        _RANGES,
        "`chaos_mr_t1` shows the same patients on other grids. Do not evaluate one on the other.",
    ),
)
