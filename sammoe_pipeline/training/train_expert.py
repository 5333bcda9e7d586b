"""Finetuning one expert: a copy of the general or another decoder learns one task from frozen embeddings."""

from __future__ import annotations

import copy
import logging
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import ExpertCard, Task, provenance, sha256_of
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.clicks import first_click
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.foundations import Foundation, check_hash
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.model import MaskDecoder, SamMed3D
from sammoe_pipeline.paths import CHECKPOINT, EXPERT_JSON, EXPERT_WEIGHTS, Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from sammoe_pipeline.training.embedded_views import EmbeddedViews, TaskViews, embed_views
from sammoe_pipeline.training.interaction import click_tensors, interactive_loss
from sammoe_pipeline.training.losses import MaskLoss
from sammoe_pipeline.training.optimisation import autocast, learning_rate_at, make_optimiser
from sammoe_pipeline.training.watching import TrainingLog

logger = logging.getLogger(__name__)

_CHECKS = 10
_CALIBRATION_VIEWS = 64
_CLICK_IN_THE_MIDDLE = 0.7
_DECODED_TOGETHER = 8


@dataclass
class _State:
    """What training has reached; all that a checkpoint holds."""

    recipe: str
    decoder: MaskDecoder
    optimiser: torch.optim.Optimizer
    log: TrainingLog
    iteration: int = 0
    seconds: float = 0.0
    best_iteration: int = 0
    best_dice: float = -1.0
    best_weights: dict[str, Tensor] | None = None

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            {
                "recipe": self.recipe,
                "decoder": self.decoder.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "log": self.log.rows,
                "iteration": self.iteration,
                "seconds": self.seconds,
                "best_iteration": self.best_iteration,
                "best_dice": self.best_dice,
                "best_weights": self.best_weights,
            },
        )

    def restore(self, path: Path) -> bool:
        """Takes up the state of a checkpoint, unless that of another recipe."""
        state = load_checkpoint(path)
        if state.get("recipe") != self.recipe:
            return False
        self.decoder.load_state_dict(state["decoder"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.log.rows[:] = state["log"]
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.best_iteration, self.best_dice = state["best_iteration"], state["best_dice"]
        self.best_weights = state["best_weights"]
        return True


def train_expert(
    planned: PlannedDataset, task: Task, fold: int, *, foundation: Foundation, places: Results, device: str
) -> ExpertCard:
    """Finetunes a decoder for one task on one fold, going on from its latest checkpoint where there is one.

    Every batch is drawn from the seed and the number of its iteration, so a run that was stopped ends with the same
    weights as one that was not (on a CPU, at equal thread count). The weights with the best Dice on the fold's
    calibration cases are kept; its `val` cases are never read.

    Args:
        planned: the dataset and its plan.
        task: which classes, in which configuration.
        fold: which fold.
        foundation: what is finetuned; its own weights are not changed.
        places: where experts lie. The card is written last: an expert without a card is not finished.
        device: "cuda" or "cpu".

    Returns:
        The expert's card.

    Raises:
        TrainingError: there is nothing to learn from, or the loss is not finite.
        ArtefactError: the expert to start from is not there any more, or was trained again.
    """
    folder = places.expert_fold(planned.name, task.name, fold)
    model = foundation.load_model(device)
    decoder = _first_decoder(model, planned, task, places)
    training, calibration = _embed(planned, task, fold, model, foundation, device)
    state = _setup(decoder, planned, task, fold, folder)
    general_dice = _dice_by_class(model, None, calibration, device)
    _fit(state, model, training, calibration, planned, task, fold, folder, device)
    return _finish(state, model, calibration, general_dice, planned, task, fold, foundation, folder, device)


def _seed(planned: PlannedDataset, task: Task, fold: int) -> tuple[int, int, int]:
    return planned.plan.seed, fold, zlib.crc32(task.name.encode())


def _embed(
    planned: PlannedDataset, task: Task, fold: int, model: SamMed3D, foundation: Foundation, device: str
) -> tuple[EmbeddedViews, EmbeddedViews]:
    split = planned.fold(fold)
    configuration = planned.plan.configurations[task.configuration]
    seed = _seed(planned, task, fold)

    def views_of(cases: tuple[str, ...], *more: int) -> TaskViews:
        return TaskViews(
            planned,
            cases=cases,
            classes=task.classes,
            configuration=configuration,
            normalisation=foundation.card.normalisation,
            seed=[*seed, *more],
        )

    learnt = views_of(split.train, 1)
    for name in learnt.missing:
        logger.warning("%s, fold %d: no training case has '%s'; its expert cannot learn it", planned.name, fold, name)
    training = embed_views(model, learnt.training_view, task.budget.views, device=device, description="Embedding views")
    plain = views_of(split.calibration, 2).plain_views(per_target=2, limit=_CALIBRATION_VIEWS)
    calibration = embed_views(
        model, plain.__getitem__, len(plain), device=device, description="Embedding calibration views"
    )
    return training, calibration


def _first_decoder(model: SamMed3D, planned: PlannedDataset, task: Task, places: Results) -> MaskDecoder:
    """Returns the decoder that finetuning starts from: the general one, or that of another dataset's expert."""
    from safetensors.torch import load_file

    decoder = copy.deepcopy(model.mask_decoder)
    if task.start_from != GENERAL:
        start = planned.start_of(task)
        dataset, name = start.expert.split("/")
        weights = places.expert_fold(dataset, name, start.fold) / EXPERT_WEIGHTS
        check_hash(weights, start.sha256)
        decoder.load_state_dict(load_file(weights), strict=True)
    return decoder.requires_grad_(True).train()


def _setup(decoder: MaskDecoder, planned: PlannedDataset, task: Task, fold: int, folder: Path) -> _State:
    state = _State(
        recipe=planned.recipe(fold, task),
        decoder=decoder,
        optimiser=make_optimiser(decoder, planned.plan.training.learning_rate),
        log=TrainingLog(folder),
    )
    if (folder / CHECKPOINT).is_file():
        if state.restore(folder / CHECKPOINT):
            logger.info("Continuing at iteration %d of %d", state.iteration, task.budget.iterations)
        else:
            logger.warning("%s was made by another plan, split or foundation; starting again", folder / CHECKPOINT)
    return state


def _fit(
    state: _State,
    model: SamMed3D,
    training: EmbeddedViews,
    calibration: EmbeddedViews,
    planned: PlannedDataset,
    task: Task,
    fold: int,
    folder: Path,
    device: str,
) -> None:
    from tqdm import tqdm

    settings, iterations, seed = planned.plan.training, task.budget.iterations, _seed(planned, task, fold)
    loss_of = MaskLoss()
    check_every = max(1, iterations // _CHECKS)
    began = time.monotonic() - state.seconds
    losses: list[float] = []
    bar = tqdm(total=iterations, initial=state.iteration, desc=f"Training {folder.parent.name} {folder.name}")
    while state.iteration < iterations:
        rng = np.random.default_rng([*seed, 3, state.iteration])
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate_at(state.iteration, iterations, settings.learning_rate)
        loss = _batch_loss(
            state.decoder, model, training, rng, settings.batch_size, settings.interactions, loss_of, device
        )
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss.item()} at iteration {state.iteration}. Lower training.learning_rate in "
                f"{planned.paths.plan} and remove {folder / CHECKPOINT}."
            )
        state.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(state.decoder.parameters(), 1.0)
        state.optimiser.step()
        state.iteration += 1
        losses.append(loss.item())
        bar.update()
        if state.iteration % check_every == 0 or state.iteration == iterations:
            dice = _dice_by_class(model, state.decoder, calibration, device)
            mean = float(np.mean(list(dice.values())))
            if mean > state.best_dice:
                state.best_dice, state.best_iteration = mean, state.iteration
                state.best_weights = {name: value.clone() for name, value in state.decoder.state_dict().items()}
            state.seconds = time.monotonic() - began
            state.log.add(
                iteration=state.iteration,
                seconds=state.seconds,
                loss=float(np.mean(losses)),
                learning_rate=state.optimiser.param_groups[0]["lr"],
                calibration_dice=dice,
            )
            bar.set_postfix(loss=f"{np.mean(losses):.3f}", calibration_dice=f"{mean:.3f}")
            losses.clear()
            state.save(folder / CHECKPOINT)
    bar.close()


def _batch_loss(
    decoder: MaskDecoder,
    model: SamMed3D,
    views: EmbeddedViews,
    rng: np.random.Generator,
    batch_size: int,
    interactions: int,
    loss_of: MaskLoss,
    device: str,
) -> Tensor:
    chosen = rng.integers(len(views.clicks), size=batch_size).tolist()
    clicks = []
    for index in chosen:
        # Prediction centres the window on the click; some clicks elsewhere in the target keep the decoder flexible.
        elsewhere = None
        if rng.random() > _CLICK_IN_THE_MIDDLE:
            elsewhere = first_click(views.targets[index].numpy(), rng)
        clicks.append(elsewhere or views.clicks[index])
    with autocast(device):
        return interactive_loss(
            model,
            views.embeddings[chosen].float().to(device),
            clicks,
            views.targets[chosen][:, None].to(device),
            views.valid[chosen][:, None].to(device),
            loss_of=loss_of,
            rounds=int(rng.integers(1, interactions + 1)),
            rng=rng,
            decoder=decoder,
        )


def _dice_by_class(model: SamMed3D, decoder: MaskDecoder | None, views: EmbeddedViews, device: str) -> dict[str, float]:
    """Returns the mean Dice at one click of each class over views, by the general decoder where none is given."""
    scores: dict[str, list[float]] = {}
    for first in range(0, len(views.clicks), _DECODED_TOGETHER):
        some = slice(first, first + _DECODED_TOGETHER)
        points, labels = click_tensors([[click] for click in views.clicks[some]], device)
        with torch.inference_mode(), autocast(device):
            logits = model.decode(views.embeddings[some].float().to(device), points, labels, mask_decoder=decoder)
        known = views.valid[some]
        masks, truths = (model.upsample(logits.float())[:, 0] > 0).cpu() & known, views.targets[some] & known
        for name, mask, truth in zip(views.class_names[some], masks, truths, strict=True):
            total = int(mask.sum()) + int(truth.sum())
            scores.setdefault(name, []).append(2 * int((mask & truth).sum()) / max(1, total))
    return {name: float(np.mean(values)) for name, values in sorted(scores.items())}


def _finish(
    state: _State,
    model: SamMed3D,
    calibration: EmbeddedViews,
    general_dice: dict[str, float],
    planned: PlannedDataset,
    task: Task,
    fold: int,
    foundation: Foundation,
    folder: Path,
    device: str,
) -> ExpertCard:
    from safetensors.torch import save

    if state.best_weights is None:
        raise TrainingError(
            f"{folder}: no optimiser step was taken. Raise budget.iterations of the task in {planned.paths.plan}."
        )
    state.decoder.load_state_dict(state.best_weights)
    weights = {name: value.cpu().contiguous() for name, value in state.best_weights.items()}
    write_bytes(folder / EXPERT_WEIGHTS, save(weights))
    card = ExpertCard(
        dataset=planned.name,
        task=task.name,
        classes=task.classes,
        configuration=planned.plan.configurations[task.configuration],
        fold=fold,
        start_from=task.start_from,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        recipe=state.recipe,
        sha256=sha256_of(folder / EXPERT_WEIGHTS),
        iterations=state.iteration,
        best_iteration=state.best_iteration,
        calibration_dice=_dice_by_class(model, state.decoder, calibration, device),
        general_calibration_dice=general_dice,
        seconds=state.seconds,
        provenance=provenance(seed=planned.plan.seed, device=device, threads=torch.get_num_threads()),
    )
    card.save(folder / EXPERT_JSON)
    return card
