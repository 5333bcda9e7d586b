"""FLARE22 (Ma et al. 2023): abdominal organs in CT; images already end in `_0000`.

`FLARE22_LabeledCase50/{images/FLARE22_Tr_NNNN_0000.nii.gz, labels/FLARE22_Tr_NNNN.nii.gz}`. Tuning cases beside it are
test cases; the thousands of unlabelled cases are left alone.
"""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import FLARE22
from dataset_conversion.walking import files_by_id, find_root, held_out, pair, subfolders

_TUNING = ("tuning", "validation")
_CASE, _TEST = "FLARE22_Tr_{}", "FLARETs_{}"


def read_source(folder: Path) -> Source:
    """Reads the fifty labelled cases and, where they are found, the tuning cases.

    Args:
        folder: `FLARE22_LabeledCase50`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, "images/FLARE22_Tr_*")
    images, faults = files_by_id(root / "images", r"FLARE22_Tr_(\d+)_0000\.nii(?:\.gz)?", name=_CASE)
    labels, more = files_by_id(root / "labels", r"FLARE22_Tr_(\d+)\.nii(?:\.gz)?", name=_CASE)
    cases, unpaired = pair(images, labels, FLARE22, name=_CASE)
    tuning = next((path for base in (root.parent, root.parent.parent) for path in _tuning_folders(base)), None)
    tests = []
    if tuning:
        test_images, test_faults = files_by_id(
            tuning / "images" if (tuning / "images").is_dir() else tuning, r"FLARETs_(\d+)_0000\.nii(?:\.gz)?"
        )
        test_labels, label_faults = files_by_id(tuning / "labels", r"FLARETs_(\d+)\.nii(?:\.gz)?", name=_TEST)
        tests = held_out(test_images, test_labels, FLARE22, name=_TEST)
        faults += [*test_faults, *label_faults]
    return Source(
        channels=("CT",),
        classes=classes_of(FLARE22),
        cases=(*cases, *tests),
        faults=(*faults, *more, *unpaired),
        description="FLARE22: abdominal organs in CT",
        reference="Ma et al., FLARE22, flare22.grand-challenge.org",
    )


def _tuning_folders(base: Path) -> list[Path]:
    return [path for path in subfolders(base) if path.name.lower() in _TUNING]


FORMAT = Format(
    read=read_source,
    summary="FLARE22: abdominal organs, the labelled cases",
    modality="CT",
    classes=tuple(FLARE22.values()),
    licence="not established; registration",
    where="flare22.grand-challenge.org",
    tree="""\
Training/FLARE22_LabeledCase50/
  images/FLARE22_Tr_NNNN_0000.nii.gz
  labels/FLARE22_Tr_NNNN.nii.gz
Tuning/ or Validation/                optional: test cases
  images/FLARETs_NNNN_0000.nii.gz     or without images/
  labels/FLARETs_NNNN.nii.gz          optional""",
    notes=(
        "The folder of tuning cases is not established; both names are looked for, with and without `images`.",
        "The 200 test cases have the names of tuning cases (`FLARETs_NNNN`); what lies in other folders is not read.",
        "Images end in `_0000` already; the number is not doubled.",
        "The thousands of unlabelled cases are left alone.",
        "Its sources overlap with other public CT datasets.",
    ),
)
