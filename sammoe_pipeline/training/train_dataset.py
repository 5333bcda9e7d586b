"""All that is to be trained for one dataset: every task's expert and the locator, fold by fold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sammoe_pipeline.artefacts import ExpertCard, LocatorCard
from sammoe_pipeline.errors import SammoeError, UsageError
from sammoe_pipeline.foundations import Foundation
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
) -> None:
    """Trains what is not finished.

    Args:
        planned: the dataset.
        folds: which folds; all by default.
        tasks: names of the tasks; by default all of them and the locator.
        must_continue: there has to be a checkpoint to go on from.
        foundation: what is finetuned.
        results: root of results.
        device: "cuda" or "cpu".

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
    missing = []
    for task in chosen:
        for fold in wanted:
            folder = places.expert_fold(planned.name, task.name, fold)
            if _finished(ExpertCard, folder / EXPERT_JSON, folder / EXPERT_WEIGHTS, planned.recipe(fold, task)):
                logger.info("%s, %s, fold %d: finished", planned.name, task.name, fold)
            else:
                missing.append((task, fold, folder / CHECKPOINT))
    if must_continue and not any(checkpoint.is_file() for _, _, checkpoint in missing):
        raise UsageError(
            f"--c: no training of {planned.name} in folds {', '.join(map(str, wanted))} was stopped on its way, so "
            f"there is nothing to continue. Leave --c out to train what is missing."
        )
    for task, fold, _ in missing:
        train_expert(planned, task, fold, foundation=foundation, places=places, device=device)
    for fold in wanted if tasks is None else ():
        folder = places.locator_fold(planned.name, fold)
        if _finished(LocatorCard, folder / LOCATOR_JSON, folder / LOCATOR_WEIGHTS, planned.recipe(fold)):
            logger.info("%s, locator, fold %d: finished", planned.name, fold)
            continue
        train_locator(planned, fold, foundation=foundation, folder=folder, device=device)


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
