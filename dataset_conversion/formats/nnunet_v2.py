"""nnU-Net's raw format, which is also ours: linked or copied, and checked.

Regions (nested classes) and voxels to ignore are taken over. Where `dataset.json` lists the files of each case under
`dataset`, the list counts, and its files must lie within the dataset's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_conversion.descriptions import read_description
from dataset_conversion.format import Format
from dataset_conversion.formats.channels import group_channels, multichannel_cases
from dataset_conversion.source import IGNORE, Case, Fault, LabelFile, Source
from dataset_conversion.walking import files_by_id, find_root
from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS

if TYPE_CHECKING:
    from sammoe_pipeline.raw_dataset import DatasetJson

_REGIONS = "regions_class_order"


def read_source(folder: Path) -> Source:
    """Reads a dataset in nnU-Net v2's raw format.

    Args:
        folder: `DatasetXXX_Name`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
        ArtefactError: its `dataset.json` is missing or no JSON.
        DatasetFaultsError: its `dataset.json` breaks the format.
    """
    from sammoe_pipeline.raw_dataset import read_dataset_json

    root = find_root(folder, DATASET_JSON)
    description = read_dataset_json(root / DATASET_JSON)
    content, _ = read_description(root / DATASET_JSON)
    meaning, classes, verbatim = _classes(description, content)
    cases, faults = _listed(root, content["dataset"], meaning) if "dataset" in content else ([], [])
    ending = description.file_ending.replace(".", r"\.")
    for images, labels, test in ((IMAGES_TR, LABELS_TR, False), (IMAGES_TS, LABELS_TS, True)):
        if "dataset" in content and not test:
            continue
        files, twice = files_by_id(root / images, rf"(.+){ending}")
        maps, maps_twice = files_by_id(root / labels, rf"(.+){ending}")
        groups, strange = group_channels(files)
        found, more = multichannel_cases(groups, maps, meaning, channels=len(description.channels), test=test)
        cases += found
        faults += [*twice, *maps_twice, *strange, *more]
    return Source(
        channels=description.channels,
        classes=classes,
        cases=tuple(cases),
        faults=tuple(faults),
        description=str(content.get("description", "")),
        licence=str(content.get("licence") or content.get("license") or "not stated"),
        reference=str(content.get("reference") or "not stated"),
        release=content.get("release"),
        mixed_orientations="Reorient" in str(content.get("overwrite_image_reader_writer")),
        verbatim=verbatim,
    )


def _classes(
    description: DatasetJson, content: Mapping[str, Any]
) -> tuple[dict[int, str], tuple[str, ...], dict[str, Any] | None]:
    """Returns the class of each value, the classes in order, and what to take over where they are nested."""
    if description.nested:
        values = {value for region in description.labels.values() for value in region}
        values |= set() if description.ignore is None else {description.ignore}
        meaning = {value: str(value) for value in sorted(values)}
        return meaning, tuple(meaning.values()), {field: content[field] for field in ("labels", _REGIONS)}
    meaning = {values[0]: name for name, values in description.labels.items()}
    if description.ignore is not None:
        meaning[description.ignore] = IGNORE
    return meaning, tuple(meaning[value] for value in sorted(meaning)), None


def _listed(root: Path, table: Any, meaning: Mapping[int, str]) -> tuple[list[Case], list[Fault]]:
    """Reads the cases that `dataset.json` lists."""
    form = f'{root / DATASET_JSON}: dataset must be {{"CASE": {{"images": [...], "label": "..."}}}}.'
    if not isinstance(table, dict):
        raise DatasetFaultsError(str(root), [form])
    cases, faults = [], []
    for name, files in table.items():
        words = [*files.get("images", ()), files.get("label")] if isinstance(files, dict) else []
        named = [word for word in words if isinstance(word, str)]
        if len(named) < 2 or len(named) < len(words):
            faults.append(Fault(f"{form} It has {files!r} for {name}.", name))
            continue
        paths = [root / word for word in named]
        # By name: the files themselves may well be links.
        outside = [path for path in paths if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root))]
        if outside:
            faults.append(Fault(f"{root / DATASET_JSON} names {outside[0]}, outside of its folder. Move it in.", name))
        else:
            label = LabelFile(paths[-1], meaning)
            cases.append(Case(name=name, images=tuple(paths[:-1]), labels=(label,)))
    return cases, faults


FORMAT = Format(
    read=read_source,
    summary="nnU-Net's raw format, which is ours too: linked or copied, and checked",
    modality="any",
    classes=(),
    licence="as its dataset.json says",
    where="your own nnUNet_raw",
    tree="""\
DatasetXXX_Name/
  dataset.json
  imagesTr/CASE_0000.nii.gz
  labelsTr/CASE.nii.gz
  imagesTs, labelsTs        optional: test cases""",
    notes=(
        "Regions and an `ignore` label are kept. Datasets with regions cannot be given other classes.",
        "Files of other endings than `.nii.gz` are rewritten.",
        "Where `dataset.json` lists files under `dataset`, the list counts; it must not lead out of the folder.",
    ),
)
