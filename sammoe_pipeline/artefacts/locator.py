"""The card of a locator, one a fold."""

from __future__ import annotations

from sammoe_pipeline.artefacts.base import Artefact
from sammoe_pipeline.artefacts.configuration import Configuration
from sammoe_pipeline.artefacts.origin import Provenance


class LocatorCard(Artefact):
    """`locator.json` of one fold."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    classes: tuple[str, ...]
    """Classes that it looks for, in the order of its outputs."""
    configuration: Configuration
    """In which it sees images."""
    fold: int
    """Which fold it was trained on."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    recipe: str
    """SHA-256 of what decided the training: foundation, classes, configuration, budget and split."""
    sha256: str
    """Of the weights file."""
    thresholds: dict[str, float]
    """By class: peak probability below which the class is taken to be absent, from the calibration cases."""
    calibration_hits: dict[str, float]
    """By class: share of the calibration cases with the class in which the locator's click falls into it."""
    second_look: bool = False
    """Whether it adds to the detail of the embedding what it finds in the voxels itself."""
    longest_mm: float
    """Longest side of the images that it learnt from, in millimetres."""
    iterations: int
    """Optimiser steps."""
    seconds: float
    """How long it took."""
    provenance: Provenance
    """What made it, with which versions."""
