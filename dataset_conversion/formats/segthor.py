"""SegTHOR (Lambert et al. 2020): organs at risk in the thorax; `train/Patient_NN/{Patient_NN, GT}.nii.gz`.

Every label map is called `GT`, so its folder names the case. Test cases lie flat in `test`.
"""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import SEGTHOR
from dataset_conversion.walking import files_by_id, find_root, pair, subfolders, unlabelled

_LABEL = "GT.nii.gz"


def read_source(folder: Path) -> Source:
    """Reads training and test cases.

    Args:
        folder: with `train` in it, `train` itself, or a folder around them.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, f"train/*/{_LABEL}", f"Patient_*/{_LABEL}")
    patients = subfolders(root / "train" if (root / "train").is_dir() else root)
    images = {path.name: path / f"{path.name}.nii.gz" for path in patients if (path / f"{path.name}.nii.gz").is_file()}
    labels = {path.name: path / _LABEL for path in patients if (path / _LABEL).is_file()}
    tests, faults = files_by_id(root / "test", r"(Patient_\d+)\.nii\.gz")
    cases, unpaired = pair(images, labels, SEGTHOR)
    return Source(
        channels=("CT",),
        classes=classes_of(SEGTHOR),
        cases=(*cases, *unlabelled(tests)),
        faults=(*faults, *unpaired),
        description="SegTHOR: esophagus, heart, trachea and aorta in CT",
        reference="Lambert et al., SegTHOR, CodaLab competition 21145",
    )


FORMAT = Format(
    read=read_source,
    summary="SegTHOR: organs at risk in the thorax",
    modality="CT",
    classes=tuple(SEGTHOR.values()),
    licence="not established; registration at CodaLab",
    where="competitions.codalab.org/competitions/21145",
    tree="""\
SRC/
  train/Patient_NN/Patient_NN.nii.gz
  train/Patient_NN/GT.nii.gz
  test/Patient_NN.nii.gz    optional""",
)
