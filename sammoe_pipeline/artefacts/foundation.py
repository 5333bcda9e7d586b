"""The card of a foundation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sammoe_pipeline.artefacts.base import Artefact
from sammoe_pipeline.artefacts.origin import Provenance


class FoundationCard(Artefact):
    """`foundation.json`: what a foundation is and what it was trained on."""

    name: str
    """What it is called."""
    builder: str
    """Name in `sammoe_pipeline.model.BUILDERS`."""
    spacing_mm: float = Field(gt=0)
    """Native isotropic spacing."""
    patch_size: int = Field(gt=0)
    """Voxels a side of the input."""
    normalisation: Literal["positive", "equalised"]
    """Name in `sammoe_pipeline.normalisation.NORMALISATIONS`."""
    prompt_history: Literal["all"] = "all"
    """Which clicks each decoding gets beside the previous logits: all so far, as in the public inference. A card that
    wants another history is refused, since its foundation would be prompted in a way that it does not know."""
    trained_on: tuple[str, ...]
    """Datasets whose cases it has seen, as `DatasetXXX_Name: class, class, ...`."""
    sha256: str
    """Of the weights file."""
    licence: str
    """Of the weights, as an SPDX identifier where there is one."""
    source: str
    """Where it came from: an address, or the command that trained it."""
    iterations: int = 0
    """Optimiser steps that it was trained for; 0 where that is not known."""
    for_research_only: bool = True
    """Whether it is meant for learning and tests rather than for real scans."""
    provenance: Provenance | None = None
    """What trained it; None for weights from elsewhere."""
