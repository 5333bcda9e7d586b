"""Training a foundation from scratch: encoder, prompt encoder and general decoder, on clicks simulated in phantoms."""

from __future__ import annotations

import csv
import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, FoundationCard, provenance, sha256_of
from sammoe_pipeline.atomic import atomic_path, write_text
from sammoe_pipeline.errors import TrainingError, UsageError, did_you_mean
from sammoe_pipeline.model import SamMed3D, build_sam_med3d
from sammoe_pipeline.paths import CHECKPOINT, FOUNDATION_JSON, FOUNDATION_WEIGHTS, TRAINING_LOG
from sammoe_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from sammoe_pipeline.training.interaction import click_tensors, interactive_loss
from sammoe_pipeline.training.losses import MaskLoss
from sammoe_pipeline.training.optimisation import autocast, learning_rate_at, make_optimiser
from sammoe_pipeline.training.prefetch import prefetch
from sammoe_pipeline.training.pretraining_views import (
    SPACING_RATIO,
    Batch,
    PretrainSettings,
    TrainingBatches,
    TrainingSource,
    count_structures,
    draw_batch,
)
from sammoe_pipeline.training.recognition import Recognition

logger = logging.getLogger(__name__)

_VALIDATION_VIEWS = 48
_RECOGNITION_WEIGHT = 1.0
_MOST_WORKERS = 8


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


def pretrain(
    sources: Sequence[TrainingSource],
    settings: PretrainSettings,
    folder: Path,
    *,
    device: str,
    command: str,
    compiled: bool = False,
) -> Path:
    """Trains a foundation, continuing where an earlier run of the same settings stopped.

    Args:
        sources: datasets, easiest first.
        settings: what decides the outcome.
        folder: where the foundation goes; checkpoints lie beside it.
        device: "cuda" or "cpu".
        command: how this was called, for the card.
        compiled: let `torch.compile` translate encoder and decoder first: a minute or two, then faster iterations.

    Returns:
        The folder, with `foundation.json` and weights in float16.

    Raises:
        TrainingError: the loss is not finite, or the checkpoint there is one of other settings or datasets.
    """
    from tqdm import tqdm

    recipe = {**asdict(settings), "datasets": tuple((source.name, source.anatomy) for source in sources)}
    torch.manual_seed(settings.seed)
    model = build_sam_med3d(settings.builder).to(device).train()
    recognition = Recognition(model, count_structures(sources)).to(device)
    learning = torch.nn.ModuleList([model, recognition])
    if compiled:
        model.image_encoder.compile()
        model.mask_decoder.compile(dynamic=False)
    optimiser = make_optimiser(learning, settings.learning_rate)
    loss_of = MaskLoss()
    start, log = 0, [["iteration", "seconds", "loss", "recognition", "learning_rate", "held_out_dice"]]
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
    recent_recognition: list[float] = []
    drawn = TrainingBatches(sources, settings, model.patch_size)
    # A card is through a batch sooner than one process draws the next; on a processor they would take its cores.
    workers = max(1, min(_MOST_WORKERS, (os.cpu_count() or 1) - 2)) if device == "cuda" else 1
    batches = prefetch(drawn, range(start, settings.iterations), workers=workers)
    bar = tqdm(batches, initial=start, total=settings.iterations, desc="Pretraining", mininterval=5)
    for iteration, batch in enumerate(bar, start):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(iteration, settings.iterations, settings.learning_rate)
        loss, recognised = _step(
            model, recognition, batch, loss_of, np.random.default_rng([settings.seed, iteration, 1]), device
        )
        if not torch.isfinite(loss):
            raise TrainingError(f"The loss is {loss.item()} at iteration {iteration}. Lower --learning_rate.")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + _RECOGNITION_WEIGHT * recognised)
        torch.nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.item())
        recent_recognition.append(recognised.item())
        done = iteration + 1
        if done % 100 == 0 or done == settings.iterations:
            dice = (
                validate(model, sources, settings, device) if done % 500 == 0 or done == settings.iterations else None
            )
            row = [
                str(done),
                f"{time.monotonic() - began:.0f}",
                f"{np.mean(recent):.4f}",
                f"{np.mean(recent_recognition):.4f}",
            ]
            row += [f"{optimiser.param_groups[0]['lr']:.2e}", "" if dice is None else f"{dice:.4f}"]
            log.append(row)
            bar.set_postfix(loss=row[2], dice=next((r[5] for r in reversed(log[1:]) if r[5]), ""))
            recent.clear()
            recent_recognition.clear()
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
    recognition: Recognition,
    batch: Batch,
    loss_of: MaskLoss,
    rng: np.random.Generator,
    device: str,
) -> tuple[Tensor, Tensor]:
    """Returns the loss of the masks and that of the recognition."""
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
            coarse=True,
        )
        return masks, recognition.loss(embedding, batch.structures.to(device), rng)


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
