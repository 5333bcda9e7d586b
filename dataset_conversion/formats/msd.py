"""The layout of the Medical Segmentation Decathlon (Antonelli et al. 2022), which many others have adopted.

`TaskNN_Name/{dataset.json, imagesTr, labelsTr, imagesTs}`: an image and its label map share a name, an image of several
channels is one 4D file. What lies in the folders counts, since the lists in `dataset.json` are often out of date.
"""

from __future__ import annotations

import logging
from pathlib import Path

from dataset_conversion.descriptions import numbered_table, read_description
from dataset_conversion.format import Format
from dataset_conversion.source import BACKGROUND, Source, classes_of
from dataset_conversion.walking import files_by_id, find_root, pair, unlabelled
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR

logger = logging.getLogger(__name__)

_NAME = r"(.+)\.nii\.gz"


def read_source(folder: Path) -> Source:
    """Reads what a task of the Decathlon holds.

    Args:
        folder: `TaskNN_Name`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, IMAGES_TR)
    content, faults = read_description(root / DATASET_JSON)
    channels, channel_faults = numbered_table(root / DATASET_JSON, content, "modality", {"0": "CT"})
    labels, label_faults = numbered_table(root / DATASET_JSON, content, "labels", {"0": BACKGROUND, "1": "liver"})
    meaning = {value: name for value, name in labels.items() if value != 0}
    images, image_faults = files_by_id(root / IMAGES_TR, _NAME)
    maps, map_faults = files_by_id(root / LABELS_TR, _NAME)
    tests, test_faults = files_by_id(root / IMAGES_TS, _NAME)
    cases, unpaired = pair(images, maps, meaning)
    if content.get("numTraining", len(maps)) != len(maps):
        logger.warning(
            "%s says %s training cases, the folders hold %d", root / DATASET_JSON, content["numTraining"], len(maps)
        )
    return Source(
        channels=tuple(channels[key] for key in sorted(channels)),
        classes=classes_of(meaning),
        cases=(*cases, *unlabelled(tests)),
        faults=(*faults, *channel_faults, *label_faults, *image_faults, *map_faults, *test_faults, *unpaired),
        description=str(content.get("description", "")),
        licence=str(content.get("licence") or content.get("license") or "not stated"),
        reference=str(content.get("reference") or "Medical Segmentation Decathlon, medicaldecathlon.com"),
        release=content.get("release") or content.get("relase"),  # the Decathlon's own files have both spellings
    )


FORMAT = Format(
    read=read_source,
    summary="Medical Segmentation Decathlon, all ten tasks, and datasets laid out like it",
    modality="CT, MR",
    classes=(),
    licence="CC BY-SA 4.0",
    where="medicaldecathlon.com",
    tree="""\
TaskNN_Name/
  dataset.json
  imagesTr/CASE.nii.gz
  labelsTr/CASE.nii.gz
  imagesTs/CASE.nii.gz      optional""",
    notes=(
        "Channels and classes are read from `dataset.json`. Its lists of files are not: what lies in the folders "
        "counts.",
        "Images of several channels (Task01_BrainTumour, Task05_Prostate) are 4D; each channel becomes a file.",
        "Hidden files that macOS leaves behind (`._*`) are passed over.",
        "Some label maps of Task04_Hippocampus are stored as float32; they become integers.",
        "Task03_Liver shows the patients of LiTS, with spacing corrected. Do not evaluate one on the other.",
    ),
)
