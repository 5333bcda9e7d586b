"""Choosing by hand what the experts of a dataset are finetuned from, in place of what planning found best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sammoe_pipeline.artefacts import CandidateExpert
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.packages.inventory import find_expert
from sammoe_pipeline.paths import Results
from sammoe_pipeline.plan_check import SCRATCH
from sammoe_pipeline.planned_dataset import PlannedDataset


def start_from(planned: PlannedDataset, choice: str, tasks: Sequence[str] | None, places: Results) -> PlannedDataset:
    """Writes into the plan what its tasks start from: what changes results stands there, and nowhere else.

    Args:
        planned: the dataset.
        choice: "general", "scratch" or an expert, as `DatasetXXX_Name/task`.
        tasks: names of the tasks; all by default.
        places: where experts lie.

    Returns:
        The dataset with its changed plan.

    Raises:
        UsageError: there is no such expert or task, or the expert learnt from the dataset itself.
    """
    chosen = {task.name for task in planned.plan.tasks} if tasks is None else {planned.task(t).name for t in tasks}
    candidates = planned.plan.candidate_experts
    if choice not in (GENERAL, SCRATCH):
        expert = find_expert(choice, places)
        choice, first = expert.key, expert.cards[0]
        if first.dataset == planned.name:
            raise UsageError(
                f"--train_prompted_from {choice}: it learnt from this dataset, from cases that other folds hold out, "
                f"so their scores would flatter. To train an expert for longer, raise its budget.iterations in "
                f"{planned.paths.plan}."
            )
        now = CandidateExpert(expert=choice, fold=first.fold, sha256=first.sha256)
        candidates = (*(one for one in candidates if one.expert != choice), now)
    changed = tuple(
        task.model_copy(update={"start_from": choice}) if task.name in chosen else task for task in planned.plan.tasks
    )
    plan = planned.plan.model_copy(update={"tasks": changed, "candidate_experts": candidates})
    if plan != planned.plan:
        plan.save(planned.paths.plan)
    return replace(planned, plan=plan)
