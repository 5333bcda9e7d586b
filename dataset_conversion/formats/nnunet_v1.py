"""nnU-Net's first raw format: `TaskXXX_Name/{dataset.json, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz}`."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.descriptions import numbered_table, read_description
from dataset_conversion.format import Format
from dataset_conversion.formats.channels import group_channels, multichannel_cases
from dataset_conversion.source import BACKGROUND, Case, Fault, Source, classes_of
from dataset_conversion.walking import files_by_id, find_root
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS

_NAME = r"(.+)\.nii\.gz"
_PARTS = ((IMAGES_TR, LABELS_TR, False), ("imagesVal", "labelsVal", False), (IMAGES_TS, LABELS_TS, True))


def read_source(folder: Path) -> Source:
    """Reads a task; labelled validation cases are training cases like others, and test cases may have labels.

    Args:
        folder: `TaskXXX_Name`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, f"{IMAGES_TR}/*_0000.nii.gz", f"{LABELS_TR}/*.nii.gz")
    content, faults = read_description(root / DATASET_JSON)
    channels, channel_faults = numbered_table(root / DATASET_JSON, content, "modality", {"0": "CT"})
    labels, label_faults = numbered_table(root / DATASET_JSON, content, "labels", {"0": BACKGROUND, "1": "liver"})
    meaning = {value: name for value, name in labels.items() if value != 0}
    names = tuple(channels[key] for key in sorted(channels))
    faults += [*channel_faults, *label_faults]
    cases: list[Case] = []
    for images, maps, test in _PARTS:
        found, more = _read_part(root / images, root / maps, len(names), meaning, test)
        cases += found
        faults += more
    return Source(
        channels=names,
        classes=classes_of(meaning),
        cases=tuple(cases),
        faults=tuple(faults),
        description=str(content.get("description", "")),
        licence=str(content.get("licence") or content.get("license") or "not stated"),
        reference=str(content.get("reference") or "not stated"),
        release=content.get("release"),
    )


def _read_part(
    images: Path, labels: Path, channels: int, meaning: dict[int, str], test: bool
) -> tuple[list[Case], list[Fault]]:
    files, faults = files_by_id(images, _NAME)
    maps, more = files_by_id(labels, _NAME)
    groups, strange = group_channels(files)
    cases, unpaired = multichannel_cases(groups, maps, meaning, channels=channels, test=test)
    return cases, [*faults, *more, *strange, *unpaired]


FORMAT = Format(
    read=read_source,
    summary="nnU-Net's first raw format",
    modality="any",
    classes=(),
    licence="as its dataset.json says",
    where="your own nnUNet_raw_data",
    tree="""\
TaskXXX_Name/
  dataset.json
  imagesTr/CASE_0000.nii.gz
  labelsTr/CASE.nii.gz
  imagesVal, labelsVal      optional: more training cases
  imagesTs, labelsTs        optional: test cases""",
    notes=("Names of channels (`modality`) and classes (`labels`, by number) are read from `dataset.json`.",),
)
