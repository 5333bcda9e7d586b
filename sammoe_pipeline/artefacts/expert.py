"""The card of an expert, one a fold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sammoe_pipeline.artefacts.base import Artefact
from sammoe_pipeline.artefacts.configuration import Configuration
from sammoe_pipeline.artefacts.origin import Provenance

JudgedOn = Literal["calibration", "train"]
"""Part of a fold whose cases tell how well an expert has learnt: `train` only where a class is too rare for more."""


class ExpertCard(Artefact):
    """`expert.json` of one fold: what the expert serves and what it belongs to."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    task: str
    """Task of the plan."""
    classes: tuple[str, ...]
    """Classes that it serves."""
    configuration: Configuration
    """In which it sees images."""
    fold: int
    """Which fold it was trained on."""
    start_from: str
    """Decoder that finetuning started from."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    recipe: str
    """SHA-256 of what decided the training: foundation, task, configuration, budget and split."""
    sha256: str
    """Of `expert.safetensors`."""
    iterations: int
    """Optimiser steps."""
    best_iteration: int
    """Whose weights were kept: the best on the cases that it was judged on."""
    judged_on: JudgedOn = "calibration"
    """Part of the fold whose cases these are: `train` where no calibration case has a class of the task."""
    calibration_dice: dict[str, float]
    """Mean Dice by class at one click on the cases that it was judged on, at the kept iteration."""
    general_calibration_dice: dict[str, float]
    """The same by the general expert in the same configuration."""
    calibration_by_clicks: dict[str, dict[str, float]] = Field(default_factory=dict)
    """The same by number of clicks, then by class."""
    general_calibration_by_clicks: dict[str, dict[str, float]] = Field(default_factory=dict)
    """The same by the general expert in the same configuration."""
    unfrozen: Literal["nothing", "neck", "all"] = "nothing"
    """Which part of the image encoder was trained too. Only what left it frozen can join a mixture."""
    second_look: bool = False
    """Whether it adds to the detail of the embedding what it finds in the voxels itself."""
    stopped_early: bool = False
    """Whether training ended before its budget, since these cases had long been answered no better."""
    memory_mb: float = 0.0
    """Most memory that training held, of the card where it was on one, else of the process; 0 where it is not known."""
    seconds: float
    """How long it took."""
    provenance: Provenance
    """What made it, with which versions."""
