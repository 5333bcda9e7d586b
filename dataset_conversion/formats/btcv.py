"""The abdomen of Beyond the Cranial Vault (Landman et al. 2015): `RawData/Training/{img, label}`, `RawData/Testing`."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import BTCV
from dataset_conversion.walking import files_by_id, find_root, pair, unlabelled

_CASE = "btcv_{}"


def read_source(folder: Path) -> Source:
    """Reads the raw, not the registered, images.

    Args:
        folder: `RawData`, or a folder around it.

    Raises:
        UsageError: this is no such folder, or `RawData` and `RegData` both lie in it.
    """
    root = find_root(folder, "Training/img", "Training/label")
    images, faults = files_by_id(root / "Training" / "img", r"img(\d+)\.nii\.gz", name=_CASE)
    labels, more = files_by_id(root / "Training" / "label", r"label(\d+)\.nii\.gz", name=_CASE)
    testing = next((root / name for name in ("Testing", "Test") if (root / name).is_dir()), root / "Testing")
    tests, test_faults = files_by_id(testing / "img", r"img(\d+)\.nii\.gz", name=_CASE)
    cases, unpaired = pair(images, labels, BTCV, name=_CASE)
    return Source(
        channels=("CT",),
        classes=classes_of(BTCV),
        cases=(*cases, *unlabelled(tests, name=_CASE)),
        faults=(*faults, *more, *test_faults, *unpaired),
        description="BTCV: abdominal organs in CT",
        licence="registration at Synapse",
        reference="Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, Synapse syn3193805",
    )
