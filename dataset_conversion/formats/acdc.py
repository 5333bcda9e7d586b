"""ACDC (Bernard et al. 2018): the heart in cine MR; end-diastole and end-systole of each patient are labelled.

`{training, testing}/patientNNN/{Info.cfg, patientNNN_4d, patientNNN_frameFF, patientNNN_frameFF_gt}.nii.gz`. The frames
are files of their own, so the 4D series is left alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Case, Fault, Source, classes_of
from dataset_conversion.tables import ACDC
from dataset_conversion.walking import all_folders, files_by_id, pair, require_folder
from sammoe_pipeline.errors import UsageError

_PATIENT = re.compile(r"patient\d+")
_TEST = "testing"


def read_source(folder: Path) -> Source:
    """Reads both labelled frames of each patient, grouped by patient.

    Args:
        folder: `database`, or a folder around it.

    Raises:
        UsageError: no `patientNNN` lies in it.
    """
    require_folder(folder)
    patients = [path for path in all_folders(folder) if _PATIENT.fullmatch(path.name)]
    if not patients:
        raise UsageError(f"-i {folder} has no folder patientNNN at any depth. Is it ACDC, extracted?")
    cases: list[Case] = []
    faults: list[Fault] = []
    for path in patients:
        name = f"{path.name}_frame{{}}"
        images, twice = files_by_id(path, r"patient\d+_frame(\d+)\.nii(?:\.gz)?", name=name)
        labels, labels_twice = files_by_id(path, r"patient\d+_frame(\d+)_gt\.nii(?:\.gz)?", name=name)
        frames, unpaired = pair(images, labels, ACDC, name=name)
        test = _TEST in path.relative_to(folder).parts or folder.name == _TEST
        cases += [replace(frame, patient=path.name, test=test) for frame in frames]
        faults += [*twice, *labels_twice, *unpaired, *_missing_frames(path, set(map(int, images)))]
    return Source(
        channels=("cine MR",),
        classes=classes_of(ACDC),
        cases=tuple(cases),
        faults=tuple(faults),
        description="ACDC: right ventricle, myocardium and left ventricle at end-diastole and end-systole",
        reference="Bernard et al., ACDC, humanheart-project.creatis.insa-lyon.fr/database",
    )


def _missing_frames(patient: Path, frames: set[int]) -> list[Fault]:
    """Checks that the frames are there that `Info.cfg` names."""
    info = patient / "Info.cfg"
    if not info.is_file():
        return []
    text = info.read_text(encoding="utf-8", errors="replace")
    named = {key: int(number) for key, number in re.findall(r"^\s*(ED|ES)\s*:\s*(\d+)", text, re.MULTILINE)}
    return [
        Fault(f"{info} names frame {frame} as {key}, and {patient} has no such frame. Download it again.", patient.name)
        for key, frame in named.items()
        if frame not in frames
    ]


FORMAT = Format(
    read=read_source,
    summary="ACDC: the heart at end-diastole and end-systole",
    modality="cine MR",
    classes=tuple(ACDC.values()),
    licence="CC BY-NC-SA 4.0, not confirmed",
    where="humanheart-project.creatis.insa-lyon.fr/database",
    tree="""\
ACDC/database/
  training, testing/
    patientNNN/
      Info.cfg
      patientNNN_frameFF.nii.gz
      patientNNN_frameFF_gt.nii.gz
      patientNNN_4d.nii.gz            not used""",
    notes=(
        "A case is a frame; `patients.json` groups those of one patient into one fold.",
        "Patients below `testing` go to `imagesTs` and `labelsTs`.",
        "Frames that `Info.cfg` names as end-diastole and end-systole must be there.",
    ),
)
