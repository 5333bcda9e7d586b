"""Fitting a dataset's locator: which cells of a window belong to which class, from frozen embeddings."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, LocatorCard, provenance, sha256_of
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.extents import Extents
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.locate import new_locator, window_places
from sammoe_pipeline.model import SamMed3D, at_patch_size
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.normalisation import NORMALISATIONS
from sammoe_pipeline.paths import LOCATOR_JSON, LOCATOR_WEIGHTS
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.threads import one_thread, side_by_side
from sammoe_pipeline.training.augmentation import augment
from sammoe_pipeline.training.optimisation import autocast, learning_rate_at, make_optimiser
from sammoe_pipeline.training.presence import calibrate
from sammoe_pipeline.training.views import Placement, PreparedCase, cut, members, random_matrix, whole_image

logger = logging.getLogger(__name__)

_LEARNING_RATE = 2e-3
_ENCODED_TOGETHER = 8
_ANYWHERE = 0.3
_PLACE_JITTER = 0.1
"""Scale and shift of places in training: few cases would be known by the very place of their borders."""
_CROSS_ENTROPY = 10.0
"""Weight of the cross-entropy, whose mean over cells is small since most of them belong to no class."""


@dataclass(frozen=True)
class _Windows:
    embeddings: Tensor
    """(V, C, g, g, g) float16."""
    shares: tuple[dict[int, Tensor], ...]
    """V times, by class that the window holds, few of many: (m, m, m) float16, the share of each cell that is its."""
    valid: Tensor
    """(V, 1, m, m, m) booleans."""
    places: Tensor
    """(V, g, g, g, 6), where in its image each cell of the embedding lies."""

    def targets(self, chosen: Sequence[int], num_classes: int) -> Tensor:
        """Returns (B, K, m, m, m) of some windows, the share of each cell that belongs to each class."""
        targets = torch.zeros(len(chosen), num_classes, *self.valid.shape[2:])
        for target, index in zip(targets, chosen, strict=True):
            for class_index, share in self.shares[index].items():
                target[class_index] = share
        return targets


def train_locator(
    planned: PlannedDataset, fold: int, *, foundation: Foundation, folder: Path, device: str
) -> LocatorCard:
    """Fits the locator of a dataset on one fold.

    It learns all classes at once, whoever segments them, from windows anywhere in the training cases. Then it looks
    through the calibration cases, which tell from which peak on a class counts as present; see `presence.py`.

    Args:
        planned: the dataset and its plan.
        fold: which fold.
        foundation: whose encoder is used, frozen.
        folder: where the locator goes; its card is written last.
        device: "cuda" or "cpu".

    Raises:
        TrainingError: the loss is not finite.
    """
    began = time.monotonic()
    configuration = planned.plan.configurations[planned.plan.locator_configuration]
    model = at_patch_size(foundation.load_model(device), configuration.patch_size)
    classes = tuple(planned.description.labels)
    windows = _embed_windows(planned, fold, configuration, classes, model, foundation, device)
    locator = _fit(windows, planned, model, len(classes), (planned.plan.seed, fold, 11), device)
    thresholds, hits = calibrate(locator, planned, fold, configuration, classes, model, foundation)
    return _finish(locator, thresholds, hits, planned, fold, configuration, classes, foundation, folder, device, began)


def _embed_windows(
    planned: PlannedDataset,
    fold: int,
    configuration: Configuration,
    classes: Sequence[str],
    model: SamMed3D,
    foundation: Foundation,
    device: str,
) -> _Windows:
    from tqdm import tqdm

    cases = [PreparedCase.of(planned.paths, configuration.name, name) for name in planned.fold(fold).train]
    extents = [Extents.of(whole_image(case).numpy()) for case in cases]
    normalise = NORMALISATIONS[foundation.card.normalisation]
    count = planned.plan.locator_budget.views

    def draw(index: int) -> tuple[Tensor, dict[int, Tensor], Tensor, Tensor]:
        rng = np.random.default_rng([planned.plan.seed, fold, 12, index])
        number = int(rng.integers(len(cases)))
        case = cases[number]
        placement = _placement(case, rng, planned, model.patch_size)
        image, labels = cut(case, placement, model.patch_size)
        image = normalise(augment(image, rng))
        held = set(np.unique(labels).tolist())
        shares = {
            number: _pooled(members(labels, planned.description.labels[name]), model).half()
            for number, name in enumerate(classes)
            if not held.isdisjoint(planned.description.labels[name])
        }
        known = labels >= 0
        if planned.description.ignore is not None:
            known &= labels != planned.description.ignore
        valid = _pooled(known, model)[None] > 0.5
        places = window_places(extents[number], placement.start(model.patch_size), placement.matrix, model)
        return image, shares, valid, places

    def embed(first: int) -> _Windows:
        with one_thread():
            drawn = [draw(index) for index in range(first, min(count, first + _ENCODED_TOGETHER))]
        images, shares, valid, places = zip(*drawn, strict=True)
        with torch.inference_mode(), autocast(device):
            embeddings = model.encode(torch.stack(images)[:, None].to(device)).half().cpu()
        return _Windows(embeddings, shares, torch.stack(valid), torch.stack(places))

    parts = []
    with tqdm(total=count, desc="Embedding locator views", unit="view") as bar:
        for part in side_by_side(embed, range(0, count, _ENCODED_TOGETHER)):
            parts.append(part)
            bar.update(len(part.valid))
    return _Windows(
        embeddings=torch.cat([part.embeddings for part in parts]),
        shares=tuple(shares for part in parts for shares in part.shares),
        valid=torch.cat([part.valid for part in parts]),
        places=torch.cat([part.places for part in parts]),
    )


def _pooled(mask: NDArray[np.bool_] | Tensor, model: SamMed3D) -> Tensor:
    """Returns (m, m, m), the share of each cell of a mask (P, P, P)."""
    return F.adaptive_avg_pool3d(torch.as_tensor(mask)[None].float(), model.mask_size)[0]


def _placement(case: PreparedCase, rng: np.random.Generator, planned: PlannedDataset, size: int) -> Placement:
    """Draws a window anywhere over the image, or near a class, each class as often as the others."""
    shape = np.array(case.properties.shape, dtype=np.float64)
    present = [places for places in case.properties.class_locations.values() if places]
    if not present or rng.random() < _ANYWHERE:
        centre = rng.uniform(0, shape)
    else:
        places = present[rng.integers(len(present))]
        centre = np.array(places[rng.integers(len(places))]) + rng.uniform(-size / 3, size / 3, size=3)
    # Locating sides needs them as they are: no mirroring, whatever the plan allows for masks.
    return Placement(centre=centre, matrix=random_matrix(rng, scale=(0.9, 1.1), rotation=0.15, mirror_axes=()))


def _fit(
    windows: _Windows, planned: PlannedDataset, model: SamMed3D, num_classes: int, seed: Sequence[int], device: str
) -> Locator:
    from tqdm import tqdm

    iterations, batch_size = planned.plan.locator_budget.iterations, planned.plan.training.batch_size
    torch.manual_seed(planned.plan.seed)
    locator = new_locator(model, num_classes, second_look=planned.plan.training.second_look).to(device)
    optimiser = make_optimiser(locator, _LEARNING_RATE)
    for iteration in (bar := tqdm(range(iterations), desc=f"Training locator of {planned.name}")):
        rng = np.random.default_rng([*seed, iteration])
        chosen = rng.integers(len(windows.valid), size=batch_size).tolist()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(iteration, iterations, _LEARNING_RATE)
        with autocast(device):
            logits = locator(
                windows.embeddings[chosen].float().to(device), _jittered(windows.places[chosen], rng).to(device)
            )
        targets = windows.targets(chosen, num_classes).to(device)
        loss = map_loss(logits.float(), targets, windows.valid[chosen].to(device))
        if not torch.isfinite(loss):
            raise TrainingError(f"The locator's loss is {loss.item()} at iteration {iteration}.")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(locator.parameters(), 1.0)
        optimiser.step()
        if iteration % 25 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return locator.eval().requires_grad_(False)


def _jittered(places: Tensor, rng: np.random.Generator) -> Tensor:
    size = (2, len(places), 1, 1, 1, places.shape[-1])
    drawn = torch.from_numpy(rng.uniform(-_PLACE_JITTER, _PLACE_JITTER, size=size)).float()
    return places * drawn[0].exp() + drawn[1]


def map_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Compares maps with the truth: binary cross-entropy, and Dice of each class over the whole batch.

    Most windows hold few of the classes. Classes that no window of the batch holds have no Dice: counted as lost, as
    they are for masks, they would drown what there is to learn.

    Args:
        logits: (B, K, m, m, m).
        target: (B, K, m, m, m), the share of each cell that belongs to each class.
        valid: (B, 1, m, m, m) booleans, false where the truth is unknown.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    target = target * valid
    likely = logits.sigmoid() * valid
    both, either, held = (cells.sum(dim=(0, 2, 3, 4)) for cells in (likely * target, likely + target, target))
    lost = 1 - 2 * both / either.clamp_min(1e-6)
    loss: Tensor = _CROSS_ENTROPY * (entropy * valid).mean() + (lost * (held > 0)).sum() / (held > 0).sum().clamp_min(1)
    return loss


def _longest_mm(planned: PlannedDataset, fold: int, configuration: Configuration) -> float:
    cases = [PreparedCase.of(planned.paths, configuration.name, name) for name in planned.fold(fold).train]
    return configuration.spacing_mm * max(max(case.properties.shape) for case in cases)


def _finish(
    locator: Locator,
    thresholds: dict[str, float],
    hits: dict[str, float],
    planned: PlannedDataset,
    fold: int,
    configuration: Configuration,
    classes: tuple[str, ...],
    foundation: Foundation,
    folder: Path,
    device: str,
    began: float,
) -> LocatorCard:
    from safetensors.torch import save

    weights = {name: value.cpu().contiguous() for name, value in locator.state_dict().items()}
    write_bytes(folder / LOCATOR_WEIGHTS, save(weights))
    card = LocatorCard(
        dataset=planned.name,
        classes=classes,
        configuration=configuration,
        fold=fold,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        recipe=planned.recipe(fold),
        sha256=sha256_of(folder / LOCATOR_WEIGHTS),
        thresholds=thresholds,
        calibration_hits=hits,
        second_look=locator.second_look is not None,
        longest_mm=_longest_mm(planned, fold, configuration),
        iterations=planned.plan.locator_budget.iterations,
        seconds=time.monotonic() - began,
        provenance=provenance(seed=planned.plan.seed, device=device, threads=torch.get_num_threads()),
    )
    card.save(folder / LOCATOR_JSON)
    return card
