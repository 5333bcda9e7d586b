"""All that is to be trained for one dataset: every task's expert and the locator, fold by fold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sammoe_pipeline.artefacts import ExpertCard, LocatorCard, Task
from sammoe_pipeline.errors import SammoeError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.parallel import run_jobs, worker_place
from sammoe_pipeline.paths import (
    CHECKPOINT,
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.train_expert import train_expert
from sammoe_pipeline.training.train_locator import train_locator

logger = logging.getLogger(__name__)


def train_dataset(
    planned: PlannedDataset,
    *,
    folds: Sequence[int] | None,
    tasks: Sequence[str] | None,
    must_continue: bool,
    foundation: Foundation,
    results: Path,
    device: str,
    workers: int | None = None,
) -> None:
    """Trains what is not finished, the longest first.

    Args:
        planned: the dataset.
        folds: which folds; all by default.
        tasks: names of the tasks; by default all of them and the locator.
        must_continue: there has to be a checkpoint to go on from.
        foundation: what is finetuned.
        results: root of results.
        device: "cuda" or "cpu".
        workers: experts that are trained at a time, each in a process of its own: on a card of its own as long as there
            are cards, or on its share of this process's threads. By default one a card, and on a processor one.

    Raises:
        UsageError: unknown fold or task, or nothing to continue.
        TrainingError: a training failed.
    """
    places = Results(root=results, foundation=foundation.card.name)
    wanted = tuple(folds) if folds is not None else tuple(range(planned.num_folds))
    chosen = planned.plan.tasks if tasks is None else tuple(planned.task(name) for name in tasks)
    for fold in wanted:
        planned.fold(fold)
    if not chosen:
        logger.info("%s: the general expert is good enough for every class; only the locator is fitted", planned.name)
    missing: list[tuple[Task | None, int]] = []
    for task in chosen:
        for fold in wanted:
            folder = places.expert_fold(planned.name, task.name, fold)
            if _finished(ExpertCard, folder / EXPERT_JSON, folder / EXPERT_WEIGHTS, planned.recipe(fold, task)):
                logger.info("%s, %s, fold %d: finished", planned.name, task.name, fold)
            else:
                missing.append((task, fold))
    checkpoints = [places.expert_fold(planned.name, task.name, fold) / CHECKPOINT for task, fold in missing if task]
    if must_continue and not any(checkpoint.is_file() for checkpoint in checkpoints):
        raise UsageError(
            f"--c: no training of {planned.name} in folds {', '.join(map(str, wanted))} was stopped on its way, so "
            f"there is nothing to continue. Leave --c out to train what is missing."
        )
    for fold in wanted if tasks is None else ():
        folder = places.locator_fold(planned.name, fold)
        if _finished(LocatorCard, folder / LOCATOR_JSON, folder / LOCATOR_WEIGHTS, planned.recipe(fold)):
            logger.info("%s, locator, fold %d: finished", planned.name, fold)
        else:
            missing.append((None, fold))
    cards = torch.cuda.device_count() if device == "cuda" else 0
    workers = min(workers or max(1, cards), max(1, len(missing)))
    jobs = [
        _Training(
            planned, task, fold, foundation, places, device, cards, threads=max(1, torch.get_num_threads() // workers)
        )
        for task, fold in sorted(missing, key=lambda one: -_iterations(planned, one[0]))
    ]
    run_jobs(_train, jobs, workers=workers, description=f"Training for {planned.name}", unit="network")


@dataclass(frozen=True)
class _Training:
    """One expert or locator to be trained, for whichever process takes it.

    Attributes:
        planned: the dataset.
        task: the expert's; None for the locator.
        fold: which fold.
        foundation: what is finetuned.
        places: of results.
        device: "cuda" or "cpu".
        cards: how many there are to choose from.
        threads: torch may use.
    """

    planned: PlannedDataset
    task: Task | None
    fold: int
    foundation: Foundation
    places: Results
    device: str
    cards: int
    threads: int


def _iterations(planned: PlannedDataset, task: Task | None) -> int:
    return (task.budget if task else planned.plan.locator_budget).iterations


def _train(one: _Training) -> None:
    torch.set_num_threads(one.threads)
    device = f"cuda:{worker_place() % one.cards}" if one.cards > 1 else one.device
    if one.task is not None:
        train_expert(one.planned, one.task, one.fold, foundation=one.foundation, places=one.places, device=device)
        return
    folder = one.places.locator_fold(one.planned.name, one.fold)
    train_locator(one.planned, one.fold, foundation=one.foundation, folder=folder, device=device)


def _finished(model: type[ExpertCard] | type[LocatorCard], card: Path, weights: Path, recipe: str) -> bool:
    if not card.is_file() or not weights.is_file():
        return False
    try:
        same = model.load(card).recipe == recipe
    except SammoeError as error:
        logger.warning("%s; it is trained again", error)
        return False
    if not same:
        logger.warning("%s was trained by another plan, split or foundation; it is trained again", card)
    return same
