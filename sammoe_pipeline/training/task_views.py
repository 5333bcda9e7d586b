"""Views of a task's targets, each the same whoever draws it: cut, turned and changed in appearance by a seed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click, component_at, first_click
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.normalisation import NORMALISATIONS
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.augmentation import augment
from sammoe_pipeline.training.views import Placement, PreparedCase, cut, members, place_inside, random_matrix

AUGMENTATION_VERSION = 1
"""To be raised with every change of what a view looks like: embeddings kept from before are then made anew."""
_SCALE = (0.87, 1.15)
_ROTATION = 0.2
_CHANGE_OF_APPEARANCE = 0.5
_JITTER = 1.0
_BESIDE = 8
"""Voxels that a prompt beside the structure keeps from it, at least: nearer ones may be meant for it."""
_CASES_TRIED, _ATTEMPTS_A_CASE = 10, 10


@dataclass(frozen=True)
class View:
    """One view with one target.

    Attributes:
        image: (P, P, P), normalised.
        target: (P, P, P) booleans; empty where the click is beside the structure.
        valid: (P, P, P) booleans, False outside the image and where the truth is unknown.
        click: first click, in voxels of the view.
        class_name: of the target.
    """

    image: Tensor
    target: Tensor
    valid: Tensor
    click: Click
    class_name: str


@dataclass(frozen=True)
class Draw:
    """Which view is to be drawn. Folds and runs that draw the same one get the same view.

    Attributes:
        case: it is cut out of.
        class_name: of its target.
        number: tells views of one class and case apart.
        beside: the click is beside the structure, or in a case without it, and the target empty.
    """

    case: PreparedCase
    class_name: str
    number: int
    beside: bool


class TaskViews:
    """Draws views of some classes from some cases.

    Classes are drawn evenly, whatever their size, and so are the cases that have them. What a view looks like depends
    on its class, its case and its number alone: folds that share a case share its views.

    Args:
        planned: the dataset.
        cases: names of the cases to draw from.
        classes: classes to draw.
        configuration: how the network sees them.
        normalisation: of windows.
        seed: of the order of cases, and of plain views.
        negatives: share of the training views whose click is beside the structure.

    Raises:
        TrainingError: none of the cases has any of the classes.
    """

    def __init__(
        self,
        planned: PlannedDataset,
        *,
        cases: Sequence[str],
        classes: Sequence[str],
        configuration: Configuration,
        normalisation: str,
        seed: Sequence[int],
        negatives: float = 0.0,
    ) -> None:
        self._planned = planned
        self._size = configuration.patch_size
        self._normalise = NORMALISATIONS[normalisation]
        self._seed = tuple(seed)
        self._negatives = negatives
        opened = {name: PreparedCase.of(planned.paths, configuration.name, name) for name in cases}
        self.cases_of = {
            name: [case for case in opened.values() if case.properties.class_locations[name]] for name in classes
        }
        self.missing = tuple(name for name, having in self.cases_of.items() if not having)
        self._classes = [name for name in classes if name not in self.missing]
        if not self._classes:
            raise TrainingError(
                f"{planned.name}: none of {len(opened)} cases has any of {', '.join(classes)} in configuration "
                f"'{configuration.name}', so there is nothing to learn. Check labelsTr and the splits."
            )
        shuffle = np.random.default_rng(self._seed).permutation
        self._order = {name: [self.cases_of[name][i] for i in shuffle(len(self.cases_of[name]))] for name in classes}
        self._all = [list(opened.values())[i] for i in shuffle(len(opened))]

    def training_view(self, index: int) -> View:
        """Draws the view of a number: turned, scaled, mirrored where the plan allows it, and changed in appearance.

        Raises:
            TrainingError: no view shows the target.
        """
        for draw in self.draws(index):
            view = self.view(draw)
            if view is not None:
                return view
        raise self.nothing_to_show()

    def draws(self, index: int) -> Iterator[Draw]:
        """Yields what the view of a number may be: the first of these of which there is a view."""
        class_name = self._classes[index % len(self._classes)]
        turn = index // len(self._classes)
        beside = self._negatives > 0 and np.random.default_rng([*self._seed, index]).random() < self._negatives
        cases = self._all if beside else self._order[class_name]
        for step in range(turn, turn + _CASES_TRIED):
            yield Draw(cases[step % len(cases)], class_name, step // len(cases), bool(beside))

    def view(self, draw: Draw) -> View | None:
        """Draws a training view; None where a few attempts do not show the target, or do not avoid it."""
        words = f"{draw.class_name}/{draw.case.properties.case}"
        begin = (self._planned.plan.seed, zlib.crc32(words.encode()), draw.number, int(draw.beside))
        for attempt in range(_ATTEMPTS_A_CASE):
            rng = np.random.default_rng([*begin, attempt])
            place = self._beside if draw.beside else self._place
            placement = Placement(
                centre=place(draw.case, draw.class_name, rng) + rng.uniform(-_JITTER, _JITTER, size=3),
                matrix=random_matrix(
                    rng, scale=_SCALE, rotation=_ROTATION, mirror_axes=self._planned.plan.training.mirror_axes
                ),
            )
            view = self._view(draw.case, draw.class_name, placement, rng, augmented=True, beside=draw.beside)
            if view is not None:
                return view
        return None

    def nothing_to_show(self) -> TrainingError:
        """Returns the error of a number without a view."""
        return TrainingError(
            f"{self._planned.name}: {_CASES_TRIED * _ATTEMPTS_A_CASE} draws gave no view that shows its target. The "
            f"classes {', '.join(self._classes)} may be smaller than a voxel of the configuration; plan with --replan."
        )

    def plain_views(self, per_target: int, limit: int) -> list[View]:
        """Returns unchanged views, `per_target` a class and case, at most `limit` in all.

        They lie as windows do in prediction: on whole voxels, with the click at index `P // 2`.
        """
        views = []
        to_centre = np.float64((self._size - 1) / 2 - self._size // 2)
        targets = [(name, number) for name in self._classes for number in range(len(self.cases_of[name]))]
        # Chosen before they are cut: all views of many classes would not fit into memory.
        chosen = set(np.random.default_rng(self._seed).permutation(per_target * len(targets))[:limit].tolist())
        for index, (class_name, number) in enumerate(targets):
            case, rng = self.cases_of[class_name][number], np.random.default_rng([*self._seed, number])
            wanted = [per_target * index + repeat in chosen for repeat in range(per_target)]
            for is_wanted in wanted if any(wanted) else ():
                centre = self._place(case, class_name, rng) + to_centre
                view = self._view(case, class_name, Placement(centre, np.eye(3)), rng, augmented=False)
                if view is not None and is_wanted:
                    views.append(view)
        return views

    def _place(self, case: PreparedCase, class_name: str, rng: np.random.Generator) -> NDArray[np.int64]:
        return place_inside(case, class_name, self._planned.description.labels[class_name], rng)

    def _beside(self, case: PreparedCase, class_name: str, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws a voxel near the structure, or anywhere in the image: half and half, as wrong prompts come."""
        shape = np.array(case.properties.shape)
        locations = case.properties.class_locations[class_name]
        if locations and rng.random() < 0.5:
            direction = rng.normal(size=3)
            reach = rng.uniform(_BESIDE, self._size / 2)
            near = np.array(locations[rng.integers(len(locations))]) + reach * direction / np.linalg.norm(direction)
            return np.asarray(np.clip(np.rint(near), 0, shape - 1), dtype=np.int64)
        return np.asarray(rng.integers(shape), dtype=np.int64)

    def _view(
        self,
        case: PreparedCase,
        class_name: str,
        placement: Placement,
        rng: np.random.Generator,
        *,
        augmented: bool,
        beside: bool = False,
    ) -> View | None:
        image, labels = cut(case, placement, self._size)
        member = members(labels, self._planned.description.labels[class_name])
        valid = labels >= 0
        if self._planned.description.ignore is not None:
            valid &= labels != self._planned.description.ignore
        middle = self._size // 2
        click: Click | None
        if beside:
            around = (slice(max(0, middle - _BESIDE), middle + _BESIDE + 1),) * 3
            if member[around].any() or not valid[middle, middle, middle]:
                return None
            click, member = Click(position=(middle,) * 3), np.zeros_like(member)
        else:
            click = Click(position=(middle,) * 3) if member[middle, middle, middle] else first_click(member, rng)
            if click is None:
                return None
            if self._planned.plan.classes[class_name].target == "component":
                member = component_at(member, click)
        if augmented:
            image = augment(image, rng, strength=_CHANGE_OF_APPEARANCE)
        return View(
            image=self._normalise(image),
            target=torch.from_numpy(member),
            valid=valid,
            click=click,
            class_name=class_name,
        )
