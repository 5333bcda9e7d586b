"""A class in one case as the reference has it, against which answers are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.evaluation.surface import MaskScores, diagonal, score_masks
from sammoe_pipeline.inference.recent import Recent
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.label_boxes import Box, box_around
from sammoe_pipeline.raw_case import RawLabelledCase

_KEPT_SCORES = 16


@dataclass(frozen=True)
class Truth:
    """The mask of a class.

    Attributes:
        labelled: the case.
        class_name: which.
        tolerance_mm: of surface Dice.
        mask: (x, y, z), canonical axes.
        box: around it; None where it is empty.
    """

    labelled: RawLabelledCase
    class_name: str
    tolerance_mm: float
    mask: NDArray[np.bool_]
    box: Box | None

    @classmethod
    def of(cls, labelled: RawLabelledCase, class_name: str, tolerance_mm: float) -> Truth:
        """Finds a class in a case."""
        mask = labelled.truth(class_name)
        return cls(labelled, class_name, tolerance_mm, mask, box_around(mask))

    def score(self, answers: Sequence[Answer]) -> MaskScores:
        """Scores the union of answers; the same ones, such as a mixture gives where it passes on, are scored once."""
        key = tuple(id(answer) for answer in answers)
        return self._scored.get(key, lambda: (tuple(answers), self._score(answers)))[1]

    @cached_property
    def _scored(self) -> Recent[tuple[int, ...], tuple[Sequence[Answer], MaskScores]]:
        """Scores by identities of answers, which are kept beside them so that nothing else takes these."""
        return Recent(_KEPT_SCORES)

    def _score(self, answers: Sequence[Answer]) -> MaskScores:
        """Scores on the box around answers and truth: nothing lies outside it."""
        boxes = [answer.box for answer in answers] + ([self.box] if self.box is not None else [])
        if not boxes:
            boxes = [tuple(slice(0, 1) for _ in self.mask.shape)]
        low = [min(box[axis].start for box in boxes) for axis in range(3)]
        whole = tuple(slice(low[axis], max(box[axis].stop for box in boxes)) for axis in range(3))
        reference = self.mask[whole]
        prediction = np.zeros(reference.shape, dtype=np.bool_)
        for answer in answers:
            inner = tuple(slice(side.start - a, side.stop - a) for side, a in zip(answer.box, low, strict=True))
            prediction[inner] |= (answer.logits > 0).numpy()
        return score_masks(
            prediction,
            reference,
            spacing_mm=self.labelled.spacing_mm,
            tolerance_mm=self.tolerance_mm,
            diagonal_mm=diagonal(self.mask.shape, self.labelled.spacing_mm),
            valid=self.labelled.valid[whole],
        )
