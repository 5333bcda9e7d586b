"""WORD (Luo et al. 2022): abdominal organs in CT; `{imagesTr, labelsTr, imagesVal, labelsVal, imagesTs, labelsTs}`."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import WORD
from dataset_conversion.walking import files_by_id, find_root, held_out, pair
from sammoe_pipeline.paths import IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS

_NAME = r"word_(\d+)\.nii(?:\.gz)?"
_CASE = "word_{}"


def read_source(folder: Path) -> Source:
    """Reads training and validation cases as training cases, and test cases with their labels if these are there.

    Args:
        folder: `WORD-V0.1.0`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, f"{IMAGES_TR}/word_*")
    found, faults = {}, []
    for name in (IMAGES_TR, LABELS_TR, "imagesVal", "labelsVal", IMAGES_TS, LABELS_TS):
        found[name], twice = files_by_id(root / name, _NAME, name=_CASE)
        faults += twice
    training, unpaired = pair(found[IMAGES_TR], found[LABELS_TR], WORD, name=_CASE)
    validation, more = pair(found["imagesVal"], found["labelsVal"], WORD, name=_CASE)
    return Source(
        channels=("CT",),
        classes=classes_of(WORD),
        cases=(*training, *validation, *held_out(found[IMAGES_TS], found[LABELS_TS], WORD, name=_CASE)),
        faults=(*faults, *unpaired, *more),
        description="WORD: abdominal organs in CT",
        reference="Luo et al., WORD, Medical Image Analysis 2022, github.com/HiLab-git/WORD",
    )


FORMAT = Format(
    read=read_source,
    summary="WORD: abdominal organs",
    modality="CT",
    classes=tuple(WORD.values()),
    licence="GPL-3.0, research use",
    where="github.com/HiLab-git/WORD",
    tree="""\
WORD-V0.1.0/
  imagesTr, labelsTr        word_NNNN.nii.gz
  imagesVal, labelsVal      word_NNNN.nii.gz
  imagesTs                  optional
  labelsTs                  optional, an archive of its own""",
    notes=(
        "Validation cases are training cases like the others; test cases go to `imagesTs` and `labelsTs`.",
        "The further scans of LiTS (`addition_validation_from_LiTS`) are left alone.",
    ),
)
