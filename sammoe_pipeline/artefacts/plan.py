"""What is to happen to a dataset, and why: classes, tasks and how their experts are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sammoe_pipeline.artefacts.base import Artefact, Record
from sammoe_pipeline.artefacts.configuration import Configuration


class CandidateEvidence(Record):
    """How one configuration did for one class."""

    ceiling: float
    """Mean Dice of the label drawn on the decoder's mask grid, and back: what the grid alone costs."""
    dice: float | None
    """Mean Dice of the general expert at one click; None where the ceiling alone ruled the candidate out."""
    dice_by_case: tuple[float, ...]
    """The same case by case, in the order of `measured_on`."""
    seconds: float | None = None
    """Median time of an answer of the general expert, embedding the image included where it was first looked at."""


class ClassPlan(Record):
    """What is to happen to one class."""

    configuration: str
    """Configuration in which it is segmented, by its expert or by the general one."""
    target: Literal["class", "component"]
    """What one click points at."""
    task: str | None
    """Task whose expert serves the class: one of this plan, or `DatasetXXX_Name/task` where another dataset's expert is
    good enough; None leaves it to the general expert."""
    reason: str
    """Why, in words."""
    evidence: dict[str, CandidateEvidence]
    """By configuration name."""
    measured_on: tuple[str, ...] = ()
    """Cases of fold 0's `train` that the evidence comes from."""
    experts: dict[str, float] = Field(default_factory=dict)
    """Mean Dice at one click of each candidate expert in the chosen configuration, on the same cases."""


class Budget(Record):
    """How long something is trained."""

    views: int
    """Embedded views a fold."""
    iterations: int
    """Optimiser steps."""


class Task(Record):
    """The classes that one expert serves, in one configuration."""

    name: str
    """Of the task and its expert."""
    classes: tuple[str, ...]
    """Classes that the expert serves."""
    configuration: str
    """Configuration that the expert is finetuned in."""
    start_from: str
    """Decoder that finetuning starts from, the best of those that were tried: "general", or `DatasetXXX_Name/task`; or
    "scratch", for random weights, where that was asked for."""
    budget: Budget
    """Of its expert, by the number of its targets, times the plan's effort."""


Grouping = Literal["by_scale", "one_each", "one"]


class CandidateExpert(Record):
    """An expert of another dataset that planning tried."""

    expert: str
    """`DatasetXXX_Name/task`."""
    fold: int
    """Its fold that was tried, and that finetuning starts from."""
    sha256: str
    """Of that fold's weights."""


class Training(Record):
    """How all experts of a dataset are trained, and its locator."""

    batch_size: int
    """Views a step."""
    learning_rate: float
    """Highest; it rises at first and then falls along half a cosine."""
    interactions: int
    """Simulated clicks a training target gets, one after another."""
    mirror_axes: tuple[int, ...]
    """Canonical axes (0 = left-right) along which views are flipped."""
    negatives: float = Field(ge=0, lt=1, default=0.0)
    """Share of an expert's views whose click is beside the structure, or in a case without it: the answer is empty."""
    mask_prompts: float = Field(ge=0, le=1, default=0.0)
    """Share of an expert's prompts that begin with a coarse mask of the target."""
    box_prompts: float = Field(ge=0, le=1, default=0.0)
    """Share of an expert's prompts that begin with a box around the target. What is left begins with a click alone."""
    second_look: bool = False
    """Whether experts and the locator add to the detail of the embedding what convolutions of their own find in the
    window's voxels. Only where the foundation's embedding has detail."""


class Plan(Artefact):
    """`sammoe_plan.json`: everything that changes results, and why. May be edited by hand; it is checked on loading."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    configurations: dict[str, Configuration]
    """By name; every one that a class, a task or the locator uses."""
    classes: dict[str, ClassPlan]
    """By class."""
    tasks: tuple[Task, ...]
    """One expert each."""
    grouping: Grouping = "by_scale"
    """Which classes share a new expert: those of one configuration and similar thickness, none, or all."""
    candidate_experts: tuple[CandidateExpert, ...] = ()
    """Experts that were finished when the plan was made, and tried."""
    remarks: tuple[str, ...] = ()
    """What to know before the evidence is believed."""
    locator_configuration: str
    """Configuration in which the locator looks for all classes."""
    locator_budget: Budget
    """Of the locator, by the number of cases and of classes, times the plan's effort."""
    effort: float = Field(gt=0, default=1.0)
    """How long experts and the locator train, as a share of what is usual."""
    training: Training
    """What all experts and the locator have in common."""
    memory_target_gb: float | None = None
    """Gigabytes that finetuning may take on the device that computes: it bounds windows and batches."""
    memory_gb: dict[str, float] = Field(default_factory=dict)
    """By configuration, the gigabytes that finetuning an expert takes at most with this batch size, one copy of the
    network included: measured on the card where there was one, else counted from shapes in float32."""
    expert_threshold: float
    """A class with at least this Dice by the general expert in native, where it answers clicks that name no class, or
    else by a candidate expert, needs no new one."""
    num_folds: int
    """How many folds the cases are split into."""
    seed: int
    """Of splits, views and initial weights."""
    raw_digest: str
    """The fingerprint's, to notice raw data that changed after planning."""
