"""Whether a plan, which may have been edited, says one thing."""

from __future__ import annotations

from collections.abc import Collection

from sammoe_pipeline.artefacts import Plan
from sammoe_pipeline.errors import did_you_mean
from sammoe_pipeline.inference.routing import GENERAL

SCRATCH = "scratch"
"""What finetuning starts from where random weights are asked for."""


def contradictions_in(plan: Plan, labels: Collection[str]) -> list[str]:
    """Returns what cannot be in a plan: classes, configurations or experts that there are not, or that disagree.

    Args:
        plan: to check.
        labels: classes of its dataset.
    """
    strange = [name for name in plan.classes if name not in labels]
    faults = [f"there is no class '{name}' in the dataset.{did_you_mean(name, labels)}" for name in strange]
    missing = [name for name in labels if name not in plan.classes]
    faults += [f"class '{name}' is missing.{did_you_mean(name, strange)}" for name in missing]
    references = {f"classes.{name}": chosen.configuration for name, chosen in plan.classes.items()}
    references |= {f"tasks.{task.name}": task.configuration for task in plan.tasks}
    references["locator_configuration"] = plan.locator_configuration
    for where, configuration in references.items():
        if configuration not in plan.configurations:
            hint = did_you_mean(configuration, plan.configurations)
            faults.append(f"{where}: there is no configuration '{configuration}'.{hint}")
    return faults + _task_faults(plan)


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
