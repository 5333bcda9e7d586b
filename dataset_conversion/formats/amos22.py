"""AMOS22 (Ji et al. 2022): abdominal CT and MR in the same folders, told apart by the number of the case.

`amos22/{imagesTr, labelsTr, imagesVa, labelsVa, imagesTs}/amos_NNNN.nii.gz`; numbers from 501 to 600 are MR.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import AMOS22
from dataset_conversion.walking import files_by_id, find_root, pair, unlabelled
from sammoe_pipeline.paths import IMAGES_TR, IMAGES_TS, LABELS_TR

_NAME = r"amos_(\d+)\.nii(?:\.gz)?"
_MR = range(501, 601)
_CASE = "amos_{}"


def read_source(folder: Path, *, modality: str) -> Source:
    """Reads the cases of one modality; the labelled validation cases are training cases like others.

    Args:
        folder: `amos22`, or a folder around it.
        modality: "CT" or "MRI".

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, f"{IMAGES_TR}/amos_*")
    found, faults = {}, []
    for name in (IMAGES_TR, LABELS_TR, "imagesVa", "labelsVa", IMAGES_TS):
        files, twice = files_by_id(root / name, _NAME, name=_CASE)
        found[name] = {number: path for number, path in files.items() if (int(number) in _MR) == (modality != "CT")}
        faults += twice
    cases, unpaired = pair(found[IMAGES_TR], found[LABELS_TR], AMOS22, name=_CASE)
    more, more_unpaired = pair(found["imagesVa"], found["labelsVa"], AMOS22, name=_CASE)
    return Source(
        channels=(modality,),
        classes=classes_of(AMOS22),
        cases=(*cases, *more, *unlabelled(found[IMAGES_TS], name=_CASE)),
        faults=(*faults, *unpaired, *more_unpaired),
        description=f"AMOS22: abdominal organs in {modality}",
        reference="Ji et al., AMOS, NeurIPS 2022, amos22.grand-challenge.org",
        mixed_orientations=True,
    )


_TREE = """\
amos22/
  imagesTr, labelsTr        amos_NNNN.nii.gz
  imagesVa, labelsVa        amos_NNNN.nii.gz
  imagesTs                  optional"""
_NOTES = (
    "CT and MR share the folders: numbers from 501 to 600 are MR, all others CT. They become two datasets.",
    "The labelled validation cases are training cases like the others.",
    "The unlabelled CT scans that were added later (`amos22_unlabeled_ct_...`) are left alone.",
)
_LICENCE = "sources disagree: CC BY 4.0, or CC BY-NC"

CT = Format(
    read=partial(read_source, modality="CT"),
    summary="AMOS22: abdominal organs, the CT cases",
    modality="CT",
    classes=tuple(AMOS22.values()),
    licence=_LICENCE,
    where="zenodo.org/records/7262581",
    tree=_TREE,
    notes=_NOTES,
)

MR = Format(
    read=partial(read_source, modality="MRI"),
    summary="AMOS22: abdominal organs, the MR cases",
    modality="MRI",
    classes=tuple(AMOS22.values()),
    licence=_LICENCE,
    where="zenodo.org/records/7262581",
    tree=_TREE,
    notes=(*_NOTES, "MR has few or no labels of bladder and prostate or uterus."),
)
