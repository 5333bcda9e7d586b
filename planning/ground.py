"""What a plan's decisions stand on: a dataset's training cases, and how well decoders answer clicks in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planning.configurations import (
    CEILING_CASES,
    CeilingJob,
    cell_voxels_of,
    fitting_configurations,
    measure_ceilings,
    propose_configurations,
)
from planning.expert_choice import (
    MEASURED_CASES,
    Measurement,
    Score,
    TargetKind,
    evidence_of,
    measure_decoders,
    worth_measuring,
)
from planning.memory import Memory
from sammoe_pipeline.artefacts import CandidateEvidence, Configuration, DatasetFingerprint, Splits
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.raw_dataset import RawDataset


@dataclass(frozen=True, eq=False)
class Ground:
    """A dataset, and the ways to look at it that may be planned.

    Attributes:
        raw: the dataset.
        fingerprint: of it.
        foundation: whose encoder all decoders share.
        candidates: configurations that finetuning has the memory for, native first.
        too_large: those that it has not.
        cell_voxels: a side of one cell of the decoder's mask.
        cases_of: by class, the cases of fold 0's `train` that have it, in a seeded order that all classes share.
        fold_without: by class that the `train` of some fold lacks, the first such fold: there, none could learn it.
        seed: of clicks.
        device: to run the foundation on.
    """

    raw: RawDataset
    fingerprint: DatasetFingerprint
    foundation: Foundation
    candidates: Mapping[str, Configuration]
    too_large: Sequence[Configuration]
    cell_voxels: int
    cases_of: Mapping[str, Sequence[str]]
    fold_without: Mapping[str, int]
    seed: int
    device: str

    @classmethod
    def of(
        cls,
        raw: RawDataset,
        fingerprint: DatasetFingerprint,
        splits: Splits,
        foundation: Foundation,
        memory: Memory,
        *,
        seed: int,
        device: str,
    ) -> Ground:
        """Proposes configurations, and finds the cases that each class can be measured on.

        Args:
            raw: the dataset.
            fingerprint: of it.
            splits: of it.
            foundation: that experts are to be finetuned from.
            memory: what finetuning may take of it.
            seed: of the choice of cases and of clicks.
            device: to run the foundation on.
        """
        cell_voxels = cell_voxels_of(foundation.card.builder)
        proposed = propose_configurations(foundation.native, fingerprint, cell_voxels)
        return cls(
            raw=raw,
            fingerprint=fingerprint,
            foundation=foundation,
            candidates={name: one for name, one in proposed.items() if memory.fits(one.patch_size)},
            too_large=[one for one in proposed.values() if not memory.fits(one.patch_size)],
            cell_voxels=cell_voxels,
            cases_of=_training_cases_of(raw, fingerprint, splits, seed),
            fold_without=_fold_without(raw, fingerprint, splits),
            seed=seed,
            device=device,
        )

    def target(self, name: str) -> TargetKind:
        """Returns what one click on a class points at."""
        return "component" if self.fingerprint.classes[name].components >= 2 else "class"

    def measured_on(self, name: str) -> tuple[str, ...]:
        """Returns the first training cases that have a class, in the order of the dataset."""
        chosen = set(self.cases_of[name][:MEASURED_CASES])
        return tuple(case.name for case in self.raw.training_cases if case.name in chosen)

    def gather_evidence(self, workers: int) -> dict[str, dict[str, CandidateEvidence]]:
        """Measures ceilings from labels alone, then the general expert where the ceiling leaves hope.

        Args:
            workers: processes for reading labels.

        Returns:
            By class and configuration.
        """
        classes, labels = self.fingerprint.classes, self.raw.labels
        fitting = {name: fitting_configurations(self.candidates, measured) for name, measured in classes.items()}
        jobs = []
        for case in self.raw.training_cases:
            here = {name: fitting[name] for name in labels if case.name in self.cases_of[name][:CEILING_CASES]}
            if here:
                jobs.append(CeilingJob(case=case, labels=labels, candidates=here, cell_voxels=self.cell_voxels))
        ceilings = measure_ceilings(jobs, workers=workers)
        found = self.measure({GENERAL: None}, {name: worth_measuring(of_class) for name, of_class in ceilings.items()})
        return {name: evidence_of(ceilings.get(name, {}), found[GENERAL].get(name, {})) for name in labels}

    def measure(
        self, decoders: Mapping[str, Path | None], candidates_of: Mapping[str, Sequence[str]]
    ) -> dict[str, dict[str, dict[str, list[Score]]]]:
        """Lets decoders answer one click on each class, in the configurations that are candidates for it.

        Args:
            decoders: files of their weights by name; None for the general one.
            candidates_of: names of configurations by class.

        Returns:
            A score a case, by decoder, class and candidate.
        """
        measurements = {
            name: Measurement(
                values=self.raw.labels[name],
                target=self.target(name),
                cases=self.measured_on(name),
                candidates=tuple(self.candidates[candidate] for candidate in candidates),
            )
            for name, candidates in candidates_of.items()
        }
        return measure_decoders(self.raw, self.foundation, decoders, measurements, seed=self.seed, device=self.device)


def _training_cases_of(
    raw: RawDataset, fingerprint: DatasetFingerprint, splits: Splits, seed: int
) -> dict[str, list[str]]:
    """Returns by class the cases of fold 0's `train` that have it, in a seeded order that all classes share."""
    train = sorted(splits.folds[0].train)
    order = [train[index] for index in np.random.default_rng(seed).permutation(len(train))]
    classes_of = {case.case: set(case.classes) for case in fingerprint.cases}
    return {name: [case for case in order if name in classes_of[case]] for name in raw.labels}


def _fold_without(raw: RawDataset, fingerprint: DatasetFingerprint, splits: Splits) -> dict[str, int]:
    """Returns by class that the training cases of some fold lack the first such fold."""
    classes_of = {case.case: set(case.classes) for case in fingerprint.cases}
    lacking: dict[str, int] = {}
    for number, fold in enumerate(splits.folds):
        present = {name for case in fold.train for name in classes_of[case]}
        lacking |= {name: number for name in raw.labels if name not in present and name not in lacking}
    return lacking
