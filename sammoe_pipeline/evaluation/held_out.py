"""The cases that folds hold out, and what is asked of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from sammoe_pipeline.evaluation.case_run import Asked
from sammoe_pipeline.evaluation.records import ClassName
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import RawDataset


@dataclass(frozen=True, eq=False)
class HeldOutCase:
    """A case that a fold holds out, compared by identity.

    Attributes:
        dataset: whose case it is.
        files: the dataset's.
        fold: of the mixture, in which it is held out.
        case: its name.
        asked: what is asked of it.
        key: SHA-256 of all that its answers and scores depend on.
    """

    dataset: PlannedDataset
    files: RawDataset
    fold: int
    case: str
    asked: Asked
    key: str


def held_out_cases(
    planned: Sequence[PlannedDataset],
    raw: Sequence[RawDataset],
    folds: Sequence[int],
    asked: Asked,
    cases_of_fold: int | None,
    forgetting: int,
    settings: Mapping[str, object],
    tolerances_mm: Mapping[ClassName, float],
) -> list[HeldOutCase]:
    """Returns the cases that folds hold out; in the first few of each dataset and fold, experts are asked as well.

    Args:
        planned: datasets of a mixture.
        raw: their files, in the same order.
        folds: of the mixture.
        asked: what of each case, but for `forgetting`.
        cases_of_fold: at most so many of a fold and dataset, a seeded choice; all for None.
        forgetting: in so many of these every expert is asked about everybody's classes.
        settings: that decide how any case is answered.
        tolerances_mm: of surface Dice, by class.
    """
    jobs = []
    for fold in folds:
        for dataset, files in zip(planned, raw, strict=True):
            held_out = dataset.fold(fold).val if fold < dataset.num_folds else ()
            drawn = set(np.random.default_rng(fold).permutation(held_out)[:cases_of_fold].tolist())
            for place, case in enumerate(case for case in held_out if case in drawn):
                of_case = replace(asked, forgetting=place < forgetting)
                key = _key({**settings, "asked": asdict(of_case)}, dataset, files, case, tolerances_mm)
                jobs.append(HeldOutCase(dataset, files, fold, case, of_case, key))
    return jobs


def _key(
    settings: Mapping[str, object],
    dataset: PlannedDataset,
    files: RawDataset,
    case: str,
    tolerances_mm: Mapping[ClassName, float],
) -> str:
    """Returns a SHA-256 of all that decides how a case is answered and scored."""
    raw = next((one for one in files.training_cases if one.name == case), None)
    paths = [dataset.paths.ground_truth(case), *(raw.images if raw else ())]
    parts = {
        **settings,
        "plan": dataset.plan.model_dump(mode="json"),
        "labels": dataset.description.labels,
        "ignore": dataset.description.ignore,
        "tolerances_mm": [tolerances_mm[dataset.name, label] for label in dataset.description.labels],
        "files": [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
