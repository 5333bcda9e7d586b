"""BraTS 2021 and from 2023 on: brain tumours in four co-registered MR sequences, a folder a case.

`BraTS2021_NNNNN/BraTS2021_NNNNN_{t1,t1ce,t2,flair,seg}` and `BraTS-XXX-NNNNN-TTT/BraTS-XXX-NNNNN-TTT-{t1n,t1c,t2w,t2f,
seg}`. The same values mean different things in different years, so the names decide, never the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.tables import BRATS_2021, BRATS_2023, BRATS_2024_GLI
from dataset_conversion.walking import all_folders, files_by_id, require_folder
from sammoe_pipeline.errors import UsageError

_OLD = re.compile(r"BraTS2021_\d{5}")
_NEW = re.compile(r"(BraTS-(?:GLI|MEN|MET|PED|SSA)-\d+)-\d{3}")
_OLD_FILES, _NEW_FILES = ("t1", "t1ce", "t2", "flair"), ("t1n", "t1c", "t2w", "t2f")
_CHANNELS = ("T1", "T1 with contrast", "T2", "FLAIR")
_YEARS = {"2023": BRATS_2023, "2024": BRATS_2024_GLI}
_FIX = re.compile(r"(?<![a-z])fix(?![a-z])", re.IGNORECASE)
_ONLY_2024 = "GLI"


def read_source(folder: Path, *, year: str | None = None) -> Source:
    """Reads all cases below a folder; those of 2023 and later are grouped by patient.

    Args:
        folder: around the folders of the cases.
        year: "2023" or "2024", where no folder's name says it.

    Raises:
        UsageError: there is no case, there are cases of several kinds, or the year is not known.
    """
    require_folder(folder)
    found = [path for path in all_folders(folder) if _OLD.fullmatch(path.name) or _NEW.fullmatch(path.name)]
    found = _newest(found, folder)
    old = [path for path in found if _OLD.fullmatch(path.name)]
    if not found:
        raise UsageError(
            f"-i {folder} has no folder BraTS2021_NNNNN or BraTS-XXX-NNNNN-TTT (XXX: GLI, MEN, MET, PED, SSA) at any "
            f"depth. Planning for radiotherapy (MEN-RT) is the format brats_men_rt; other years are not read."
        )
    if old and len(old) < len(found):
        raise UsageError(f"-i {folder} has cases of 2021 and of later years, whose labels differ. Give one of them.")
    meaning = BRATS_2021 if old else _of_later_years(folder, found, year)
    cases: list[Case] = []
    faults: list[Fault] = []
    for path in found:
        case, fault = _read_case(path, _OLD_FILES if old else _NEW_FILES, meaning)
        cases += [case] if case else []
        faults += fault
    return Source(
        channels=_CHANNELS,
        classes=classes_of(meaning),
        cases=tuple(cases),
        faults=tuple(faults),
        description="BraTS: brain tumours in MR",
        reference="Brain Tumor Segmentation challenge, synapse.org",
        release="2021" if old else None,
    )


def _newest(cases: list[Path], folder: Path) -> list[Path]:
    """Leaves out cases that were published again, mended, in a folder called so (`BraTS-MEN-Train-Fix`)."""
    mended = {path.name: path for path in cases if _FIX.search(str(path.relative_to(folder).parent))}
    return [path for path in cases if mended.get(path.name, path) == path]


def _of_later_years(folder: Path, cases: list[Path], year: str | None) -> dict[int, str]:
    """Returns the meaning of labels: 4 exists in 2024's gliomas after treatment, and nowhere in 2023."""
    names = " ".join(part for case in cases for part in case.relative_to(folder.parent).parts[:-1])
    said = {known for known in _YEARS if known in names} | ({"2024"} if "training_data" in names else set())
    year = year or (said.pop() if len(said) == 1 else None)
    if year not in _YEARS:
        raise UsageError(
            f"-i {folder}: no folder's name says whether this is BraTS 2023 or 2024, and their labels differ. Say "
            f"--year 2023 or --year 2024."
        )
    if year == "2024" and any(f"-{_ONLY_2024}-" not in case.name for case in cases):
        raise UsageError(f"-i {folder}: of BraTS 2024 only {_ONLY_2024} is read; labels of the others are not certain.")
    return _YEARS[year]


def _read_case(path: Path, sequences: tuple[str, ...], meaning: Mapping[int, str]) -> tuple[Case | None, list[Fault]]:
    files, twice = files_by_id(path, rf"{re.escape(path.name)}[_-](\w+)\.nii(?:\.gz)?", name=path.name)
    missing = [name for name in sequences if name not in files]
    if missing:
        fault = Fault(f"{path} has no {', '.join(missing)}. Download the case again, or remove it.", path.name)
        return None, [*twice, fault]
    match = _NEW.fullmatch(path.name)
    case = Case(
        name=path.name,
        images=tuple(files[name] for name in sequences),
        labels=(LabelFile(files["seg"], meaning),) if "seg" in files else (),
        patient=match[1] if match else None,
        test="seg" not in files,
    )
    return case, twice


FORMAT = Format(
    read=read_source,
    summary="BraTS 2021 and 2023 (GLI, MEN, MET, PED, SSA), and gliomas of 2024",
    modality="MR: T1, T1 with contrast, T2, FLAIR",
    classes=tuple(BRATS_2023.values()),
    licence="CC BY-NC-SA 4.0 (2021); of later years not established",
    where="synapse.org",
    tree="""\
SRC/                        in folders of any name and depth
  BraTS2021_NNNNN/BraTS2021_NNNNN_{t1,t1ce,t2,flair,seg}.nii.gz
  BraTS-XXX-NNNNN-TTT/BraTS-XXX-NNNNN-TTT-{t1n,t1c,t2w,t2f,seg}.nii.gz""",
    notes=(
        "Names decide what values mean: 4 is enhancing tumour in 2021, and resection cavity in gliomas of 2024. "
        "Where no folder's name has the year, `--year` says it.",
        "2021 calls the classes `necrotic_tumor_core`, `edema`, `enhancing_tumor`; 2024 adds `resection_cavity`.",
        "Classes do not overlap. For the challenge's regions use `--merge`.",
        "From 2023 on TTT is a point in time; `patients.json` groups those of one patient into one fold.",
        "Gliomas of 2023 are those of 2021 with new numbers. Do not evaluate one on the other.",
        "2024's other tumours are not read: the order of PED's four labels is not certain. MEN-RT is `brats_men_rt`.",
        "Meningiomas that were published again (`BraTS-MEN-Train-Fix`) take the place of the first ones, where both "
        "lie below the folder.",
        "A case that lacks a sequence, as `BraTS-MET-00232-000` does, is a fault: `--skip-faulty` goes on without it.",
        "Cases without `seg` are test cases.",
    ),
    flags=("year",),
)
