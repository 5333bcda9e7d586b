"""The plan: candidates are proposed by rule, measured on a few training cases, and decided class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from planning.configurations import (
    CEILING_CASES,
    CeilingJob,
    choose_locator_configuration,
    fitting_configurations,
    mask_size_of,
    measure_ceilings,
    propose_configurations,
)
from planning.expert_choice import (
    MEASURED_CASES,
    Measurement,
    TargetKind,
    choose_configuration,
    evidence_of,
    measure_general_expert,
    worth_measuring,
)
from planning.tasks import group_into_tasks, training_budget
from sammoe_pipeline.artefacts import (
    CandidateEvidence,
    ClassPlan,
    Configuration,
    DatasetFingerprint,
    Plan,
    Splits,
    Task,
)
from sammoe_pipeline.errors import ArtefactError, did_you_mean
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.raw_dataset import RawDataset


def make_plan(
    raw: RawDataset,
    fingerprint: DatasetFingerprint,
    splits: Splits,
    foundation: Foundation,
    *,
    expert_threshold: float,
    seed: int,
    device: str,
    workers: int,
) -> Plan:
    """Decides everything that training needs to know.

    Only cases of fold 0's `train` are measured, so what is held out in that fold has no say.

    Args:
        raw: the dataset.
        fingerprint: of it.
        splits: of it.
        foundation: that experts are to be finetuned from.
        expert_threshold: a class with at least this Dice by the general expert needs no expert.
        seed: of the choice of cases and of clicks.
        device: to run the foundation on.
        workers: processes for reading labels.
    """
    mask_size = mask_size_of(foundation.card.builder, foundation.card.patch_size)
    candidates = propose_configurations(foundation.native, fingerprint, mask_size)
    cases_of = _training_cases_of(raw, fingerprint, splits, seed)
    targets = {name: _target(fingerprint, name) for name in raw.labels}
    evidence = _gather_evidence(
        raw,
        fingerprint,
        foundation,
        candidates,
        mask_size,
        cases_of,
        targets,
        seed=seed,
        device=device,
        workers=workers,
    )
    choices = _choose_configurations(raw.class_order, fingerprint, evidence)
    needy = {
        name: configuration
        for name, (configuration, _) in choices.items()
        if fingerprint.classes[name].cases and not _is_mastered(evidence[name].get(configuration), expert_threshold)
    }
    tasks = group_into_tasks(
        needy, {name: measured.thickness_mm for name, measured in fingerprint.classes.items()}, raw.name
    )
    task_of = {name: task.name for task in tasks for name in task.classes}
    classes = {
        name: ClassPlan(
            configuration=configuration,
            target=targets[name],
            task=task_of.get(name),
            reason=f"{_why_expert(evidence[name].get(configuration), task_of.get(name), expert_threshold)}; {why}",
            evidence=evidence[name],
        )
        for name, (configuration, why) in choices.items()
    }
    used = {chosen.configuration for chosen in classes.values()}
    configurations = {name: candidate for name, candidate in candidates.items() if name in used}
    return Plan(
        dataset=raw.name,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        configurations=configurations,
        classes=classes,
        tasks=tasks,
        locator_configuration=choose_locator_configuration(configurations, fingerprint, mask_size),
        training=training_budget(tasks, {name: len(cases) for name, cases in cases_of.items()}, raw.labels),
        expert_threshold=expert_threshold,
        num_folds=len(splits.folds),
        seed=seed,
        raw_digest=fingerprint.raw_digest,
    )


def _training_cases_of(
    raw: RawDataset, fingerprint: DatasetFingerprint, splits: Splits, seed: int
) -> dict[str, list[str]]:
    """Returns by class the cases of fold 0's `train` that have it, in a seeded order that all classes share."""
    train = sorted(splits.folds[0].train)
    order = [train[index] for index in np.random.default_rng(seed).permutation(len(train))]
    classes_of = {case.case: set(case.classes) for case in fingerprint.cases}
    return {name: [case for case in order if name in classes_of[case]] for name in raw.labels}


def _target(fingerprint: DatasetFingerprint, name: str) -> TargetKind:
    return "component" if fingerprint.classes[name].components >= 2 else "class"


def _gather_evidence(
    raw: RawDataset,
    fingerprint: DatasetFingerprint,
    foundation: Foundation,
    candidates: Mapping[str, Configuration],
    mask_size: int,
    cases_of: Mapping[str, Sequence[str]],
    targets: Mapping[str, TargetKind],
    *,
    seed: int,
    device: str,
    workers: int,
) -> dict[str, dict[str, CandidateEvidence]]:
    """Measures ceilings from labels alone, then the general expert where the ceiling leaves hope."""
    fitting = {name: fitting_configurations(candidates, measured) for name, measured in fingerprint.classes.items()}
    jobs = []
    for case in raw.training_cases:
        here = {name: fitting[name] for name in raw.labels if case.name in cases_of[name][:CEILING_CASES]}
        if here:
            jobs.append(CeilingJob(case=case, labels=raw.labels, candidates=here, mask_size=mask_size))
    ceilings = measure_ceilings(jobs, workers=workers)
    measurements = {
        name: Measurement(
            values=raw.labels[name],
            target=targets[name],
            cases=tuple(cases_of[name][:MEASURED_CASES]),
            candidates=tuple(candidates[candidate] for candidate in worth_measuring(ceilings[name])),
        )
        for name in ceilings
    }
    dice = measure_general_expert(raw, foundation, measurements, seed=seed, device=device)
    return {name: evidence_of(ceilings.get(name, {}), dice.get(name, {})) for name in raw.labels}


def _choose_configurations(
    names: Sequence[str], fingerprint: DatasetFingerprint, evidence: Mapping[str, Mapping[str, CandidateEvidence]]
) -> dict[str, tuple[str, str]]:
    """Chooses each class's configuration and says why; the second side of an organ follows the first."""
    choices: dict[str, tuple[str, str]] = {}
    for name in names:
        partner = fingerprint.classes[name].partner
        of_partner = choices[partner][0] if partner in choices else None
        found = evidence[name].get(of_partner) if of_partner else None
        if of_partner and found and found.dice is not None:
            choices[name] = of_partner, f"{of_partner} as for its other side, {partner}"
        else:
            choices[name] = choose_configuration(evidence[name])
    return choices


def _is_mastered(found: CandidateEvidence | None, threshold: float) -> bool:
    return found is not None and found.dice is not None and found.dice >= threshold


def _why_expert(found: CandidateEvidence | None, task: str | None, threshold: float) -> str:
    if found is None or found.dice is None:
        return f"needs expert '{task}'" if task else "no case has it, so there is nothing to train on"
    if task is None:
        return f"no expert needed: the general expert reaches {found.dice:.2f} of {threshold:.2f}"
    return f"needs expert '{task}': the general expert reaches {found.dice:.2f} of {threshold:.2f}"


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
    faults += _task_faults(plan.tasks, plan.classes)
    if faults:
        raise ArtefactError("\n".join([f"The plan for {raw.name} cannot be used:", *(f"  - {f}" for f in faults)]))


def _task_faults(tasks: Sequence[Task], classes: Mapping[str, ClassPlan]) -> list[str]:
    task_of = {name: task for task in tasks for name in task.classes}
    faults = [
        f"tasks.{task.name}: there is no class '{name}'.{did_you_mean(name, classes)}"
        for name, task in task_of.items()
        if name not in classes
    ]
    for name, chosen in classes.items():
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
