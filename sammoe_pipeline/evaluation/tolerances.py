"""How far a surface may lie from the truth to count as found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sammoe_pipeline.errors import UsageError, did_you_mean
from sammoe_pipeline.evaluation.label_maps import voxel_edge
from sammoe_pipeline.evaluation.records import ClassName
from sammoe_pipeline.planned_dataset import PlannedDataset


def surface_tolerances(
    planned: Sequence[PlannedDataset], everywhere_mm: float | None, by_class_mm: Mapping[str, float]
) -> dict[ClassName, float]:
    """Returns the tolerance of surface Dice of every class.

    Args:
        planned: datasets of a mixture.
        everywhere_mm: of all classes; by default the edge of a cube as large as a voxel, median over a dataset's cases.
        by_class_mm: of single classes, by name or `DATASET/CLASS`.

    Raises:
        UsageError: no class has a name that is given.
    """
    names = [(dataset.name, label) for dataset in planned for label in dataset.description.labels]
    known = {label for _, label in names} | {f"{dataset}/{label}" for dataset, label in names}
    for given, value in by_class_mm.items():
        if given not in known:
            raise UsageError(
                f"--tolerance {given}={value:g}: the mixture has no class '{given}'.{did_you_mean(given, known)}"
            )
    usual = {
        dataset.name: voxel_edge(
            dataset.paths.ground_truth(case) for case in {case for fold in dataset.splits.folds for case in fold.val}
        )
        if everywhere_mm is None
        else everywhere_mm
        for dataset in planned
    }
    return {
        (dataset, label): by_class_mm.get(f"{dataset}/{label}", by_class_mm.get(label, usual[dataset]))
        for dataset, label in names
    }
