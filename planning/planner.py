"""The plan: candidates are proposed by rule, measured on a few training cases, and decided class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planning.candidate_experts import Candidate, remarks_on
from planning.configurations import choose_locator_configuration
from planning.expert_choice import choose_configuration, pool_evidence
from planning.ground import Ground
from planning.memory import Memory
from planning.tasks import group_into_tasks, locator_budget, shared_configuration, training_settings
from sammoe_pipeline.artefacts import CandidateEvidence, ClassPlan, DatasetFingerprint, Grouping, Plan, Splits, Task
from sammoe_pipeline.foundations import NATIVE, Foundation, check_hash
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.model import has_detail
from sammoe_pipeline.raw_dataset import RawDataset

_DIGITS = 4


def make_plan(
    raw: RawDataset,
    fingerprint: DatasetFingerprint,
    splits: Splits,
    foundation: Foundation,
    *,
    expert_threshold: float,
    grouping: Grouping,
    effort: float,
    seed: int,
    device: str,
    workers: int,
    memory: Memory,
    candidate_experts: Sequence[Candidate] = (),
) -> Plan:
    """Decides everything that training needs to know.

    Only cases of fold 0's `train` are measured, so what is held out in that fold has no say.

    Args:
        raw: the dataset.
        fingerprint: of it.
        splits: of it.
        foundation: that experts are to be finetuned from.
        expert_threshold: Dice of the general expert, or else of a candidate, that makes a new expert needless.
        grouping: how many classes share a new expert.
        effort: how long experts and the locator train, as a share of what is usual.
        seed: of the choice of cases and of clicks.
        device: to run the foundation on.
        workers: processes for reading labels.
        memory: what finetuning may take of it.
        candidate_experts: finished experts of other datasets.
    """
    ground = Ground.of(raw, fingerprint, splits, foundation, memory, seed=seed, device=device)
    evidence = ground.gather_evidence(workers)
    of_both_sides = _pool_sides(fingerprint, evidence)
    choices = _choose(ground, {**evidence, **of_both_sides}, expert_threshold, grouping)
    by_expert = _measure_experts(ground, choices, candidate_experts)
    serving = {name: best for name, found in by_expert.items() if (best := _good_enough(found, expert_threshold))}
    tasks = group_into_tasks(
        {name: one.configuration for name, one in choices.items() if one.needs_expert and name not in serving},
        {name: measured.thickness_mm for name, measured in fingerprint.classes.items()},
        {name: len(cases) for name, cases in ground.cases_of.items()},
        raw.name,
        grouping,
        effort,
    )
    tasks = tuple(task.model_copy(update={"start_from": _best_start(task, evidence, by_expert)}) for task in tasks)
    task_of = {name: task.name for task in tasks for name in task.classes} | serving
    classes = _class_plans(ground, choices, task_of, by_expert, evidence, of_both_sides, expert_threshold)
    used = {chosen.configuration for chosen in classes.values()}
    configurations = {name: candidate for name, candidate in ground.candidates.items() if name in used}
    batch_size = memory.largest_batch(one.patch_size for one in configurations.values())
    return Plan(
        dataset=raw.name,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        configurations=configurations,
        classes=classes,
        tasks=tasks,
        grouping=grouping,
        candidate_experts=tuple(candidate.entry for candidate in candidate_experts),
        remarks=(
            *remarks_on(raw, foundation, candidate_experts),
            *(memory.remark_on(one) for one in ground.too_large),
        ),
        locator_configuration=choose_locator_configuration(configurations, fingerprint, ground.cell_voxels),
        locator_budget=locator_budget(len(splits.folds[0].train), len(raw.labels), effort),
        training=training_settings(raw.labels, batch_size, has_detail=has_detail(foundation.card.builder)),
        memory_target_gb=memory.target_gb,
        memory_gb={name: memory.needed_gb(one.patch_size, batch_size) for name, one in configurations.items()},
        effort=effort,
        expert_threshold=expert_threshold,
        num_folds=len(splits.folds),
        seed=seed,
        raw_digest=fingerprint.raw_digest,
    )


@dataclass(frozen=True)
class _Choice:
    """What was decided for a class.

    Attributes:
        configuration: in which it is looked at.
        why: that one.
        needs_expert: whether the general expert is not good enough, and every fold has something to train on.
    """

    configuration: str
    why: str
    needs_expert: bool


def _choose(
    ground: Ground,
    evidence: Mapping[str, Mapping[str, CandidateEvidence]],
    expert_threshold: float,
    grouping: Grouping,
) -> dict[str, _Choice]:
    """Chooses each class's configuration, and tells which classes need an expert.

    Native is where the general expert answers a click that names no class, so there it has to be good enough.
    """
    choices = {}
    for name in ground.raw.labels:
        configuration, why = choose_configuration(evidence[name], expert_threshold)
        mastered = _is_mastered(evidence[name].get(NATIVE), expert_threshold)
        choices[name] = _Choice(configuration, why, name not in ground.fold_without and not mastered)
    needy = {name: choice for name, choice in choices.items() if choice.needs_expert}
    if grouping == "one" and needy:
        shared = shared_configuration({name: choice.configuration for name, choice in needy.items()})
        choices |= dict.fromkeys(needy, _Choice(shared, f"{shared} as for all classes of the one expert", True))
    return choices


def _measure_experts(
    ground: Ground, choices: Mapping[str, _Choice], experts: Sequence[Candidate]
) -> dict[str, dict[str, float]]:
    """Returns the mean Dice of finished experts on each class that needs one, where they are of its configuration."""
    by_expert: dict[str, dict[str, float]] = {name: {} for name, choice in choices.items() if choice.needs_expert}
    for configuration in dict.fromkeys(choices[name].configuration for name in by_expert):
        fitting = [one for one in experts if one.fits(ground.candidates[configuration])]
        if not fitting:
            continue
        for one in fitting:
            check_hash(one.weights, one.entry.sha256)
        found = ground.measure(
            {one.entry.expert: one.weights for one in fitting},
            {
                name: [configuration]
                for name in by_expert
                if choices[name].configuration == configuration and ground.cases_of[name]
            },
        )
        for key, of_class in found.items():
            for name, scores in of_class.items():
                by_expert[name][key] = round(float(np.mean([score.dice for score in scores[configuration]])), _DIGITS)
    return by_expert


def _good_enough(by_expert: Mapping[str, float], threshold: float) -> str | None:
    best = max(by_expert, key=lambda key: by_expert[key], default=None)
    return best if best is not None and by_expert[best] >= threshold else None


def _best_start(
    task: Task, evidence: Mapping[str, Mapping[str, CandidateEvidence]], by_expert: Mapping[str, Mapping[str, float]]
) -> str:
    """Returns the decoder with the best mean Dice over a task's classes, as they were measured; general in doubt."""
    means = {GENERAL: float(np.mean([_dice_or_0(evidence[name].get(task.configuration)) for name in task.classes]))}
    for key in by_expert[task.classes[0]]:
        means[key] = float(np.mean([by_expert[name].get(key, 0.0) for name in task.classes]))
    return max(means, key=lambda key: means[key])


def _dice_or_0(found: CandidateEvidence | None) -> float:
    return 0.0 if found is None or found.dice is None else found.dice


def _class_plans(
    ground: Ground,
    choices: Mapping[str, _Choice],
    task_of: Mapping[str, str],
    by_expert: Mapping[str, dict[str, float]],
    evidence: Mapping[str, dict[str, CandidateEvidence]],
    of_both_sides: Mapping[str, dict[str, CandidateEvidence]],
    expert_threshold: float,
) -> dict[str, ClassPlan]:
    """Writes down what was decided for each class, why, and what was measured."""
    classes = {}
    for name, choice in choices.items():
        found, measured = {**evidence, **of_both_sides}[name].get(NATIVE), by_expert.get(name, {})
        general = _why_expert(found, task_of.get(name), measured, expert_threshold, ground.fold_without.get(name))
        why = f"{general}; {choice.why}"
        if name in of_both_sides:
            why += f" (both sides together, with {ground.fingerprint.classes[name].partner})"
        classes[name] = ClassPlan(
            configuration=choice.configuration,
            target=ground.target(name),
            task=task_of.get(name),
            reason=why,
            evidence=evidence[name],
            measured_on=ground.measured_on(name) if evidence[name] else (),
            experts=measured,
        )
    return classes


def _pool_sides(
    fingerprint: DatasetFingerprint, evidence: Mapping[str, Mapping[str, CandidateEvidence]]
) -> dict[str, dict[str, CandidateEvidence]]:
    """Returns the evidence of both sides together, for each class that is a side of an organ and was measured.

    The sides are so much alike that what tells them apart in a few cases is chance.
    """
    pooled = {
        name: pool_evidence(own, evidence[partner])
        for name, own in evidence.items()
        if (partner := fingerprint.classes[name].partner) is not None
    }
    return {name: both for name, both in pooled.items() if any(found.dice is not None for found in both.values())}


def _is_mastered(found: CandidateEvidence | None, threshold: float) -> bool:
    return found is not None and found.dice is not None and found.dice >= threshold


def _why_expert(
    found: CandidateEvidence | None,
    task: str | None,
    by_expert: Mapping[str, float],
    threshold: float,
    fold_without: int | None,
) -> str:
    if found is None or found.dice is None:
        general = f"{NATIVE}, where the general expert answers, shows too little of it"
    else:
        general = f"the general expert reaches {found.dice:.2f} of {threshold:.2f} in {NATIVE}"
    if task is None and fold_without is not None and not _is_mastered(found, threshold):
        return f"no expert: no training case of fold {fold_without} has it, so there is nothing to train on; {general}"
    if task is None:
        return f"no expert needed: {general}"
    if task in by_expert:
        return f"served by {task}, which reaches {by_expert[task]:.2f}: {general}"
    return f"needs expert '{task}': {general}"
