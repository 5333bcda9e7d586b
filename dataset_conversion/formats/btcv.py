"""The abdomen of Beyond the Cranial Vault (Landman et al. 2015): `RawData/Training/{img, label}`, `RawData/Testing`."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import BTCV
from dataset_conversion.walking import files_by_id, find_root, pair, unlabelled
from sammoe_pipeline.errors import UsageError

_CASE = "btcv_{}"


def read_source(folder: Path) -> Source:
    """Reads the raw, not the registered, images.

    Args:
        folder: `RawData`, or a folder around it.

    Raises:
        UsageError: this is no such folder, or `RawData` and `RegData` both lie in it.
    """
    root = find_root(folder, "Training/img", "Training/label")
    images, faults = files_by_id(root / "Training" / "img", r"img(\d+)\.nii(?:\.gz)?", name=_CASE)
    labels, more = files_by_id(root / "Training" / "label", r"label(\d+)\.nii(?:\.gz)?", name=_CASE)
    if not images and not labels:
        raise UsageError(
            f"-i {root} has no Training/img/imgNNNN.nii.gz. The cervix set, NNNNNNN-Image.nii.gz, is another dataset."
        )
    testing = next((root / name for name in ("Testing", "Test") if (root / name).is_dir()), root / "Testing")
    tests, test_faults = files_by_id(testing / "img", r"img(\d+)\.nii(?:\.gz)?", name=_CASE)
    cases, unpaired = pair(images, labels, BTCV, name=_CASE)
    return Source(
        channels=("CT",),
        classes=classes_of(BTCV),
        cases=(*cases, *unlabelled(tests, name=_CASE)),
        faults=(*faults, *more, *test_faults, *unpaired),
        description="BTCV: abdominal organs in CT",
        reference="Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, Synapse syn3193805",
    )


FORMAT = Format(
    read=read_source,
    summary="BTCV abdomen (Beyond the Cranial Vault)",
    modality="CT",
    classes=tuple(BTCV.values()),
    licence="registration at Synapse",
    where="synapse.org, syn3193805",
    tree="""\
Abdomen/RawData/
  Training/img/imgNNNN.nii.gz
  Training/label/labelNNNN.nii.gz
  Testing/img/imgNNNN.nii.gz          or Test/img; optional""",
    notes=(
        "The registered variant, `RegData`, is another dataset: give the folder `RawData`.",
        "The name of the folder of test images is not established; both are looked for.",
        "The sibling set of the cervix has other names and labels and is not read.",
        "Re-annotations with other numbers (8 or 14 classes) exist; a value above 13 is reported as a fault.",
    ),
)
