"""One expert that is to be trained: what, on which fold, and where it goes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sammoe_pipeline.artefacts import Task
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.paths import EXPERT_WEIGHTS, FOUNDATION_WEIGHTS, Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.data_parallel import ALONE, Team

Unfrozen = Literal["nothing", "neck", "all"]


@dataclass(frozen=True)
class ExpertJob:
    """One expert to be trained, and how.

    Attributes:
        planned: the dataset and its plan.
        task: which classes, in which configuration.
        fold: which fold.
        foundation: what is finetuned; its own weights are not changed.
        places: where experts lie.
        device: "cuda" or "cpu".
        cache_bytes: that embeddings of views may take on disk; 0 keeps none.
        must_continue: go on from a checkpoint where there is one, with another budget too, rather than start again.
        unfrozen: part of the image encoder that is trained too. What comes of it is no expert of a mixture.
        team: the processes that train it together.
    """

    planned: PlannedDataset
    task: Task
    fold: int
    foundation: Foundation
    places: Results
    device: str
    cache_bytes: float = 0.0
    must_continue: bool = False
    unfrozen: Unfrozen = "nothing"
    team: Team = ALONE

    @property
    def folder(self) -> Path:
        """Where it is written."""
        if self.unfrozen == "nothing":
            return self.places.expert_fold(self.planned.name, self.task.name, self.fold)
        return self.places.unfrozen_fold(self.planned.name, self.task.name, self.unfrozen, self.fold)

    @property
    def weights(self) -> Path:
        """The file of its weights: a decoder, or a whole network where the encoder was trained too."""
        return self.folder / (EXPERT_WEIGHTS if self.unfrozen == "nothing" else FOUNDATION_WEIGHTS)

    @property
    def iterations(self) -> int:
        """Optimiser steps that are planned."""
        return self.task.budget.iterations

    @property
    def seed(self) -> tuple[int, int, int]:
        """Begins every seed of its training."""
        return self.planned.plan.seed, self.fold, zlib.crc32(self.task.name.encode())
