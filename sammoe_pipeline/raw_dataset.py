"""A dataset in nnU-Net v2's raw format: its cases, files and classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammoe_pipeline.errors import ArtefactError, DatasetFaultsError
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR, PATIENTS_JSON

IGNORE = "ignore"
BACKGROUND = "background"


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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not valid JSON ({error}). Mend or convert the dataset again.") from error
    faults = _faults(content)
    if faults:
        raise DatasetFaultsError(str(path), faults)
    values = {name: (value,) if isinstance(value, int) else tuple(value) for name, value in content["labels"].items()}
    ignore = values.pop(IGNORE, (None,))[0]
    values.pop(BACKGROUND, None)
    channels = content["channel_names"]
    return DatasetJson(
        channels=tuple(channels[key] for key in sorted(channels, key=int)),
        labels=values,
        class_order=_class_order(values, content.get("regions_class_order")),
        ignore=ignore,
        file_ending=content["file_ending"],
    )


def read_raw_dataset(folder: Path) -> RawDataset:
    """Reads a raw dataset's `dataset.json` and lists its cases. Voxels are not read; `verify` checks them.

    Raises:
        ArtefactError: `dataset.json` is missing or no JSON.
        DatasetFaultsError: it breaks the format, or images and labels do not pair; all faults are named.
    """
    description = read_dataset_json(folder / DATASET_JSON)
    ending = description.file_ending
    labels_folder, images_folder = folder / LABELS_TR, folder / IMAGES_TR
    names = _cases(labels_folder, ending)
    faults = [] if names else [f"{labels_folder} has no file ending in {ending}. Put one label map a case there."]
    imaged = {name[: -len("_0000")] for name in _cases(images_folder, ending) if name.endswith("_0000")}
    faults += [
        f"{images_folder / f'{name}_0000{ending}'} has no label {labels_folder / f'{name}{ending}'}. Add it, or move "
        f"the image to {IMAGES_TS}."
        for name in sorted(imaged - set(names))
    ]
    cases = []
    for name in names:
        images = tuple(images_folder / f"{name}_{c:04d}{ending}" for c in range(len(description.channels)))
        faults += [f"{path} is missing; the label {name}{ending} needs it." for path in images if not path.is_file()]
        cases.append(RawCase(name=name, images=images, label=labels_folder / f"{name}{ending}"))
    if faults:
        raise DatasetFaultsError(str(folder), faults)
    return RawDataset(
        name=folder.name,
        folder=folder,
        channels=description.channels,
        labels=description.labels,
        class_order=description.class_order,
        ignore=description.ignore,
        file_ending=ending,
        training_cases=tuple(cases),
        patients=_patients(folder / PATIENTS_JSON, names),
    )


def _cases(folder: Path, ending: str) -> list[str]:
    if not folder.is_dir():
        return []
    files = (
        path.name for path in folder.iterdir() if path.name.endswith(ending) and not path.name.startswith((".", "_"))
    )
    return sorted(name[: -len(ending)] for name in files)


def _patients(path: Path, cases: list[str]) -> dict[str, str]:
    if not path.is_file():
        return {case: case for case in cases}
    table = json.loads(path.read_text(encoding="utf-8"))
    return {case: str(table.get(case, case)) for case in cases}


def _class_order(labels: dict[str, tuple[int, ...]], regions: list[int] | None) -> tuple[str, ...]:
    if regions is not None:
        # nnU-Net: the i-th region of `labels` is written with the i-th value of `regions_class_order`, in turn.
        return tuple(labels)
    return tuple(sorted(labels, key=lambda name: labels[name]))


def _faults(content: Any) -> list[str]:
    if not isinstance(content, dict):
        return ["the file holds no JSON object."]
    faults = [
        f"field '{field}' is missing." for field in ("channel_names", "labels", "file_ending") if field not in content
    ]
    labels = content.get("labels", {})
    for name, value in labels.items() if isinstance(labels, dict) else []:
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
            faults.append(f"labels.{name} is {value!r}: a whole number, or a list of them for a region, is needed.")
    if "labels" in content and not [name for name in labels if name not in (BACKGROUND, IGNORE)]:
        faults.append("labels names no class beside background.")
    if any(isinstance(v, list) and len(v) > 1 for v in labels.values()) and "regions_class_order" not in content:
        faults.append("labels has regions, so regions_class_order is needed.")
    return faults
