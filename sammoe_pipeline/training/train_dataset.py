"""All that is to be trained for one dataset: every task's expert and the locator, fold by fold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sammoe_pipeline.artefacts import ExpertCard, LocatorCard
from sammoe_pipeline.errors import SammoeError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.model import has_detail
from sammoe_pipeline.parallel import run_jobs, worker_place
from sammoe_pipeline.paths import (
    CHECKPOINT,
    EXPERT_JSON,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.data_parallel import ALONE, Team
from sammoe_pipeline.training.expert_job import ExpertJob, Unfrozen
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
    cache_bytes: float = 0.0,
    unfrozen: Unfrozen = "nothing",
    team: Team = ALONE,
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
        cache_bytes: that embeddings of training views may take on disk; 0 keeps none.
        unfrozen: part of the image encoder that is trained too, "neck" or "all": plain finetuning to compare with,
            which is no expert of a mixture. No locator is fitted then.
        team: the processes that train each expert together, one expert after another.

    Raises:
        UsageError: unknown fold or task, nothing to continue, or a second look where there is no detail to add to.
        TrainingError: a training failed.
    """
    places = Results(root=results, foundation=foundation.card.name)
    wanted = tuple(folds) if folds is not None else tuple(range(planned.num_folds))
    chosen = planned.plan.tasks if tasks is None else tuple(planned.task(name) for name in tasks)
    for fold in wanted:
        planned.fold(fold)
    if planned.plan.training.second_look and not has_detail(foundation.card.builder):
        raise UsageError(
            f"{planned.paths.plan}: training.second_look is true, but foundation '{foundation.card.name}' has no "
            f"detail for it to add to. Set it to false."
        )
    if not chosen:
        logger.info("%s: the general expert is good enough for every class; only the locator is fitted", planned.name)
    missing: list[ExpertJob | _Locator] = []
    for task in chosen:
        for fold in wanted:
            job = ExpertJob(
                planned,
                task,
                fold,
                foundation,
                places,
                device,
                cache_bytes=cache_bytes,
                must_continue=must_continue,
                unfrozen=unfrozen,
                team=team,
            )
            if _finished(ExpertCard, job.folder / EXPERT_JSON, job.weights, planned.recipe(fold, task)):
                logger.info("%s, %s, fold %d: finished", planned.name, task.name, fold)
            else:
                missing.append(job)
    if must_continue and not any((job.folder / CHECKPOINT).is_file() for job in missing):
        raise UsageError(
            f"--c: no training of {planned.name} in folds {', '.join(map(str, wanted))} was stopped on its way, so "
            f"there is nothing to continue. Leave --c out to train what is missing."
        )
    for fold in wanted if tasks is None and unfrozen == "nothing" else ():
        folder = places.locator_fold(planned.name, fold)
        if _finished(LocatorCard, folder / LOCATOR_JSON, folder / LOCATOR_WEIGHTS, planned.recipe(fold)):
            logger.info("%s, locator, fold %d: finished", planned.name, fold)
        else:
            missing.append(_Locator(planned, fold, foundation, folder, device, team))
    team.agree(None)  # Nobody writes before everybody has seen what is missing.
    cards = torch.cuda.device_count() if device == "cuda" else 0
    workers = min(workers or max(1, cards), max(1, len(missing))) if team.size == 1 else 1
    threads = max(1, torch.get_num_threads() // workers)
    jobs = [_Training(job, cards, threads) for job in sorted(missing, key=lambda job: -job.iterations)]
    run_jobs(_train, jobs, workers=workers, description=f"Training for {planned.name}", unit="network")


@dataclass(frozen=True)
class _Locator:
    """A locator to be trained.

    Attributes:
        planned: the dataset.
        fold: which fold.
        foundation: whose encoder is used.
        folder: where it goes.
        device: "cuda" or "cpu".
        team: the first of these processes trains it.
    """

    planned: PlannedDataset
    fold: int
    foundation: Foundation
    folder: Path
    device: str
    team: Team

    @property
    def iterations(self) -> int:
        return self.planned.plan.locator_budget.iterations


@dataclass(frozen=True)
class _Training:
    """One expert or locator to be trained, for whichever process takes it.

    Attributes:
        job: which.
        cards: how many there are to choose from.
        threads: torch may use.
    """

    job: ExpertJob | _Locator
    cards: int
    threads: int


def _train(one: _Training) -> None:
    torch.set_num_threads(one.threads)
    job = one.job
    if one.cards > 1:
        job = replace(job, device=f"cuda:{worker_place() % one.cards}")
    if isinstance(job, ExpertJob):
        train_expert(job)
    elif job.team.writes:
        train_locator(job.planned, job.fold, foundation=job.foundation, folder=job.folder, device=job.device)


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
