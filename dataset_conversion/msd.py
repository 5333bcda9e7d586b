"""The layout of the Medical Segmentation Decathlon (Antonelli et al. 2022), which many others have adopted.

`TaskNN_Name/{dataset.json, imagesTr, labelsTr, imagesTs}`: an image and its label map share a name, an image of several
channels is one 4D file. What lies in the folders counts, since the lists in `dataset.json` are often out of date.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from dataset_conversion.source import Source, find_root, pair_by_name
from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR
from sammoe_pipeline.raw_dataset import visible_volumes
from sammoe_pipeline.verify import CaseFiles

logger = logging.getLogger(__name__)

_ENDING = ".nii.gz"


def read_source(folder: Path) -> Source:
    """Reads what a task of the Decathlon holds.

    Args:
        folder: `TaskNN_Name`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
        DatasetFaultsError: its `dataset.json` does not say what channels and labels there are.
    """
    root = find_root(folder, IMAGES_TR)
    images, image_faults = visible_volumes(root / IMAGES_TR, _ENDING)
    labels, label_faults = visible_volumes(root / LABELS_TR, _ENDING)
    tests, test_faults = visible_volumes(root / IMAGES_TS, _ENDING)
    cases, unpaired = pair_by_name(images, labels)
    faults = [*image_faults, *label_faults, *test_faults, *unpaired]
    content, broken = _read_description(root / DATASET_JSON)
    if broken:
        raise DatasetFaultsError(str(root), broken + faults)
    if content.get("numTraining", len(labels)) != len(labels):
        logger.warning(
            "%s says %s training cases, the folders hold %d", root / DATASET_JSON, content["numTraining"], len(labels)
        )
    cases += [CaseFiles(name=name, images=(path,), label=None) for name, path in tests.items()]
    return Source(
        channels=tuple(content["modality"][key] for key in sorted(content["modality"], key=int)),
        labels={int(value): name for value, name in content["labels"].items() if int(value) != 0},
        cases=tuple(cases),
        faults=tuple(faults),
        description=str(content.get("description", "")),
        licence=str(content.get("licence") or content.get("license") or "not stated"),
        reference=str(content.get("reference") or "Medical Segmentation Decathlon, medicaldecathlon.com"),
        release=content.get("release") or content.get("relase"),  # the Decathlon's own files have both spellings
    )


def _read_description(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns the content of a `dataset.json` and what is wrong with it."""
    if not path.is_file():
        return {}, [f"{path} does not exist. It names the channels and labels; download it again."]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{path} is not valid JSON ({error}). Mend it, or download it again."]
    if not isinstance(content, dict):
        return {}, [f"{path} holds no JSON object. Mend it, or download it again."]
    examples = {"modality": '{"0": "CT"}', "labels": '{"0": "background", "1": "liver"}'}
    faults = [
        f"{path} has {field}={content.get(field)!r}; an object such as {example} is needed."
        for field, example in examples.items()
        if not _is_numbered(content.get(field))
    ]
    return content, faults


def _is_numbered(table: Any) -> bool:
    return (
        isinstance(table, dict)
        and bool(table)
        and all(key.isdigit() and isinstance(name, str) for key, name in table.items())
    )
