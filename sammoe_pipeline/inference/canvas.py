"""The label map of a case as it grows: classes compete voxel by voxel, and the highest logit above 0 wins."""

from __future__ import annotations

import torch
from torch import Tensor

from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.segment import OFF


class Canvas:
    """The label map as it grows, class by class.

    Attributes:
        labels: (x, y, z) values.
        own: logits (x, y, z) of the class at hand alone, or None where nobody needs them.
        answered: whether anybody answered for the class at hand.
        instances: (x, y, z), which answer each voxel of the label map comes from: 1 the first, or None where nobody
            needs it.
        count: of the answers so far.

    Args:
        image: on whose canonical grid it lies.
        keep_instances: tell answers of one class apart.
    """

    def __init__(self, image: CaseImage, *, keep_instances: bool = False) -> None:
        self.labels = torch.zeros(image.shape, dtype=torch.int16)
        self.instances = torch.zeros(image.shape, dtype=torch.int16) if keep_instances else None
        self.count = 0
        self.own: Tensor | None = None
        self.answered = False
        self._best = torch.full(image.shape, 0.0)

    def begin(self, *, keep_logits: bool) -> None:
        """Begins the next class."""
        self.answered = False
        self.own = None
        if keep_logits:
            self.own = torch.full(self._best.shape, OFF)

    def add(self, logits: Tensor, box: tuple[slice, ...], value: int, *, over_others: bool) -> None:
        """Writes one answer of the class at hand.

        Args:
            logits: within the box.
            box: of canonical voxels.
            value: of the class.
            over_others: it replaces what lies there, in place of competing with it.
        """
        self.answered = True
        self.count += 1
        best = self._best[box]
        wins = logits > (torch.zeros(()) if over_others else best)
        self._best[box] = torch.where(wins, logits, best)
        self.labels[box] = torch.where(wins, torch.tensor(value, dtype=torch.int16), self.labels[box])
        if self.instances is not None:
            self.instances[box] = torch.where(wins, torch.tensor(self.count, dtype=torch.int16), self.instances[box])
        if self.own is not None:
            self.own[box] = torch.maximum(self.own[box], logits)
