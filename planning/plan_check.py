"""Whether a plan, which may have been edited, belongs to the data and says one thing."""

from __future__ import annotations

from sammoe_pipeline.artefacts import Plan, Splits
from sammoe_pipeline.errors import ArtefactError, did_you_mean
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.planned_dataset import SCRATCH
from sammoe_pipeline.raw_dataset import RawDataset


def check_plan(plan: Plan, raw: RawDataset, foundation: Foundation, splits: Splits, *, raw_digest: str) -> None:
    """Refuses a plan that does not belong to the data and the foundation, or that was edited into a contradiction.

    Raises:
        ArtefactError: all that is wrong, with what to do about it.
    """
    faults = []
    if plan.raw_digest != raw_digest:
        faults.append(f"the raw data of {raw.name} changed after planning. Add --replan to plan anew.")
    if plan.foundation_sha256 != foundation.card.sha256:
        faults.append(f"foundation '{foundation.card.name}' is not the one it was made for. Add --replan to plan anew.")
    if plan.num_folds != len(splits.folds):
        faults.append(f"num_folds is {plan.num_folds}, but there are {len(splits.folds)} folds. Add --replan.")
    strange = [name for name in plan.classes if name not in raw.labels]
    faults += [f"there is no class '{name}' in the dataset.{did_you_mean(name, raw.labels)}" for name in strange]
    missing = [name for name in raw.labels if name not in plan.classes]
    faults += [f"class '{name}' is missing.{did_you_mean(name, strange)}" for name in missing]
    references = {f"classes.{name}": chosen.configuration for name, chosen in plan.classes.items()}
    references |= {f"tasks.{task.name}": task.configuration for task in plan.tasks}
    references["locator_configuration"] = plan.locator_configuration
    for where, configuration in references.items():
        if configuration not in plan.configurations:
            hint = did_you_mean(configuration, plan.configurations)
            faults.append(f"{where}: there is no configuration '{configuration}'.{hint}")
    faults += _task_faults(plan)
    if faults:
        raise ArtefactError("\n".join([f"The plan for {raw.name} cannot be used:", *(f"  - {f}" for f in faults)]))


def _task_faults(plan: Plan) -> list[str]:
    task_of = {name: task for task in plan.tasks for name in task.classes}
    known = [one.expert for one in plan.candidate_experts]
    faults = [
        f"tasks.{task.name}: there is no class '{name}'.{did_you_mean(name, plan.classes)}"
        for name, task in task_of.items()
        if name not in plan.classes
    ]
    starts = [GENERAL, SCRATCH, *known]
    faults += [
        f"tasks.{task.name}.start_from is {task.start_from!r}.{did_you_mean(task.start_from, starts)} It may be: "
        f"{', '.join(starts)}."
        for task in plan.tasks
        if task.start_from not in starts
    ]
    for name, chosen in plan.classes.items():
        if chosen.task is not None and "/" in chosen.task:
            if chosen.task not in known:
                faults.append(
                    f"classes.{name}.task: {chosen.task!r} is no candidate expert.{did_you_mean(chosen.task, known)}"
                )
            continue
        listed_by = task_of.get(name)
        expected = listed_by.name if listed_by else None
        if chosen.task != expected:
            faults.append(f"classes.{name}.task is {chosen.task!r}, but the task that lists it is {expected!r}.")
        elif listed_by and chosen.configuration != listed_by.configuration:
            faults.append(
                f"classes.{name}.configuration is {chosen.configuration}, that of its task "
                f"{listed_by.configuration}. Make them equal."
            )
    return faults
