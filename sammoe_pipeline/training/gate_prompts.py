"""Prompts that teach a gate and calibrate its threshold."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_case import RawLabelledCase
from sammoe_pipeline.raw_dataset import RawDataset

OFF_TASK = "off task"
"""Class name of prompts that point at nothing the dataset names."""
MOST_CASES = 50
"""That are clicked on, but for those of rare classes."""
_FEWEST_CASES = 10
"""With one class, where so many have it."""


@dataclass(frozen=True)
class Member:
    """A dataset as part of a mixture.

    Attributes:
        planned: with its plan and folds.
        raw: its files.
        experts: index in the mixture of the expert that serves each class; classes of the general expert are left out.
    """

    planned: PlannedDataset
    raw: RawDataset
    experts: dict[str, int]

    def patient_of(self, case: str) -> str:
        """Returns a case's patient among those of all members."""
        return f"{self.planned.name}:{self.raw.patients[case]}"

    def name_of(self, class_name: str) -> str:
        """Returns a class's name among those of all members."""
        return f"{self.planned.name}:{class_name}"


@dataclass(frozen=True)
class GatePrompt:
    """One prompt and who should answer it.

    Attributes:
        member: the dataset.
        case: encoded; shared by the prompts of one case.
        labelled: the same case with its truth.
        class_name: what is pointed at, or `OFF_TASK`.
        click: in canonical voxels.
        expert: index of the expert whose task it is; None is the general one's.
    """

    member: Member
    case: EncodedCase
    labelled: RawLabelledCase
    class_name: str
    click: Click
    expert: int | None

    @property
    def class_key(self) -> str:
        """The class among those of all members; clicks beside all tasks are of one class, whatever the dataset."""
        return OFF_TASK if self.class_name == OFF_TASK else self.member.name_of(self.class_name)

    def dice_of(self, mask: NDArray[np.bool_]) -> float:
        """Returns the Dice of a mask (x, y, z) on the canonical grid with what the click means."""
        target = self.labelled.target(self.class_name, self.click)
        score = dice(mask, target, self.labelled.valid)
        return 0.0 if score is None else score


def choose_cases(member: Member, cases: Sequence[str], seed: int) -> list[str]:
    """Returns the cases that are clicked on: all of them, or of many a seeded choice and more of each rare class."""
    choice = np.random.default_rng([seed, zlib.crc32(member.planned.name.encode())])
    order = [str(name) for name in choice.permutation(np.array(cases, dtype=object))]
    chosen = set(order[:MOST_CASES])
    for class_name in member.planned.description.labels:
        having = [case for case in order if class_name in member.planned.cases[case].classes]
        chosen.update(having[:_FEWEST_CASES])
    return sorted(chosen)


def prompts_in(
    case_name: str,
    member: Member,
    *,
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
    clicks: int | Mapping[str, int] = 1,
    off_task: int = 0,
) -> list[GatePrompt]:
    """Clicks on every target of every class in a case.

    Args:
        case_name: a case of the dataset.
        member: the dataset.
        model: the foundation's network.
        foundation: its card.
        seed: of clicks.
        clicks: prompts of one click each for a target; by class, where they differ.
        off_task: further clicks, where the dataset names nothing; the general expert is to answer those.
    """
    labelled = RawLabelledCase.read(member.planned, member.raw, case_name)
    case = EncodedCase(labelled.image, model=model, normalisation=foundation.card.normalisation)
    rng = np.random.default_rng([seed, zlib.crc32(case_name.encode())])
    drawn: list[tuple[str, Click]] = []
    for class_name in member.planned.description.labels:
        for _ in range(clicks if isinstance(clicks, int) else clicks[class_name]):
            drawn += [(class_name, click) for click in labelled.clicks(class_name, rng)]
    drawn += [(OFF_TASK, click) for click in _off_task_clicks(labelled, off_task, rng)]
    return [GatePrompt(member, case, labelled, name, click, member.experts.get(name)) for name, click in drawn]


def _off_task_clicks(labelled: RawLabelledCase, number: int, rng: np.random.Generator) -> list[Click]:
    """Draws clicks on voxels without a label that are not as dark as the darkest quarter, such as the air around."""
    image = labelled.image.channels[0].data
    canonical = labelled.image.orientation.to_canonical(image)
    nothing = (labelled.labels == 0) & (canonical > np.percentile(canonical, 25))
    candidates = np.flatnonzero(nothing)
    drawn = rng.choice(candidates, size=min(number, len(candidates)), replace=False)
    positions = np.stack(np.unravel_index(drawn, labelled.labels.shape), axis=1)
    return [Click(position=(float(x), float(y), float(z))) for x, y, z in positions]
