"""KiTS23 (Heller et al.): kidneys with tumours and cysts; `dataset/case_NNNNN/{imaging, segmentation}.nii.gz`.

A fresh clone of its repository has the segmentations only; a script in it fetches the images.
"""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Case, LabelFile, Source, classes_of
from dataset_conversion.tables import KITS23
from dataset_conversion.walking import alone, find_root, subfolders
from sammoe_pipeline.errors import UsageError

_IMAGE, _LABEL = "imaging.nii.gz", "segmentation.nii.gz"


def read_source(folder: Path) -> Source:
    """Reads the merged segmentation of each case; instances and single annotations are left alone.

    Args:
        folder: `dataset`, or the repository around it.

    Raises:
        UsageError: this is no such folder, or the images have not been fetched yet.
    """
    root = find_root(folder, f"case_*/{_LABEL}", f"case_*/{_IMAGE}")
    cases, faults = [], []
    for path in subfolders(root):
        image, label = path / _IMAGE, path / _LABEL
        if image.is_file() and label.is_file():
            cases.append(Case(name=path.name, images=(image,), labels=(LabelFile(label, KITS23),)))
        elif image.is_file():
            faults.append(alone(path.name, image=image, label=None))
        elif label.is_file():
            faults.append(alone(path.name, image=None, label=label))
    if not cases:
        raise UsageError(f"-i {root}: no case has {_IMAGE}. Fetch the images with KiTS23's own kits23_download_data.")
    return Source(
        channels=("CT",),
        classes=classes_of(KITS23),
        cases=tuple(cases),
        faults=tuple(faults),
        description="KiTS23: kidneys, tumours and cysts in CT",
        reference="Heller et al., KiTS23, github.com/neheller/kits23",
        mixed_orientations=True,
    )


FORMAT = Format(
    read=read_source,
    summary="KiTS23: kidneys, tumours and cysts",
    modality="CT",
    classes=tuple(KITS23.values()),
    licence="CC BY-NC-SA 4.0",
    where="github.com/neheller/kits23",
    tree="""\
kits23/dataset/
  case_NNNNN/
    imaging.nii.gz          only after kits23_download_data
    segmentation.nii.gz
    instances/              not used""",
    notes=(
        "A fresh clone has no images; they must be fetched with the repository's own command.",
        "The first axis of the arrays runs from head to foot, as their affine says; nnU-Net is told to reorient.",
        "Kidney excludes its tumours and cysts. For the whole organ use `--merge kidney=kidney,tumor,cyst`.",
        "Many patients of KiTS19 and KiTS21 come again.",
    ),
)
