"""TotalSegmentator, CT (Wasserthal et al. 2023) and MRI (Akinci D'Antonoli et al. 2025): a folder of masks a case.

`sNNNN/{ct|mri}.nii.gz`, `sNNNN/segmentations/<class>.nii.gz`, and `meta.csv`, whose column `split` names the test set.
Classes are told by file name and numbered in the order of the TotalSegmentator software.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.formats.masks import mask_case, missing_masks, order_classes
from dataset_conversion.source import Fault, Source
from dataset_conversion.tables import TOTALSEGMENTATOR_CT, TOTALSEGMENTATOR_MRI
from dataset_conversion.walking import files_by_id, find_root, subfolders

_IMAGE = {"CT": "ct.nii.gz", "MRI": "mri.nii.gz"}
_CLASSES = {"CT": TOTALSEGMENTATOR_CT, "MRI": TOTALSEGMENTATOR_MRI}
_MASKS = "segmentations"


def read_source(folder: Path, *, modality: str) -> Source:
    """Reads the dataset of one modality.

    Args:
        folder: with `sNNNN` in it, or a folder around it.
        modality: "CT" or "MRI".

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, f"s*/{_IMAGE[modality]}", f"s*/{_MASKS}")
    masks: dict[str, dict[str, Path]] = {}
    faults: list[Fault] = []
    cases: dict[str, Path] = {}
    for path in subfolders(root):
        if (path / _MASKS).is_dir():
            cases[path.name] = path
            masks[path.name], twice = files_by_id(path / _MASKS, r"(.+)\.nii\.gz", name=path.name)
            faults += twice
        elif (path / _IMAGE[modality]).is_file():
            faults.append(Fault(f"{path} has no folder {_MASKS}. Download the case again, or remove it.", path.name))
    classes = order_classes(masks, _CLASSES[modality])
    for name, path in cases.items():
        if not (path / _IMAGE[modality]).is_file():
            faults.append(Fault(f"{path} has no {_IMAGE[modality]}. Download the case again, or remove it.", name))
        faults += missing_masks(name, path / _MASKS, masks[name], classes)
    splits, more = _splits(root / "meta.csv")
    return Source(
        channels=(modality,),
        classes=classes,
        cases=tuple(
            mask_case(name, path / _IMAGE[modality], masks[name], classes, test=splits.get(name) == "test")
            for name, path in cases.items()
        ),
        faults=(*faults, *more),
        description=f"TotalSegmentator: {modality} of the whole body",
        reference="Wasserthal et al., TotalSegmentator, github.com/wasserth/TotalSegmentator",
        mixed_orientations=modality == "MRI",
        empty_is_unlabelled=modality == "MRI",
    )


def _splits(path: Path) -> tuple[dict[str, str], list[Fault]]:
    """Reads the part of each case, train, val or test, from a table whose columns are separated by semicolons."""
    if not path.is_file():
        return {}, []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
    except (UnicodeDecodeError, csv.Error) as error:
        return {}, [Fault(f"{path} cannot be read as a table ({error}). Download it again, or remove it.")]
    return {str(row.get("image_id")): str(row.get("split")) for row in rows}, []


CT = Format(
    read=partial(read_source, modality="CT"),
    summary="TotalSegmentator version 2: CT of the whole body",
    modality="CT",
    classes=TOTALSEGMENTATOR_CT,
    licence="CC BY 4.0",
    where="zenodo.org/records/10047292",
    tree="""\
Totalsegmentator_dataset_v201/
  meta.csv                  optional; its column split names the test set
  sNNNN/
    ct.nii.gz
    segmentations/CLASS.nii.gz""",
    notes=(
        "Take version 2.0.1: some images of 2.0.0 are damaged.",
        "Classes are told by file name and numbered as in the TotalSegmentator software. Masks of version 1 have "
        "other names; those that the table lacks are numbered after it.",
        "About 118 subjects have axes that rounding put off their right angles; these are squared.",
        "Masks overlap in places: the class later in the table has the voxel, and such voxels are counted.",
        "Cases of the test split go to `imagesTs` and `labelsTs`.",
        "Known errors of labels: a heart in the abdomen (s0143, s0201, s1196), and some vertebrae.",
        "1204 of the scans show 1134 people and nobody has published which, so folds may share some.",
    ),
)

MRI = Format(
    read=partial(read_source, modality="MRI"),
    summary="TotalSegmentator version 2: MRI of the whole body",
    modality="MRI",
    classes=TOTALSEGMENTATOR_MRI,
    licence="CC BY-NC-SA 2.0",
    where="zenodo.org/records/14710732",
    tree="""\
TotalsegmentatorMRI_dataset_v200/
  meta.csv                  optional; its column split names the test set
  sNNNN/
    mri.nii.gz
    segmentations/CLASS.nii.gz""",
    notes=(
        "About 50 cases have only empty masks: nobody has labelled them, so they are left out.",
        "Sequences and orientations are mixed.",
        "Version 1 (298 cases) has 56 classes; those that the table lacks are numbered after it. Whether there is a "
        "version 3 with the same tree is not established.",
    ),
)
