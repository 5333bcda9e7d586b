"""Views of a task embedded once by the frozen encoder, for a decoder to learn from as often as it likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click, component_at, first_click
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.normalisation import NORMALISATIONS
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.threads import one_thread, side_by_side
from sammoe_pipeline.training.augmentation import augment
from sammoe_pipeline.training.optimisation import autocast
from sammoe_pipeline.training.views import Placement, PreparedCase, cut, members, place_inside, random_matrix

_ENCODED_TOGETHER = 8
_SCALE = (0.87, 1.15)
_ROTATION = 0.2
_CHANGE_OF_APPEARANCE = 0.5
_JITTER = 1.0


@dataclass(frozen=True)
class View:
    """One view with one target.

    Attributes:
        image: (P, P, P), normalised.
        target: (P, P, P) booleans.
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
class EmbeddedViews:
    """Views whose images have become embeddings.

    Attributes:
        embeddings: (V, C, g, g, g) float16 on the CPU.
        targets: (V, P, P, P) booleans.
        valid: (V, P, P, P) booleans.
        clicks: first click of each view.
        class_names: class of each view.
    """

    embeddings: Tensor
    targets: Tensor
    valid: Tensor
    clicks: list[Click]
    class_names: list[str]


class TaskViews:
    """Draws views of some classes from some cases, each from its own seed.

    Classes are drawn evenly, whatever their size, and so are the cases that have them.

    Args:
        planned: the dataset.
        cases: names of the cases to draw from.
        classes: classes to draw.
        configuration: how the network sees them.
        normalisation: of windows.
        seed: begins every view's seed.

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
    ) -> None:
        self._planned = planned
        self._size = configuration.patch_size
        self._normalise = NORMALISATIONS[normalisation]
        self._seed = tuple(seed)
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

    def training_view(self, index: int) -> View:
        """Draws the view of a number: turned, scaled, mirrored where the plan allows it, and changed in appearance."""
        for attempt in range(100):
            rng = np.random.default_rng([*self._seed, index, attempt])
            class_name = self._classes[rng.integers(len(self._classes))]
            having = self.cases_of[class_name]
            case = having[rng.integers(len(having))]
            placement = Placement(
                centre=self._place(case, class_name, rng) + rng.uniform(-_JITTER, _JITTER, size=3),
                matrix=random_matrix(
                    rng, scale=_SCALE, rotation=_ROTATION, mirror_axes=self._planned.plan.training.mirror_axes
                ),
            )
            view = self._view(case, class_name, placement, rng, augmented=True)
            if view is not None:
                return view
        raise TrainingError(
            f"{self._planned.name}: 100 draws gave no view that shows its target. The classes "
            f"{', '.join(self._classes)} may be smaller than a voxel of the configuration; plan with --replan."
        )

    def plain_views(self, per_target: int, limit: int) -> list[View]:
        """Returns unchanged views, `per_target` a class and case, at most `limit` in all.

        They lie as windows do in prediction: on whole voxels, with the click at index `P // 2`.
        """
        views = []
        to_centre = np.float64((self._size - 1) / 2 - self._size // 2)
        for class_name in self._classes:
            for number, case in enumerate(self.cases_of[class_name]):
                rng = np.random.default_rng([*self._seed, number])
                for _ in range(per_target):
                    centre = self._place(case, class_name, rng) + to_centre
                    view = self._view(case, class_name, Placement(centre, np.eye(3)), rng, augmented=False)
                    if view is not None:
                        views.append(view)
        keep = np.random.default_rng(self._seed).permutation(len(views))[:limit]
        return [views[index] for index in sorted(keep)]

    def _place(self, case: PreparedCase, class_name: str, rng: np.random.Generator) -> NDArray[np.int64]:
        return place_inside(case, class_name, self._planned.description.labels[class_name], rng)

    def _view(
        self, case: PreparedCase, class_name: str, placement: Placement, rng: np.random.Generator, *, augmented: bool
    ) -> View | None:
        image, labels = cut(case, placement, self._size)
        member = members(labels, self._planned.description.labels[class_name])
        middle = self._size // 2
        click = Click(position=(middle,) * 3) if member[middle, middle, middle] else first_click(member, rng)
        if click is None:
            return None
        if self._planned.plan.classes[class_name].target == "component":
            member = component_at(member, click)
        valid = labels >= 0
        if self._planned.description.ignore is not None:
            valid &= labels != self._planned.description.ignore
        if augmented:
            image = augment(image, rng, strength=_CHANGE_OF_APPEARANCE)
        return View(
            image=self._normalise(image),
            target=torch.from_numpy(member),
            valid=valid,
            click=click,
            class_name=class_name,
        )


def embed_views(
    model: SamMed3D, draw: Callable[[int], View], count: int, *, device: str, description: str
) -> EmbeddedViews:
    """Draws `count` views and embeds them.

    Args:
        model: the foundation.
        draw: makes the view of a number.
        count: views.
        device: where the encoder runs.
        description: for the progress bar.
    """
    from tqdm import tqdm

    def embed(first: int) -> tuple[list[View], Tensor]:
        with one_thread():
            views = [draw(index) for index in range(first, min(count, first + _ENCODED_TOGETHER))]
        with torch.inference_mode(), autocast(device):
            images = torch.stack([view.image for view in views])[:, None].to(device)
            return views, model.encode(images).half().cpu()

    embeddings, targets, valid, clicks, names = [], [], [], [], []
    with tqdm(total=count, desc=description, unit="view") as bar:
        for views, of_views in side_by_side(embed, range(0, count, _ENCODED_TOGETHER)):
            embeddings.append(of_views)
            targets += [view.target for view in views]
            valid += [view.valid for view in views]
            clicks += [view.click for view in views]
            names += [view.class_name for view in views]
            bar.update(len(views))
    return EmbeddedViews(
        embeddings=torch.cat(embeddings),
        targets=torch.stack(targets),
        valid=torch.stack(valid),
        clicks=clicks,
        class_names=names,
    )
