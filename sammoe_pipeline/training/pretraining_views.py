"""What pretraining shows the network: views of phantoms and clicks in them, from easy to hard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.clicks import Click, component_at, first_click
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.normalisation import NORMALISATIONS
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.training.augmentation import augment, recolour
from sammoe_pipeline.training.recognition import UNKNOWN
from sammoe_pipeline.training.views import Placement, PreparedCase, cut, members, place_inside, random_matrix
from sammoe_pipeline.training.warm_up import ellipsoids

SPACING_RATIO = 1.5
"""Arrays for pretraining are this much finer than the native spacing, so that views can look closer."""

_VIEW_SCALE = (0.4, 2.0)
_NATIVE_SCALE = (1.25, 1.75)
_NATIVE_SHARE = 0.5
_VALIDATION_SHARE = 0.1
_SMALLEST_TARGET = 64
_MOST_DRAWS = 1000
_RAMP = 0.2
_EASY = 0.2
_EASY_AT_LAST = 0.1


@dataclass(frozen=True)
class PretrainSettings:
    """What decides the outcome of pretraining.

    Attributes:
        name: of the foundation.
        builder: in `sammoe_pipeline.model.BUILDERS`.
        spacing_mm: native spacing of the result.
        normalisation: in `sammoe_pipeline.normalisation.NORMALISATIONS`.
        iterations: optimiser steps.
        batch_size: views a step.
        targets_per_view: structures clicked on in each view; the encoder runs once for all of them.
        learning_rate: highest.
        recolour_probability: share of views whose structures all get new random intensities.
        excluded_classes: never clicked on, as `class` or `DatasetXXX_Name:class`.
        seed: of everything random.
    """

    name: str
    builder: str
    spacing_mm: float
    normalisation: str
    iterations: int
    batch_size: int
    targets_per_view: int
    learning_rate: float
    recolour_probability: float
    excluded_classes: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class TrainingSource:
    """One dataset as pretraining sees it.

    Attributes:
        name: the dataset's.
        train: opened cases to learn from.
        held_out: opened cases to watch progress on.
        labels: values by class, excluded classes left out.
        anatomy: whether a class is the same structure in every case, which the encoder can learn to recognise.
    """

    name: str
    train: tuple[PreparedCase, ...]
    held_out: tuple[PreparedCase, ...]
    labels: dict[str, tuple[int, ...]]
    anatomy: bool = True


@dataclass(frozen=True)
class View:
    """What the network is shown of a case, and what is asked about it.

    Attributes:
        image: (P, P, P), normalised.
        valid: (P, P, P), False outside the case.
        structures: (P, P, P) int16, which structure of all sources each voxel belongs to: 0 background, 1 and up the
            classes in order, `UNKNOWN` outside and in excluded classes.
        masks: (P, P, P) of each target.
        clicks: first click of each target.
    """

    image: Tensor
    valid: Tensor
    structures: Tensor
    masks: list[Tensor]
    clicks: list[Click]


@dataclass(frozen=True)
class Batch:
    """Views and the targets clicked on in them.

    Attributes:
        images: (B, 1, P, P, P), normalised.
        structures: (B, P, P, P), see `View`.
        targets: (B T, 1, P, P, P), 0 or 1; T targets of one view follow each other.
        valid: (B T, 1, P, P, P), 0 outside the case.
        clicks: first click of each target.
    """

    images: Tensor
    structures: Tensor
    targets: Tensor
    valid: Tensor
    clicks: list[Click]


def open_source(
    dataset: PreprocessedDataset,
    cases: Sequence[str],
    labels: dict[str, tuple[int, ...]],
    excluded: Sequence[str],
    *,
    anatomy: bool = True,
) -> TrainingSource:
    """Opens a prepared dataset; every tenth case is held out.

    Args:
        dataset: prepared for pretraining.
        cases: names.
        labels: values by class.
        excluded: classes never clicked on, as `class` or `DatasetXXX_Name:class`.
        anatomy: whether a class is the same structure in every case.

    Raises:
        TrainingError: no class is left to click on.
    """
    banned = set(excluded)
    kept = {c: v for c, v in labels.items() if c not in banned and f"{dataset.dataset}:{c}" not in banned}
    if not kept:
        raise TrainingError(f"{dataset.dataset}: every class is excluded. Leave the dataset out, or exclude fewer.")
    opened = [PreparedCase.of(dataset, "pretraining", case) for case in cases]
    step = round(1 / _VALIDATION_SHARE)
    return TrainingSource(
        name=dataset.dataset,
        train=tuple(case for i, case in enumerate(opened) if i % step != step - 1),
        held_out=tuple(case for i, case in enumerate(opened) if i % step == step - 1),
        labels=kept,
        anatomy=anatomy,
    )


def count_structures(sources: Sequence[TrainingSource]) -> int:
    """Returns how many structures the encoder learns to tell apart, background included."""
    return 1 + sum(len(source.labels) for source in sources if source.anatomy)


def draw_view(
    sources: Sequence[TrainingSource],
    settings: PretrainSettings,
    rng: np.random.Generator,
    *,
    size: int,
    difficulty: float = 1.0,
    held_out: bool = False,
) -> View:
    """Draws one view with its targets.

    A target is the connected component that its first click lies in. The first target is in the middle, as in
    prediction; the others are whatever else the view shows.

    Raises:
        TrainingError: view after view shows no target that is large enough.
    """
    shares = np.array([len(source.labels) for source in sources], dtype=np.float64)
    for _ in range(_MOST_DRAWS):
        chosen = int(rng.choice(len(sources), p=shares / shares.sum()))
        source = sources[chosen]
        cases = source.held_out if held_out else source.train
        case = cases[rng.integers(len(cases))]
        present = [name for name in source.labels if case.properties.class_locations[name]]
        if not present:
            continue
        name = present[rng.integers(len(present))]
        placement = Placement(
            centre=place_inside(case, name, source.labels[name], rng) + rng.uniform(-1, 1, size=3),
            matrix=random_matrix(
                rng,
                scale=(SPACING_RATIO, SPACING_RATIO)
                if held_out
                else (_NATIVE_SCALE if rng.random() < _NATIVE_SHARE else _VIEW_SCALE),
                rotation=0.0 if held_out else 0.3,
                mirror_axes=(),
            ),
        )
        image, labels = cut(case, placement, size)
        in_middle = labels[size // 2, size // 2, size // 2].item()
        others = [n for n in present if n != name]
        rng.shuffle(others)
        masks: list[Tensor] = []
        clicks: list[Click] = []
        for wanted in [name, *others]:
            member = members(labels, source.labels[wanted])
            middle = Click(position=(size // 2, size // 2, size // 2))
            click = middle if wanted == name and in_middle in source.labels[name] else first_click(member, rng)
            if click is None:
                continue
            mask = component_at(member, click)
            if mask.sum() >= _SMALLEST_TARGET:
                masks.append(torch.from_numpy(mask))
                clicks.append(click)
            if len(masks) == settings.targets_per_view:
                break
        if not masks:
            continue
        while len(masks) < settings.targets_per_view:
            masks.append(masks[0])
            clicks.append(first_click(masks[0].numpy(), rng) or clicks[0])
        if not held_out:
            if rng.random() < settings.recolour_probability * difficulty:
                image = recolour(image, labels, rng)
            image = augment(image, rng, strength=difficulty)
        return View(
            image=NORMALISATIONS[settings.normalisation](image),
            valid=labels >= 0,
            structures=_structures(labels, sources, chosen),
            masks=masks,
            clicks=clicks,
        )
    raise TrainingError(
        f"{_MOST_DRAWS} views of {', '.join(source.name for source in sources)} show no target of {_SMALLEST_TARGET} "
        f"voxels. Lower --spacing, or exclude fewer classes."
    )


def _structures(labels: Tensor, sources: Sequence[TrainingSource], chosen: int) -> Tensor:
    """Renumbers the labels (x, y, z) of one source so that classes of different sources differ."""
    if not sources[chosen].anatomy:
        return torch.full(labels.shape, UNKNOWN, dtype=torch.int16)
    first = count_structures(sources[:chosen])
    classes = list(enumerate(sources[chosen].labels.values(), first))
    largest = max(int(labels.max()), *(max(values) for _, values in classes))
    # One entry more than there are values: the last is that of `OUTSIDE`, which is -1.
    table = torch.full((largest + 2,), UNKNOWN)
    table[0] = 0
    # A class within another has fewer values, and comes later to keep its voxels.
    for number, values in sorted(classes, key=lambda entry: -len(entry[1])):
        table[list(values)] = number
    return table[labels.long()].to(torch.int16)


def _warm_up_view(settings: PretrainSettings, rng: np.random.Generator, size: int) -> View:
    """Draws a view like `draw_view`'s, of ellipsoids."""
    image, shown = ellipsoids(rng, size)
    drawn = [shown[index] for index in rng.integers(len(shown), size=settings.targets_per_view)]
    # A later ellipsoid may hide an earlier one altogether, never the last.
    visible = [mask if mask.any() else shown[-1] for mask in drawn]
    clicks = [click for mask in visible if (click := first_click(mask, rng)) is not None]
    masks = [torch.from_numpy(mask) for mask in visible]
    return View(
        image=NORMALISATIONS[settings.normalisation](image),
        valid=torch.ones_like(image, dtype=torch.bool),
        structures=torch.full(image.shape, UNKNOWN, dtype=torch.int16),
        masks=masks,
        clicks=clicks,
    )


def draw_batch(
    sources: Sequence[TrainingSource],
    settings: PretrainSettings,
    seed: Sequence[int],
    *,
    size: int,
    difficulty: float = 1.0,
    held_out: bool = False,
) -> Batch:
    """Draws a batch that depends on `seed` alone, so that a run continues exactly without storing random states."""
    rng = np.random.default_rng(seed)
    easy = 0.0 if held_out else min(1.0, max(_EASY_AT_LAST, (1 - difficulty) / (1 - _EASY)))
    views = [
        _warm_up_view(settings, rng, size)
        if rng.random() < easy
        else draw_view(sources, settings, rng, size=size, difficulty=difficulty, held_out=held_out)
        for _ in range(settings.batch_size)
    ]
    repeats = settings.targets_per_view
    return Batch(
        images=torch.stack([view.image for view in views])[:, None],
        structures=torch.stack([view.structures for view in views]),
        targets=torch.stack([mask for view in views for mask in view.masks])[:, None].float(),
        valid=torch.stack([view.valid for view in views for _ in range(repeats)])[:, None],
        clicks=[click for view in views for click in view.clicks],
    )


@dataclass(frozen=True)
class TrainingBatches:
    """The batch of each iteration, harder from one to the next over the first fifth.

    It begins with ellipsoids on flat ground; then come the datasets one after another, with more and more changes of
    appearance, while ellipsoids become rare.
    """

    sources: Sequence[TrainingSource]
    settings: PretrainSettings
    size: int

    def __getitem__(self, iteration: int) -> Batch:
        difficulty = min(1.0, iteration / (_RAMP * self.settings.iterations))
        others = max(0.0, (difficulty - _EASY) / (1 - _EASY)) * (len(self.sources) - 1)
        return draw_batch(
            self.sources[: 1 + int(others)],
            self.settings,
            [self.settings.seed, iteration],
            size=self.size,
            difficulty=difficulty,
        )
