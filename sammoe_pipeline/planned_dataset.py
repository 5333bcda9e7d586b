"""A dataset as planning leaves it: what every later stage starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

from sammoe_pipeline.artefacts import (
    CandidateExpert,
    CaseFingerprint,
    Configuration,
    DatasetFingerprint,
    FoldSplit,
    Plan,
    Splits,
    Task,
)
from sammoe_pipeline.errors import ArtefactError, UsageError, did_you_mean
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.paths import Folders, PreprocessedDataset, find_dataset
from sammoe_pipeline.plan_check import SCRATCH, contradictions_in
from sammoe_pipeline.raw_dataset import DatasetJson, read_dataset_json

_LOCATOR_DESIGN = 2
"""Counts up when locators compute or learn another way, so that those of before are trained again."""


@dataclass(frozen=True)
class PlannedDataset:
    """A preprocessed dataset with its plan, splits and classes.

    Attributes:
        paths: where its files lie.
        plan: what is to be done.
        splits: folds by case name.
        description: its classes and their values.
    """

    paths: PreprocessedDataset
    plan: Plan
    splits: Splits
    description: DatasetJson

    @classmethod
    def load(cls, folders: Folders, dataset: int | str, foundation: Foundation) -> PlannedDataset:
        """Loads a planned dataset by ID or name.

        Raises:
            DatasetNotFoundError: nothing of that ID was preprocessed.
            ArtefactError: it was not planned for this foundation, or for other weights of the same name, or the plan
                was edited into a contradiction, or the splits name cases that there are not.
        """
        name = find_dataset(folders.preprocessed, dataset)
        paths = PreprocessedDataset(root=folders.preprocessed, dataset=name, foundation=foundation.card.name)
        if not paths.plan.is_file():
            raise ArtefactError(
                f"{paths.plan} does not exist: {name} was not planned for foundation '{foundation.card.name}'. Run "
                f"sammoe_plan_and_preprocess -d {name[7:10]} --foundation {foundation.card.name}"
            )
        plan = Plan.load(paths.plan)
        if plan.foundation_sha256 != foundation.card.sha256:
            raise ArtefactError(
                f"{paths.plan} was made for weights {plan.foundation_sha256[:12]}..., but foundation "
                f"'{foundation.card.name}' has {foundation.card.sha256[:12]}.... Run sammoe_plan_and_preprocess -d "
                f"{name[7:10]} --replan"
            )
        description = read_dataset_json(paths.dataset_json)
        if faults := contradictions_in(plan, description.labels):
            raise ArtefactError("\n".join([f"{paths.plan} cannot be used:", *(f"  - {fault}" for fault in faults)]))
        planned = cls(paths=paths, plan=plan, splits=Splits.load(paths.splits), description=description)
        parts = (part for fold in planned.splits.folds for part in (fold.train, fold.calibration, fold.val))
        if strange := sorted({case for part in parts for case in part} - planned.cases.keys()):
            raise ArtefactError(
                f"{paths.splits} names {', '.join(strange)}, which the dataset does not have. Mend it, and run "
                f"sammoe_plan_and_preprocess -d {name[7:10]}, which checks it."
            )
        return planned

    @property
    def name(self) -> str:
        """Folder name, such as `Dataset004_Hippocampus`."""
        return self.paths.dataset

    @cached_property
    def cases(self) -> dict[str, CaseFingerprint]:
        """What the fingerprint says of each case."""
        return {case.case: case for case in DatasetFingerprint.load(self.paths.fingerprint).cases}

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return len(self.splits.folds)

    def fold(self, fold: int) -> FoldSplit:
        """Returns a fold's split.

        Raises:
            UsageError: the dataset has no such fold.
        """
        if not 0 <= fold < self.num_folds:
            raise UsageError(f"-f {fold}: {self.name} has folds 0 to {self.num_folds - 1}.")
        return self.splits.folds[fold]

    def serving(self, mixture_fold: int) -> int:
        """Returns the fold that serves a fold of a mixture, whose datasets with fewer folds begin again."""
        return mixture_fold % self.num_folds

    def task(self, name: str) -> Task:
        """Returns a task by name.

        Raises:
            UsageError: the plan has no such task.
        """
        found = next((task for task in self.plan.tasks if task.name == name), None)
        if found is None:
            names = [task.name for task in self.plan.tasks]
            raise UsageError(
                f"--task {name!r}: {self.name} has no such task.{did_you_mean(name, names)} Its plan has: "
                f"{', '.join(names) or 'none, since the general expert is good enough for every class'}."
            )
        return found

    def recipe(self, fold: int, task: Task | None = None, *, budget: bool = True) -> str:
        """Returns a SHA-256 of all that decides how a task's expert, or else the locator, is trained on a fold.

        What was trained by another recipe is not finished: the plan, the split or the foundation has changed since.

        Args:
            fold: which fold.
            task: the expert's; None for the locator.
            budget: count how long the expert is trained among it.
        """
        plan = self.plan
        configuration = plan.configurations[task.configuration if task else plan.locator_configuration]
        parts = {
            "foundation": plan.foundation_sha256,
            "labels": self.description.labels,
            "ignore": self.description.ignore,
            "task": task.model_dump(exclude=None if budget else {"budget"}) if task else None,
            "start": self.start_of(task).sha256 if task and task.start_from not in (GENERAL, SCRATCH) else None,
            "targets": {name: plan.classes[name].target for name in task.classes} if task else None,
            "configuration": configuration.model_dump(),
            # Without what is as it always was: a field that is new leaves what was trained before it as it is.
            "training": plan.training.model_dump(exclude_defaults=True),
            "budget": None if task else plan.locator_budget.model_dump(),
            "split": self.fold(fold).model_dump(),
            "seed": plan.seed,
        }
        if task is None:
            parts["design"] = _LOCATOR_DESIGN
        split = self.fold(fold)
        if content := {case: of for case in (*split.train, *split.calibration) if (of := self.cases[case].sha256)}:
            parts["content"] = content
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def experts(self) -> dict[str, str]:
        """`DatasetXXX_Name/task` of the expert that serves each class, without those of the general expert."""
        return {
            name: expert_key(self.name, chosen.task)
            for name, chosen in self.plan.classes.items()
            if chosen.task is not None
        }

    def with_experts(self, experts: Collection[str]) -> PlannedDataset:
        """Returns the dataset with a choice of its plan's experts; the general one serves the classes of the others.

        Args:
            experts: `DatasetXXX_Name/task` of each; those that do not serve this dataset do not matter.
        """
        classes = {
            name: chosen if self.experts.get(name) in experts else chosen.model_copy(update={"task": None})
            for name, chosen in self.plan.classes.items()
        }
        tasks = tuple(task for task in self.plan.tasks if expert_key(self.name, task.name) in experts)
        return replace(self, plan=self.plan.model_copy(update={"classes": classes, "tasks": tasks}))

    def start_of(self, task: Task) -> CandidateExpert:
        """Returns the expert of another dataset that a task's finetuning starts from.

        Raises:
            ArtefactError: the plan does not list it.
        """
        found = next((one for one in self.plan.candidate_experts if one.expert == task.start_from), None)
        if found is None:
            names = [GENERAL, SCRATCH, *(one.expert for one in self.plan.candidate_experts)]
            raise ArtefactError(
                f"{self.paths.plan}: tasks.{task.name}.start_from is {task.start_from!r}."
                f"{did_you_mean(task.start_from, names)} It may be: {', '.join(names)}."
            )
        return found

    def configuration_of(self, class_name: str) -> Configuration:
        """Returns the configuration in which a class is segmented."""
        return self.plan.configurations[self.plan.classes[class_name].configuration]
