"""Scoring label maps of one case against their reference: every class on the box around it, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.evaluation.surface import BOTH_EMPTY, MaskScores, diagonal, score_masks
from sammoe_pipeline.image_io import read_header, read_volume
from sammoe_pipeline.raw_dataset import read_dataset_json

LARGEST_LABEL = 65535

Box = tuple[slice, ...]
"""Half-open ranges of voxels along (x, y, z)."""


@dataclass(frozen=True)
class Classes:
    """Which classes are judged.

    Attributes:
        values: of each class, by name; several values make a region. None judges every value above 0 that occurs.
        ignore: value of references where the truth is unknown, or None.
    """

    values: dict[str, tuple[int, ...]] | None = None
    ignore: int | None = None

    @classmethod
    def read(cls, path: Path) -> Classes:
        """Reads the classes of a `dataset.json`.

        Raises:
            ArtefactError: the file is missing or no JSON.
            DatasetFaultsError: it breaks the format.
        """
        description = read_dataset_json(path)
        return cls(values=description.labels, ignore=description.ignore)

    def among(self, values: Iterable[int]) -> dict[str, tuple[int, ...]]:
        """Returns the classes to judge in a case where these values occur."""
        return {str(value): (value,) for value in sorted(values)} if self.values is None else self.values

    def unknown(self, values: Iterable[int], *, of_reference: bool) -> list[int]:
        """Returns which of the values above 0 of a label map belong to no class."""
        if self.values is None:
            return []
        known = {value for of_class in self.values.values() for value in of_class}
        if of_reference and self.ignore is not None:
            known.add(self.ignore)
        return sorted(set(values) - known)


@dataclass(frozen=True)
class LabelMap:
    """A label map and where its values lie.

    Attributes:
        data: (x, y, z), whole numbers.
        boxes: around each value above 0.
        spacing_mm: between neighbouring voxels along (x, y, z).
    """

    data: NDArray[Any]
    boxes: dict[int, Box]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def read(cls, path: Path) -> LabelMap:
        """Reads a label map, of whatever number type.

        Raises:
            UnreadableFileError: it is broken, or has values that are no labels.
        """
        volume = read_volume(path)
        data = volume.data
        if data.dtype.kind == "f" and not np.array_equal(data, np.round(data)):
            raise UnreadableFileError(
                f"{path} has values that are no whole numbers. Give label maps in place of probabilities or images."
            )
        low, high = int(data.min()), int(data.max())
        if low < 0 or high > LARGEST_LABEL:
            raise UnreadableFileError(
                f"{path} has values from {low} to {high}, but labels go from 0 to {LARGEST_LABEL}. Renumber them."
            )
        if data.dtype.kind == "f":
            data = data.astype(np.uint16)
        return cls.of(data, volume.spacing_mm)

    @classmethod
    def of(cls, data: NDArray[Any], spacing_mm: tuple[float, float, float]) -> LabelMap:
        """Finds the box around each value in one pass.

        Args:
            data: (x, y, z), whole numbers from 0.
            spacing_mm: between neighbouring voxels.
        """
        from scipy.ndimage import find_objects

        boxes = {value: box for value, box in enumerate(find_objects(data), start=1) if box is not None}
        return cls(data=data, boxes=boxes, spacing_mm=spacing_mm)


@dataclass(frozen=True)
class CaseJob:
    """One case to score.

    Attributes:
        reference: label map.
        predictions: label maps by the name of whose they are, all on the reference's grid.
        classes: to judge.
        tolerance_mm: of surface Dice.
        class_tolerances_mm: of single classes, in place of `tolerance_mm`.
    """

    reference: Path
    predictions: dict[str, Path]
    classes: Classes
    tolerance_mm: float
    class_tolerances_mm: Mapping[str, float]


@dataclass(frozen=True)
class CaseResult:
    """How a case was scored.

    Attributes:
        scores: by whose prediction it is, then by class; without classes that are in neither mask where `Classes` names
            none.
        faults: one sentence each, of files that could not be judged.
    """

    scores: dict[str, dict[str, MaskScores]]
    faults: list[str]


def score_case(job: CaseJob) -> CaseResult:
    """Scores the predictions of a case one after the other, so that two label maps are in memory at a time."""
    result = CaseResult(scores={}, faults=[])
    reference = _read(job.reference, job.classes, result.faults, of_reference=True)
    for name, path in job.predictions.items():
        scores = _score_prediction(path, reference, job, result.faults)
        if scores is not None:
            result.scores[name] = scores
    return result


def voxel_edge(references: Iterable[Path]) -> float:
    """Returns the edge in mm of a cube as large as a voxel, median over label maps."""
    return float(np.median([np.prod(read_header(path).spacing_mm) ** (1 / 3) for path in references]))


def _score_prediction(
    path: Path, reference: LabelMap | None, job: CaseJob, faults: list[str]
) -> dict[str, MaskScores] | None:
    """Returns scores by class, or None where a file has faults."""
    prediction = _read(path, job.classes, faults, of_reference=False)
    if prediction is None or reference is None:
        return None
    classes = job.classes.among(prediction.boxes.keys() | reference.boxes.keys())
    return score_classes(
        prediction,
        reference,
        classes,
        ignore=job.classes.ignore,
        tolerances_mm={name: job.class_tolerances_mm.get(name, job.tolerance_mm) for name in classes},
    )


def score_classes(
    prediction: LabelMap,
    reference: LabelMap,
    classes: Mapping[str, tuple[int, ...]],
    *,
    tolerances_mm: Mapping[str, float],
    ignore: int | None = None,
) -> dict[str, MaskScores]:
    """Scores every class on the box around it in both maps, which lie on one grid.

    Args:
        prediction: of anyone.
        reference: the truth.
        classes: values by name.
        tolerances_mm: of surface Dice, by name.
        ignore: value of the reference where the truth is unknown.
    """
    return {
        name: _score(prediction, reference, values, ignore=ignore, tolerance_mm=tolerances_mm[name])
        for name, values in classes.items()
    }


def _read(path: Path, classes: Classes, faults: list[str], *, of_reference: bool) -> LabelMap | None:
    """Returns a label map, or None where it has faults, which are added to those known."""
    try:
        label_map = LabelMap.read(path)
    except UnreadableFileError as error:
        faults.append(str(error))
        return None
    unknown = classes.unknown(label_map.boxes, of_reference=of_reference)
    if unknown:
        faults.append(
            f"{path} has values that --labels does not name: {', '.join(map(str, unknown))}. Add their classes, or "
            f"give them the values that it names."
        )
        return None
    return label_map


def _score(
    prediction: LabelMap,
    reference: LabelMap,
    values: tuple[int, ...],
    *,
    ignore: int | None,
    tolerance_mm: float,
) -> MaskScores:
    """Scores a class on the box around both masks."""
    found = [map_.boxes[value] for map_ in (prediction, reference) for value in values if value in map_.boxes]
    if not found:
        return BOTH_EMPTY
    box = tuple(slice(min(r.start for r in axis), max(r.stop for r in axis)) for axis in zip(*found, strict=True))
    truth = reference.data[box]
    return score_masks(
        np.isin(prediction.data[box], values),
        np.isin(truth, values),
        spacing_mm=reference.spacing_mm,
        tolerance_mm=tolerance_mm,
        diagonal_mm=diagonal(reference.data.shape, reference.spacing_mm),
        valid=None if ignore is None else np.asarray(truth != ignore),
    )
