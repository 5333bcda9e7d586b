"""Training a foundation from scratch: encoder, prompt encoder and general decoder, on clicks simulated in phantoms."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, FoundationCard, provenance, sha256_of
from sammoe_pipeline.atomic import atomic_path, write_text
from sammoe_pipeline.clicks import Click, component_at, first_click
from sammoe_pipeline.errors import TrainingError, UsageError, did_you_mean
from sammoe_pipeline.model import SamMed3D, build_sam_med3d
from sammoe_pipeline.paths import CHECKPOINT, FOUNDATION_JSON, FOUNDATION_WEIGHTS, TRAINING_LOG, PreprocessedDataset
from sammoe_pipeline.preprocessing import NORMALISATIONS
from sammoe_pipeline.training.augmentation import augment, recolour
from sammoe_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from sammoe_pipeline.training.interaction import click_tensors, interactive_loss
from sammoe_pipeline.training.losses import MaskLoss
from sammoe_pipeline.training.optimisation import autocast, learning_rate_at, make_optimiser
from sammoe_pipeline.training.prefetch import prefetch
from sammoe_pipeline.training.reconstruction import Reconstruction
from sammoe_pipeline.training.views import Placement, PreparedCase, cut, members, random_matrix
from sammoe_pipeline.training.warm_up import ellipsoids

logger = logging.getLogger(__name__)

SPACING_RATIO = 1.5
"""Arrays for pretraining are this much finer than the native spacing, so that views can look closer."""
_VIEW_SCALE = (0.6, 2.0)
_VALIDATION_SHARE = 0.1
_VALIDATION_VIEWS = 48
_SMALLEST_TARGET = 64
_MOST_DRAWS = 1000
_RAMP = 0.35
_EASY = 0.3
_EASY_AT_LAST = 0.1
_RECONSTRUCTION_WEIGHT = 0.5


@dataclass(frozen=True)
class PretrainSettings:
    """What decides the outcome of pretraining.

    Attributes:
        name: of the foundation.
        builder: in `sammoe_pipeline.model.BUILDERS`.
        spacing_mm: native spacing of the result.
        normalisation: in `sammoe_pipeline.preprocessing.NORMALISATIONS`.
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
    """

    name: str
    train: tuple[PreparedCase, ...]
    held_out: tuple[PreparedCase, ...]
    labels: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Batch:
    """Views and the targets clicked on in them.

    Attributes:
        images: (B, 1, P, P, P), normalised.
        targets: (B T, 1, P, P, P), 0 or 1; T targets of one view follow each other.
        valid: (B T, 1, P, P, P), 0 outside the case.
        clicks: first click of each target.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor
    clicks: list[Click]


def pretraining_configuration(settings: PretrainSettings) -> Configuration:
    """Returns the configuration that pretraining reads its cases in."""
    size = build_patch_size(settings.builder)
    return Configuration(name="pretraining", spacing_mm=settings.spacing_mm / SPACING_RATIO, patch_size=size)


def build_patch_size(builder: str) -> int:
    """Returns the patch size of a builder without allocating its weights."""
    with torch.device("meta"):
        return build_sam_med3d(builder).patch_size


def require_known_classes(excluded: Sequence[str], labels: Mapping[str, Collection[str]]) -> None:
    """Refuses to exclude what no dataset has: a misspelt class would be learnt.

    Args:
        excluded: as `class` or `DatasetXXX_Name:class`.
        labels: classes by dataset.

    Raises:
        UsageError: a name is none of theirs.
    """
    known = {name for dataset, classes in labels.items() for c in classes for name in (c, f"{dataset}:{c}")}
    for name in excluded:
        if name not in known:
            raise UsageError(
                f"--exclude_classes {name}: no dataset has such a class.{did_you_mean(name, known)} There are: "
                f"{', '.join(sorted({c for classes in labels.values() for c in classes}))}."
            )


def open_source(
    dataset: PreprocessedDataset, cases: Sequence[str], labels: dict[str, tuple[int, ...]], excluded: Sequence[str]
) -> TrainingSource:
    """Opens a prepared dataset; every tenth case is held out.

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
    )


def draw_view(
    sources: Sequence[TrainingSource],
    settings: PretrainSettings,
    rng: np.random.Generator,
    *,
    size: int,
    difficulty: float = 1.0,
    held_out: bool = False,
) -> tuple[Tensor, Tensor, list[Tensor], list[Click]]:
    """Draws one view with its targets.

    A target is the connected component that its first click lies in. The first target is in the middle, as in
    prediction; the others are whatever else the view shows.

    Returns:
        Normalised image (x, y, z), valid voxels (x, y, z), masks of the targets, and their first clicks.

    Raises:
        TrainingError: view after view shows no target that is large enough.
    """
    for _ in range(_MOST_DRAWS):
        source = sources[int(rng.integers(len(sources)))]
        cases = source.held_out if held_out else source.train
        case = cases[rng.integers(len(cases))]
        present = [name for name in source.labels if case.properties.class_locations[name]]
        if not present:
            continue
        name = present[rng.integers(len(present))]
        locations = case.properties.class_locations[name]
        location = np.array(locations[rng.integers(len(locations))], dtype=np.float64)
        placement = Placement(
            centre=location + rng.uniform(-2, 2, size=3),
            matrix=random_matrix(
                rng,
                scale=(SPACING_RATIO, SPACING_RATIO) if held_out else _VIEW_SCALE,
                rotation=0.0 if held_out else (math.pi if rng.random() < 0.3 else 0.3),
                mirror_axes=() if held_out else (0, 1, 2),
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
        return NORMALISATIONS[settings.normalisation](image), labels >= 0, masks, clicks
    raise TrainingError(
        f"{_MOST_DRAWS} views of {', '.join(source.name for source in sources)} show no target of {_SMALLEST_TARGET} "
        f"voxels. Lower --spacing, or exclude fewer classes."
    )


def _warm_up_view(
    settings: PretrainSettings, rng: np.random.Generator, size: int
) -> tuple[Tensor, Tensor, list[Tensor], list[Click]]:
    """Draws a view like `draw_view`'s, of ellipsoids."""
    image, shown = ellipsoids(rng, size)
    drawn = [shown[index] for index in rng.integers(len(shown), size=settings.targets_per_view)]
    # A later ellipsoid may hide an earlier one altogether, never the last.
    visible = [mask if mask.any() else shown[-1] for mask in drawn]
    clicks = [click for mask in visible if (click := first_click(mask, rng)) is not None]
    masks = [torch.from_numpy(mask) for mask in visible]
    return NORMALISATIONS[settings.normalisation](image), torch.ones_like(image, dtype=torch.bool), masks, clicks


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
        images=torch.stack([image for image, _, _, _ in views])[:, None],
        targets=torch.stack([mask for _, _, masks, _ in views for mask in masks])[:, None].float(),
        valid=torch.stack([valid for _, valid, _, _ in views for _ in range(repeats)])[:, None],
        clicks=[click for _, _, _, clicks in views for click in clicks],
    )


@dataclass(frozen=True)
class _TrainingBatches:
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


def pretrain(
    sources: Sequence[TrainingSource], settings: PretrainSettings, folder: Path, *, device: str, command: str
) -> Path:
    """Trains a foundation, continuing where an earlier run of the same settings stopped.

    Args:
        sources: datasets, easiest first.
        settings: what decides the outcome.
        folder: where the foundation goes; checkpoints lie beside it.
        device: "cuda" or "cpu".
        command: how this was called, for the card.

    Returns:
        The folder, with `foundation.json` and weights in float16.

    Raises:
        TrainingError: the loss is not finite, or the checkpoint there is one of other settings or datasets.
    """
    from tqdm import tqdm

    recipe = {**asdict(settings), "datasets": tuple(source.name for source in sources)}
    torch.manual_seed(settings.seed)
    model = build_sam_med3d(settings.builder).to(device).train()
    reconstruction = Reconstruction(
        channels=model.embedding_channels, cells=model.mask_size // model.embedding_size
    ).to(device)
    learning = torch.nn.ModuleList([model, reconstruction])
    optimiser = make_optimiser(learning, settings.learning_rate)
    loss_of = MaskLoss()
    start, log = 0, [["iteration", "seconds", "loss", "reconstruction", "learning_rate", "held_out_dice"]]
    elapsed = 0.0
    if (folder / CHECKPOINT).is_file():
        state = load_checkpoint(folder / CHECKPOINT)
        _require_recipe(state.get("recipe", {}), recipe, folder / CHECKPOINT)
        learning.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        start, log, elapsed = state["iteration"], state["log"], state["seconds"]
        logger.info("Continuing at iteration %d of %d", start, settings.iterations)
    began = time.monotonic() - elapsed
    recent: list[float] = []
    remembered: list[float] = []
    batches = prefetch(_TrainingBatches(sources, settings, model.patch_size), range(start, settings.iterations))
    bar = tqdm(batches, initial=start, total=settings.iterations, desc="Pretraining", mininterval=5)
    for iteration, batch in enumerate(bar, start):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(iteration, settings.iterations, settings.learning_rate)
        loss, memory = _step(
            model, reconstruction, batch, loss_of, np.random.default_rng([settings.seed, iteration, 1]), device
        )
        if not torch.isfinite(loss):
            raise TrainingError(f"The loss is {loss.item()} at iteration {iteration}. Lower --learning_rate.")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + _RECONSTRUCTION_WEIGHT * memory)
        torch.nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.item())
        remembered.append(memory.item())
        done = iteration + 1
        if done % 100 == 0 or done == settings.iterations:
            dice = (
                validate(model, sources, settings, device) if done % 500 == 0 or done == settings.iterations else None
            )
            row = [str(done), f"{time.monotonic() - began:.0f}", f"{np.mean(recent):.4f}", f"{np.mean(remembered):.4f}"]
            row += [f"{optimiser.param_groups[0]['lr']:.2e}", "" if dice is None else f"{dice:.4f}"]
            log.append(row)
            bar.set_postfix(loss=row[2], dice=next((r[5] for r in reversed(log[1:]) if r[5]), ""))
            recent.clear()
            remembered.clear()
            _write_log(folder, log)
            save_checkpoint(
                folder / CHECKPOINT,
                {
                    "recipe": recipe,
                    "model": learning.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "iteration": done,
                    "log": log,
                    "seconds": time.monotonic() - began,
                },
            )
    _save_foundation(model, sources, settings, folder, device=device, command=command)
    return folder


def _step(
    model: SamMed3D,
    reconstruction: Reconstruction,
    batch: Batch,
    loss_of: MaskLoss,
    rng: np.random.Generator,
    device: str,
) -> tuple[Tensor, Tensor]:
    """Returns the loss of the masks and that of the reconstruction."""
    images = batch.images.to(device)
    targets, valid = batch.targets.to(device), batch.valid.to(device)
    repeats = len(batch.clicks) // len(batch.images)
    rounds = int(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.1]))
    with autocast(device):
        embedding = model.encode(images)
        masks = interactive_loss(
            model,
            embedding.repeat_interleave(repeats, dim=0),
            batch.clicks,
            targets,
            valid,
            loss_of=loss_of,
            rounds=rounds,
            rng=rng,
        )
        return masks, reconstruction.loss(embedding, images)


def validate(model: SamMed3D, sources: Sequence[TrainingSource], settings: PretrainSettings, device: str) -> float:
    """Returns the mean Dice at one click on fixed views of the held-out cases, at native spacing."""
    watched = [source for source in sources if source.held_out]
    if not watched:
        return float("nan")
    model.eval()
    scores: list[float] = []
    for index in range(max(1, _VALIDATION_VIEWS // settings.batch_size)):
        batch = draw_batch(watched, settings, [settings.seed, index, 7], size=model.patch_size, held_out=True)
        repeats = len(batch.clicks) // len(batch.images)
        with torch.inference_mode():
            embedding = model.encode(batch.images.to(device)).repeat_interleave(repeats, dim=0)
            points, labels = click_tensors([[click] for click in batch.clicks], device)
            mask = (model.upsample(model.decode(embedding, points, labels)) > 0).cpu() & batch.valid
        truth = batch.targets > 0
        overlap = (mask & truth).flatten(1).sum(1)
        scores += (2 * overlap / (mask.flatten(1).sum(1) + truth.flatten(1).sum(1))).tolist()
    model.train()
    return float(np.mean(scores))


def _require_recipe(found: Mapping[str, object], wanted: Mapping[str, object], path: Path) -> None:
    differing = sorted(name for name in wanted if found.get(name) != wanted[name])
    if differing:
        raise TrainingError(
            f"{path} was made with another {', '.join(differing)}. Give a new --name, or remove it to start again."
        )


def _write_log(folder: Path, rows: list[list[str]]) -> None:
    with atomic_path(folder / TRAINING_LOG) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _save_foundation(
    model: SamMed3D,
    sources: Sequence[TrainingSource],
    settings: PretrainSettings,
    folder: Path,
    *,
    device: str,
    command: str,
) -> None:
    from safetensors.torch import save

    state = {name: value.detach().half().contiguous().cpu() for name, value in model.state_dict().items()}
    with atomic_path(folder / FOUNDATION_WEIGHTS) as temporary:
        temporary.write_bytes(save(state))
    card = FoundationCard(
        name=settings.name,
        builder=settings.builder,
        spacing_mm=settings.spacing_mm,
        patch_size=model.patch_size,
        normalisation="equalised" if settings.normalisation == "equalised" else "positive",
        trained_on=tuple(f"{source.name}: {', '.join(source.labels)}" for source in sources),
        sha256=sha256_of(folder / FOUNDATION_WEIGHTS),
        licence="Apache-2.0",
        source=command,
        iterations=settings.iterations,
        for_research_only=True,
        provenance=provenance(seed=settings.seed, device=device, threads=torch.get_num_threads()),
    )
    write_text(folder / FOUNDATION_JSON, card.model_dump_json(indent=2) + "\n")
