"""A dataset in nnU-Net v2's raw format: its cases, files and classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammoe_pipeline.errors import ArtefactError, DatasetFaultsError
from sammoe_pipeline.image_io import FILE_ENDINGS, file_ending
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR, PATIENTS_JSON

IGNORE = "ignore"
BACKGROUND = "background"
_IMAGE_NAME = re.compile(r"(.+)_(\d{4})")
_LARGEST_VALUE = 32767
"""Of a class, since label maps are kept as int16."""


@dataclass(frozen=True)
class RawCase:
    """One labelled case.

    Attributes:
        name: case identifier.
        images: one file a channel, in channel order.
        label: the label map.
    """

    name: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class RawDataset:
    """What `dataset.json` and the folders say.

    Attributes:
        name: folder name, such as `Dataset004_Hippocampus`.
        folder: where it lies.
        channels: channel names in order.
        labels: values by class, background and ignore excluded; several values make a region.
        class_order: classes from first to last written where regions nest (`regions_class_order`), else the order of
            their values.
        ignore: value of voxels that are never prompted, trained or scored, or None.
        file_ending: such as `.nii.gz`.
        training_cases: labelled cases, by name.
        patients: patient of each case, where the dataset says so; otherwise the case itself.
    """

    name: str
    folder: Path
    channels: tuple[str, ...]
    labels: dict[str, tuple[int, ...]]
    class_order: tuple[str, ...]
    ignore: int | None
    file_ending: str
    training_cases: tuple[RawCase, ...]
    patients: dict[str, str]

    @property
    def images_ts(self) -> Path:
        """Folder of unlabelled images; may be absent."""
        return self.folder / IMAGES_TS


@dataclass(frozen=True)
class DatasetJson:
    """The part of `dataset.json` that every stage needs."""

    channels: tuple[str, ...]
    labels: dict[str, tuple[int, ...]]
    class_order: tuple[str, ...]
    ignore: int | None
    file_ending: str
    num_training: int | None
    """Number of labelled cases as the file has it; None where it does not say."""
    output_values: dict[str, int]
    """By class: the value that a prediction writes for it; of a region that of `regions_class_order`."""
    nested: bool
    """Whether the classes are regions, written in the order of `labels`, later ones over earlier ones."""


def read_dataset_json(path: Path) -> DatasetJson:
    """Reads a `dataset.json` of nnU-Net v2.

    Raises:
        ArtefactError: the file is missing or no JSON.
        DatasetFaultsError: fields are missing or have values that the format does not allow; all are named.
    """
    if not path.is_file():
        raise ArtefactError(
            f"{path} does not exist. A dataset needs one (nnU-Net v2's format); sammoe_convert_dataset writes it."
        )
    content = _read_json(path)
    faults = _faults(content)
    if faults:
        raise DatasetFaultsError(str(path), faults)
    values = {name: (value,) if isinstance(value, int) else tuple(value) for name, value in content["labels"].items()}
    ignore = values.pop(IGNORE, (None,))[0]
    values.pop(BACKGROUND, None)
    channels = content["channel_names"]
    regions = content.get("regions_class_order")
    # nnU-Net: the i-th region of `labels` is written with the i-th value of `regions_class_order`, in turn.
    written = regions if regions is not None else [of_class[0] for of_class in values.values()]
    return DatasetJson(
        channels=tuple(channels[key] for key in sorted(channels, key=int)),
        labels=values,
        class_order=tuple(values) if regions is not None else tuple(sorted(values, key=lambda name: values[name])),
        ignore=ignore,
        file_ending=content["file_ending"],
        num_training=content.get("numTraining"),
        output_values=dict(zip(values, written, strict=True)),
        nested=regions is not None,
    )


def read_patients(path: Path, cases: Iterable[str]) -> dict[str, str]:
    """Reads the patient of each case; one that the file does not name is a patient of its own, and all without a file.

    Args:
        path: of `patients.json`, {"CASE": "PATIENT"}.
        cases: their names.

    Raises:
        ArtefactError: the file is no JSON object.
    """
    table = _read_json(path) if path.is_file() else {}
    if not isinstance(table, dict):
        raise ArtefactError(f'{path} holds no JSON object, but has to say {{"CASE": "PATIENT"}} of cases. Mend it.')
    return {case: str(table.get(case, case)) for case in cases}


def read_raw_dataset(folder: Path) -> RawDataset:
    """Reads a raw dataset's `dataset.json` and lists its cases. Voxels are not read; `verify` checks them.

    Raises:
        ArtefactError: `dataset.json` is missing or no JSON.
        DatasetFaultsError: it breaks the format, or images and labels do not pair; all faults are named.
    """
    description = read_dataset_json(folder / DATASET_JSON)
    cases, faults = pair_cases(folder, description)
    if faults:
        raise DatasetFaultsError(str(folder), faults)
    return RawDataset(
        name=folder.name,
        folder=folder,
        channels=description.channels,
        labels=description.labels,
        class_order=description.class_order,
        ignore=description.ignore,
        file_ending=description.file_ending,
        training_cases=cases,
        patients=read_patients(folder / PATIENTS_JSON, [case.name for case in cases]),
    )


def pair_cases(folder: Path, description: DatasetJson) -> tuple[tuple[RawCase, ...], list[str]]:
    """Lists the labelled cases of a raw dataset by the names of its files.

    Args:
        folder: the dataset's.
        description: its `dataset.json`.

    Returns:
        Every case that has its label and all its channels, by name, and one sentence for each fault found on the way,
        classes with values that are too large to keep included.
    """
    ending, channels = description.file_ending, range(len(description.channels))
    labels, faults = visible_volumes(folder / LABELS_TR, ending)
    images, more = visible_volumes(folder / IMAGES_TR, ending)
    faults += [*more, *_too_large(description)]
    if not labels:
        faults.append(f"{folder / LABELS_TR} has no file ending in {ending}. Put one label map a case there.")
    for name, path in images.items():
        match = _IMAGE_NAME.fullmatch(name)
        if match is None:
            faults.append(f"{path} does not end in a channel's number. Rename it to {name}_0000{ending}.")
        elif int(match[2]) not in channels:
            faults.append(f"{path} is one channel too many: {DATASET_JSON} names {len(channels)}, counted from 0000.")
        elif match[1] not in labels:
            label = folder / LABELS_TR / f"{match[1]}{ending}"
            faults.append(f"{path} has no label {label}. Add it, or move the image to {IMAGES_TS}.")
    cases = []
    for name, label in labels.items():
        files = tuple(folder / IMAGES_TR / f"{name}_{channel:04d}{ending}" for channel in channels)
        missing = [path for path in files if not path.is_file()]
        faults += [f"{path} is missing; the label {label} needs it. Add it, or remove the label." for path in missing]
        if not missing:
            cases.append(RawCase(name=name, images=files, label=label))
    return tuple(cases), faults


def _too_large(description: DatasetJson) -> list[str]:
    ignored = () if description.ignore is None else (description.ignore,)
    values = {name: (*given, description.output_values[name]) for name, given in description.labels.items()}
    return [
        f"{name} has the value {max(given)}, but labels go to {_LARGEST_VALUE}. Renumber it, in {DATASET_JSON} too; "
        f"where classes are not nested, sammoe_convert_dataset nnunet_v2 numbers them 1, 2, ... anew."
        for name, given in {**values, IGNORE: ignored}.items()
        if max(given, default=0) > _LARGEST_VALUE
    ]


def visible_volumes(folder: Path, ending: str) -> tuple[dict[str, Path], list[str]]:
    """Lists the volumes of a folder, leaving out names that begin with '.' or '_', which archives leave behind.

    Args:
        folder: may be missing.
        ending: the dataset's.

    Returns:
        Paths by name without ending, sorted, and one sentence for each volume of another ending.
    """
    if not folder.is_dir():
        return {}, []
    volumes = sorted(path for path in folder.iterdir() if file_ending(path) and not path.name.startswith((".", "_")))
    faults = [
        f"{path} does not end in {ending}, as all volumes of this dataset must. Convert or remove it."
        for path in volumes
        if not path.name.endswith(ending)
    ]
    return {path.name[: -len(ending)]: path for path in volumes if path.name.endswith(ending)}, faults


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not valid JSON ({error}). Mend it, or convert the dataset again.") from error


def _faults(content: Any) -> list[str]:
    if not isinstance(content, dict):
        return ["the file holds no JSON object."]
    needed: dict[str, type] = {"channel_names": dict, "labels": dict, "file_ending": str}
    faults = [f"field '{field}' is missing." for field in needed if field not in content]
    faults += [
        f"{field} is {content[field]!r}: a JSON {'object' if kind is dict else 'string'} is needed."
        for field, kind in needed.items()
        if field in content and not isinstance(content[field], kind)
    ]
    if faults:
        return faults
    channels, labels, regions = content["channel_names"], content["labels"], content.get("regions_class_order")
    if not channels or set(channels) != {str(number) for number in range(len(channels))}:
        faults.append(f"channel_names has the keys {list(channels)}: '0', '1', ... are needed, one a channel.")
    if content["file_ending"] not in FILE_ENDINGS:
        faults.append(f"file_ending is {content['file_ending']!r}: one of {', '.join(FILE_ENDINGS)} is needed.")
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
            faults.append(f"labels.{name} is {value!r}: a whole number, or a list of them for a region, is needed.")
        elif (name == BACKGROUND) != (set(values) == {0}):
            faults.append(f"labels.{name} is {value!r}: 0 is the value of {BACKGROUND}, and of nothing else.")
    classes = [name for name in labels if name not in (BACKGROUND, IGNORE)]
    if not classes:
        faults.append("labels names no class beside background.")
    if regions is None and any(isinstance(labels[name], list) and len(labels[name]) > 1 for name in classes):
        faults.append("labels has regions, so regions_class_order is needed.")
    if regions is not None and not (
        isinstance(regions, list) and len(regions) == len(classes) and all(isinstance(value, int) for value in regions)
    ):
        faults.append(f"regions_class_order is {regions!r}: one value is needed for each of {', '.join(classes)}.")
    return faults
