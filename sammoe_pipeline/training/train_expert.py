"""Finetuning one expert: a copy of the general or another decoder learns one task from frozen embeddings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sammoe_pipeline.artefacts import ExpertCard, JudgedOn, provenance, sha256_of
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import TrainingError, UsageError
from sammoe_pipeline.model import SamMed3D, at_patch_size
from sammoe_pipeline.paths import (
    CHECKPOINT,
    EXAMPLES_PNG,
    EXPERT_JSON,
)
from sammoe_pipeline.training.embedded_views import EmbeddedView, embed_training_views, embed_views
from sammoe_pipeline.training.embedding_cache import EmbeddingCache
from sammoe_pipeline.training.expert_job import ExpertJob
from sammoe_pipeline.training.expert_lesson import Lesson, Rounds
from sammoe_pipeline.training.expert_scores import CLICKS, ByClicks, dice_by_clicks, draw_examples
from sammoe_pipeline.training.expert_state import ExpertState
from sammoe_pipeline.training.first_decoder import first_decoder
from sammoe_pipeline.training.optimisation import autocast, learning_rate_at, make_optimiser, rate_after_extension
from sammoe_pipeline.training.peak_memory import peak_memory_mb
from sammoe_pipeline.training.pupil import Pupil
from sammoe_pipeline.training.task_views import AUGMENTATION_VERSION, TaskViews, View
from sammoe_pipeline.training.unfrozen import add_encoder, save_as_foundation, unfreeze
from sammoe_pipeline.training.views import PreparedCase
from sammoe_pipeline.training.watching import TrainingLog

logger = logging.getLogger(__name__)

_CHECKS = 10
_PATIENCE = 5
"""Training ends early after so many checks without a better one."""
_CALIBRATION_VIEWS = 64
_CORRECTED = 4
"""While it trains, one view in so many is answered with more than one click."""


@dataclass(frozen=True)
class _Examination:
    """The cases that tell how well an expert has learnt.

    Attributes:
        judged_on: part of the fold that they are of.
        plain: views of them; none in all but the first of several processes.
        embedded: the same, embedded.
        general: who they are answered by without training.
    """

    judged_on: JudgedOn
    plain: list[View]
    embedded: list[EmbeddedView]
    general: Pupil


def train_expert(job: ExpertJob) -> ExpertCard | None:
    """Finetunes a decoder for one task on one fold, going on from its latest checkpoint where there is one.

    Every batch is drawn from the seed and the number of its iteration, so a run that was stopped ends with the same
    weights as one that was not (on a CPU, at equal thread count). The weights with the best Dice on the fold's
    calibration cases are kept, or, where none of these has a class of the task, on its training cases, which is said;
    its `val` cases are never read.

    Args:
        job: what to train. The card is written last: an expert without a card is not finished.

    Returns:
        The expert's card; None in all but the first of several processes.

    Raises:
        TrainingError: there is nothing to learn from, or the loss is not finite.
        ArtefactError: the expert to start from is not there any more, or was trained again.
        UsageError: there is a checkpoint of another plan where one was to be continued.
    """
    if torch.device(job.device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)  # One process trains several experts.
    model = _network(job)
    general = Pupil(model, None) if job.unfrozen == "nothing" else Pupil(_network(job), None, encodes=True)
    decoder = first_decoder(job, model)
    state = _setup(job, unfreeze(model, decoder, job.unfrozen))
    pupil = Pupil(model, decoder, encodes=general.encodes)
    lesson = _lesson(job, pupil)
    examination = _examination(job, general)
    _fit(job, state, pupil, lesson, examination)
    return _finish(job, state, pupil, examination) if job.team.writes else None


def _network(job: ExpertJob) -> SamMed3D:
    """Returns the foundation's network for windows of the task's size."""
    patch_size = job.planned.plan.configurations[job.task.configuration].patch_size
    return at_patch_size(job.foundation.load_model(job.device), patch_size)


def _views(job: ExpertJob, cases: tuple[str, ...], *seed: int, negatives: float = 0.0) -> TaskViews:
    return TaskViews(
        job.planned,
        cases=cases,
        classes=job.task.classes,
        configuration=job.planned.plan.configurations[job.task.configuration],
        normalisation=job.foundation.card.normalisation,
        seed=[*job.seed, *seed],
        negatives=negatives,
    )


def _examination(job: ExpertJob, general: Pupil) -> _Examination:
    judged_on = _judged_on(job)
    if not job.team.writes:
        return _Examination(judged_on, [], [], general)
    fold = job.planned.fold(job.fold)
    if judged_on == "train":
        logger.warning(
            "%s, %s, fold %d: no calibration case has any of its classes, so the training cases tell which weights are "
            "kept, and its Dice on them flatters",
            job.planned.name,
            job.task.name,
            job.fold,
        )
    cases = fold.train if judged_on == "train" else fold.calibration
    plain = _views(job, cases, 2).plain_views(per_target=2, limit=_CALIBRATION_VIEWS)
    embedded = embed_views(_encode(general), plain, device=job.device, description="Embedding calibration views")
    return _Examination(judged_on, plain, embedded, general)


def _judged_on(job: ExpertJob) -> JudgedOn:
    """Returns the part of the fold that tells how well an expert has learnt."""
    for name in job.planned.fold(job.fold).calibration:
        case = PreparedCase.of(job.planned.paths, job.task.configuration, name)
        if any(case.properties.class_locations[class_name] for class_name in job.task.classes):
            return "calibration"
    return "train"


def _encode(pupil: Pupil) -> Callable[[Tensor], Tensor]:
    """Returns what makes of images what views hold."""
    return _as_it_is if pupil.encodes else pupil.model.encode


def _as_it_is(images: Tensor) -> Tensor:
    return images


def _lesson(job: ExpertJob, pupil: Pupil) -> Lesson:
    settings, model = job.planned.plan.training, pupil.model
    views = _views(job, job.planned.fold(job.fold).train, 1, negatives=settings.negatives)
    for name in views.missing:
        logger.warning(
            "%s, fold %d: no training case has '%s'; its expert cannot learn it", job.planned.name, job.fold, name
        )
    cache = _cache(job, model.embedding_channels)
    held = model.patch_size**3 if pupil.encodes else model.embedding_channels * model.embedding_size**3
    rounds = Rounds(
        lambda numbers: embed_training_views(
            _encode(pupil), views, numbers, cache=cache, device=job.device, description="Embedding views"
        ),
        job.task.budget,
        batch_size=settings.batch_size,
        positions=job.team.own(settings.batch_size),
        bytes_a_view=2 * held + 2 * model.patch_size**3,
    )
    return Lesson(pupil, rounds, settings, seed=job.seed, team=job.team, device=job.device)


def _cache(job: ExpertJob, channels: int) -> EmbeddingCache | None:
    if not job.cache_bytes or job.unfrozen != "nothing":
        return None
    plan = job.planned.plan
    with autocast(job.device):
        rounded = torch.is_autocast_enabled(torch.device(job.device).type)
    recipe = {
        "foundation": job.foundation.card.sha256,
        "normalisation": job.foundation.card.normalisation,
        "configuration": plan.configurations[job.task.configuration].model_dump(),
        "augmentation": AUGMENTATION_VERSION,
        "mirror_axes": plan.training.mirror_axes,
        "labels": job.planned.description.labels,
        "ignore": job.planned.description.ignore,
        "targets": {name: plan.classes[name].target for name in job.task.classes},
        "seed": plan.seed,
        "channels": channels,
        "bfloat16": rounded,
    }
    return EmbeddingCache(job.planned.paths.embeddings, recipe, limit=job.cache_bytes)


def _setup(job: ExpertJob, student: nn.Module) -> ExpertState:
    planned, checkpoint = job.planned, job.folder / CHECKPOINT
    optimiser = make_optimiser(
        student.mask_decoder if isinstance(student, SamMed3D) else student, planned.plan.training.learning_rate
    )
    if isinstance(student, SamMed3D):
        add_encoder(optimiser, student)
    state = ExpertState(
        recipe=planned.recipe(job.fold, job.task),
        lesson=planned.recipe(job.fold, job.task, budget=False),
        student=student,
        optimiser=optimiser,
        log=TrainingLog(job.folder),
        budget=job.task.budget.iterations,
    )
    if checkpoint.is_file():
        if state.restore(checkpoint, other_budget=job.must_continue):
            logger.info("Continuing at iteration %d of %d", state.iteration, state.budget)
        elif job.must_continue:
            raise UsageError(
                f"--c: {checkpoint} was made by another plan, split or foundation, so it cannot be continued. Leave "
                f"--c out to train anew."
            )
        else:
            logger.warning("%s was made by another plan, split or foundation; starting again", checkpoint)
    return state


def _fit(job: ExpertJob, state: ExpertState, pupil: Pupil, lesson: Lesson, examination: _Examination) -> None:
    from tqdm import tqdm

    iterations, trained = state.budget, [p for p in state.student.parameters() if p.requires_grad]
    check_every = max(1, iterations // _CHECKS)
    began = time.monotonic() - state.seconds
    losses: list[float] = []
    name = f"Training {job.task.name} fold_{job.fold}"
    bar = tqdm(total=iterations, initial=state.iteration, desc=name, disable=not job.team.writes)
    while state.iteration < iterations and not _stops_early(state, check_every):
        state.rate = _rate(job, state)
        for group in state.optimiser.param_groups:
            group["lr"] = state.rate * group.get("scale", 1.0)
        part = lesson.loss(state.iteration)
        state.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(part)
        loss = job.team.add_up(trained, part)
        if not np.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at iteration {state.iteration}. Lower training.learning_rate in "
                f"{job.planned.paths.plan} and remove {job.folder / CHECKPOINT}."
            )
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        state.optimiser.step()
        state.iteration += 1
        losses.append(loss)
        bar.update()
        if state.iteration % check_every == 0 or state.iteration == iterations:
            state.seconds = time.monotonic() - began
            mean = _check(job, state, pupil, examination, float(np.mean(losses)))
            bar.set_postfix(loss=f"{np.mean(losses):.3f}", calibration_dice=f"{mean:.3f}")
            losses.clear()
    bar.close()


def _rate(job: ExpertJob, state: ExpertState) -> float:
    planned = learning_rate_at(state.iteration, state.budget, job.planned.plan.training.learning_rate)
    if state.extended is None:
        return planned
    return rate_after_extension(state.iteration, state.budget, planned, *state.extended)


def _stops_early(state: ExpertState, check_every: int) -> bool:
    return state.best_weights is not None and state.iteration - state.best_iteration >= _PATIENCE * check_every


def _check(job: ExpertJob, state: ExpertState, pupil: Pupil, examination: _Examination, loss: float) -> float:
    """Measures the student on the calibration cases, keeps it if it is the best so far, and writes a checkpoint.

    Returns:
        The mean Dice over classes at one click.
    """
    dice: ByClicks = {}
    if job.team.writes:
        dice = dice_by_clicks(pupil, examination.embedded, device=job.device, clicks=CLICKS[:1])
        # A user who corrects takes most of the time of a check: of some views that says enough to look at.
        dice |= dice_by_clicks(pupil, examination.embedded[::_CORRECTED], device=job.device, clicks=CLICKS[1:])
    dice = job.team.agree(dice)
    mean = float(np.mean(list(dice[1].values())))
    if mean > state.best_dice:
        state.best_dice, state.best_iteration = mean, state.iteration
        state.best_weights = {name: value.clone() for name, value in state.student.state_dict().items()}
    if job.team.writes:
        state.log.add(
            iteration=state.iteration,
            seconds=state.seconds,
            loss=loss,
            learning_rate=state.rate,
            calibration_dice=dice,
        )
        state.save(job.folder / CHECKPOINT)
    return mean


def _finish(job: ExpertJob, state: ExpertState, pupil: Pupil, examination: _Examination) -> ExpertCard:
    from safetensors.torch import save

    if state.best_weights is None:
        raise TrainingError(
            f"{job.folder}: no optimiser step was taken. Raise budget.iterations of the task in "
            f"{job.planned.paths.plan}."
        )
    state.student.load_state_dict(state.best_weights)
    weights = {name: value.cpu().contiguous() for name, value in state.best_weights.items()}
    write_bytes(job.weights, save(weights))
    dice, general = (
        dice_by_clicks(who, examination.embedded, device=job.device) for who in (pupil, examination.general)
    )
    draw_examples(
        job.folder / EXAMPLES_PNG,
        examination.general,
        pupil,
        examination.plain,
        examination.embedded,
        device=job.device,
    )
    if job.unfrozen != "nothing":
        origin = job.foundation.card.model_copy(update={"patch_size": pupil.model.patch_size})
        save_as_foundation(origin, job.planned.name, job.task, job.unfrozen, job.fold, job.weights)
    card = ExpertCard(
        dataset=job.planned.name,
        task=job.task.name,
        classes=job.task.classes,
        configuration=job.planned.plan.configurations[job.task.configuration],
        fold=job.fold,
        start_from=job.task.start_from,
        foundation=job.foundation.card.name,
        foundation_sha256=job.foundation.card.sha256,
        recipe=state.recipe,
        sha256=sha256_of(job.weights),
        iterations=state.iteration,
        best_iteration=state.best_iteration,
        judged_on=examination.judged_on,
        calibration_dice=dice[1],
        general_calibration_dice=general[1],
        calibration_by_clicks={str(number): by_class for number, by_class in dice.items()},
        general_calibration_by_clicks={str(number): by_class for number, by_class in general.items()},
        unfrozen=job.unfrozen,
        second_look=pupil.decoder is not None and pupil.decoder.second_look is not None,
        stopped_early=state.iteration < state.budget,
        memory_mb=round(peak_memory_mb(job.device), 1),
        seconds=state.seconds,
        provenance=provenance(seed=job.planned.plan.seed, device=job.device, threads=torch.get_num_threads()),
    )
    card.save(job.folder / EXPERT_JSON)
    return card
