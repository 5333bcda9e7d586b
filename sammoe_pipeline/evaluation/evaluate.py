"""Running the held-out cases of every fold through the general expert, the experts and the mixture."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from sammoe_pipeline.artefacts import MixtureCard, provenance, sha256_of
from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.evaluation.case_run import Asked, CaseRun
from sammoe_pipeline.evaluation.finished import FinishedCase, FinishedCases, kept
from sammoe_pipeline.evaluation.held_out import HeldOutCase, held_out_cases
from sammoe_pipeline.evaluation.oracles import oracle_records
from sammoe_pipeline.evaluation.pictures import Picture
from sammoe_pipeline.evaluation.records import ClassName, write_cases, write_experts, write_routing
from sammoe_pipeline.evaluation.report import write_report
from sammoe_pipeline.evaluation.summary import EvaluationSummary, Resources, summarise
from sammoe_pipeline.evaluation.tolerances import surface_tolerances
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.paths import (
    CASES_CSV,
    EVALUATION,
    EXPERTS_CSV,
    FINISHED_CASES,
    MIXTURE_JSON,
    ROUTING_CSV,
    SUMMARY_JSON,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_case import RawLabelledCase
from sammoe_pipeline.raw_dataset import RawDataset
from sammoe_pipeline.threads import side_by_side

logger = logging.getLogger(__name__)

_PICTURED = 12
"""Classes of a dataset of which pictures are shown."""


def evaluate(
    planned: Sequence[PlannedDataset],
    raw: Sequence[RawDataset],
    *,
    name: str,
    folds: Sequence[int] | None,
    foundation: Foundation,
    results: Path,
    clicks: Sequence[int],
    num_seeds: int,
    device: str,
    encoder: EncoderOptions = EXACT,
    cases_of_fold: int | None = None,
    forgetting: int | None = None,
    tolerance_mm: float | None = None,
    class_tolerances_mm: Mapping[str, float] | None = None,
) -> EvaluationSummary:
    """Evaluates a mixture on the cases that each fold holds out, and writes tables, summary and report.

    The first click follows one seeded rule and is the same for every method; later clicks correct each method's own
    mask. The gate is not told which class is meant: it chooses among all experts of the mixture. Scores are over the
    original grid, over the union of a class's targets. Cases that an interrupted evaluation finished are not asked
    again.

    Args:
        planned: the mixture's datasets.
        raw: their files, in the same order.
        name: of the mixture.
        folds: mixture folds; all by default.
        foundation: of the mixture.
        results: root of results.
        clicks: numbers of clicks to report; 0 is the locator's prompt.
        num_seeds: how often clicks are drawn.
        device: "cuda" or "cpu".
        encoder: how the image encoder computes.
        cases_of_fold: ask in at most so many of the cases that a fold of a dataset holds out, a seeded choice; all by
            default.
        forgetting: also ask every expert about everybody's classes, at one click, in at most so many held-out cases of
            each dataset and fold.
        tolerance_mm: of surface Dice; by default the edge of a cube as large as a voxel, median over a dataset's cases.
        class_tolerances_mm: of single classes, by name or `DATASET/CLASS`, in place of `tolerance_mm`.

    Raises:
        UsageError: the mixture lacks a fold, no dataset holds out cases in these folds, one click is not among those
            to report but needed, or a tolerance names no class.
    """
    if forgetting is not None and 1 not in clicks:
        raise UsageError(
            "--forgetting: experts are asked at one click, so the others have to be, too. Add 1 to --clicks."
        )
    mixture_folder = Results(root=results, foundation=foundation.card.name).mixture(name)
    card = MixtureCard.load(mixture_folder / MIXTURE_JSON)
    wanted = card.folds if folds is None else tuple(folds)
    if missing := [fold for fold in wanted if fold not in card.folds]:
        raise UsageError(f"-f {missing[0]}: mixture '{name}' has folds {', '.join(map(str, card.folds))}.")
    # A mixture may hold a choice of the plans' experts: classes of the others are general tasks in it.
    joined = {expert_key(expert.dataset, expert.task) for expert in card.experts}
    planned = [dataset.with_experts(joined) for dataset in planned]
    tolerances_mm = surface_tolerances(planned, tolerance_mm, class_tolerances_mm or {})
    settings = {
        "mixture": sha256_of(mixture_folder / MIXTURE_JSON),
        "foundation": foundation.card.sha256,
        "computed": [encoder.on(device), torch.get_num_threads()],
    }
    asked = Asked(clicks=tuple(sorted(set(clicks))), num_seeds=num_seeds, forgetting=False)
    jobs = held_out_cases(planned, raw, wanted, asked, cases_of_fold, forgetting or 0, settings, tolerances_mm)
    if not jobs:
        raise UsageError(f"-f: no dataset of mixture '{name}' holds out cases in folds {', '.join(map(str, wanted))}.")
    folder = mixture_folder / EVALUATION
    store = FinishedCases(folder / FINISHED_CASES)
    finished = _ask(
        jobs,
        store,
        tolerances_mm,
        name=name,
        foundation=foundation,
        results=results,
        device=device,
        encoder=encoder,
    )
    experts = [record for _, one in finished for record in one.experts]
    answers = [record for _, one in finished for record in one.cases]
    cases = [*answers, *oracle_records(answers, experts)]
    routing = [record for _, one in finished for record in one.routing]
    summary = summarise(
        cases,
        routing,
        experts,
        mixture=card,
        foundation=foundation.card,
        held_out={dataset.name: [job.case for job in jobs if job.dataset.name == dataset.name] for dataset in planned},
        provenance=provenance(seed=0, device=encoder.on(device), threads=torch.get_num_threads()),
        patients={
            (dataset.name, case): patient
            for dataset, files in zip(planned, raw, strict=True)
            for case, patient in files.patients.items()
        },
        absent=Counter((one.dataset, class_name) for _, one in finished for class_name in one.absent),
        tolerances_mm=tolerances_mm,
        cases_of_fold=cases_of_fold,
        forgetting_cases=None if all(job.asked.forgetting for job in jobs) else forgetting,
        resources=_resources([one for _, one in finished]),
    )
    write_cases(folder / CASES_CSV, cases)
    write_routing(folder / ROUTING_CSV, routing)
    if forgetting is not None:
        write_experts(folder / EXPERTS_CSV, experts)
    else:
        (folder / EXPERTS_CSV).unlink(missing_ok=True)  # It would belong to an earlier evaluation.
    summary.save(folder / SUMMARY_JSON)
    pictures = _pictures_by_class(planned, store, finished)
    write_report(folder, summary, cases, routing, card.calibration, pictures)
    return summary


def _ask(
    jobs: Sequence[HeldOutCase],
    store: FinishedCases,
    tolerances_mm: Mapping[ClassName, float],
    *,
    name: str,
    foundation: Foundation,
    results: Path,
    device: str,
    encoder: EncoderOptions,
) -> list[tuple[int, FinishedCase]]:
    """Returns fold and records of every case, asking those that are not finished yet, a few side by side."""
    from tqdm import tqdm

    finished = {job: store.load(job.dataset.name, job.fold, job.case, job.key) for job in jobs}
    if done := sum(one is not None for one in finished.values()):
        logger.info("%d of %d cases are finished already: %s", done, len(jobs), store.folder)
    with tqdm(total=len(jobs) - done, desc=f"Evaluating {name}", unit="case", disable=not jobs) as bar:
        for fold in sorted({job.fold for job, one in finished.items() if one is None}):
            mixture = Mixture.load(
                name, foundation=foundation, results=results, device=device, folds=[fold], encoder=encoder
            )

            def run(job: HeldOutCase, mixture: Mixture = mixture) -> tuple[HeldOutCase, FinishedCase, list[Picture]]:
                began = time.monotonic()
                case = CaseRun(
                    mixture=mixture,
                    labelled=RawLabelledCase.read(job.dataset, job.files, job.case),
                    fold=job.fold,
                    foundation=foundation,
                    asked=job.asked,
                    tolerances_mm={
                        label: tolerances_mm[job.dataset.name, label] for label in job.dataset.description.labels
                    },
                    pictured=_pictured(job.dataset),
                )
                case.judge()
                return job, _finish(job, case, time.monotonic() - began), case.pictures

            open_jobs = [job for job, one in finished.items() if one is None and job.fold == fold]
            for job, one, pictures in side_by_side(run, open_jobs):
                store.save(one, job.fold, pictures)
                finished[job] = one
                bar.update()
    return [(job.fold, one) for job, one in finished.items() if one is not None]


def _finish(job: HeldOutCase, run: CaseRun, seconds: float) -> FinishedCase:
    on_card = run.mixture.device.type == "cuda"
    return FinishedCase(
        key=job.key,
        dataset=job.dataset.name,
        case=job.case,
        cases=tuple(run.cases),
        routing=tuple(run.routing),
        experts=tuple(run.experts),
        absent=tuple(run.absent),
        pictures=kept(run.pictures),
        seconds=seconds,
        memory_mb=_memory_mb(),
        gpu_memory_mb=torch.cuda.max_memory_allocated() / 2**20 if on_card else None,
    )


def _resources(finished: Sequence[FinishedCase]) -> Resources:
    held = [one.memory_mb for one in finished if one.memory_mb is not None]
    allocated = [one.gpu_memory_mb for one in finished if one.gpu_memory_mb is not None]
    return Resources(
        seconds_per_case=median(one.seconds for one in finished),
        memory_mb=max(held, default=None),
        gpu_memory_mb=max(allocated, default=None),
    )


def _memory_mb() -> float | None:
    """Returns the most memory that this process has held; None on systems that do not tell."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _pictured(dataset: PlannedDataset) -> tuple[str, ...]:
    """Returns the classes to show, chosen before anything is known of the results: one of each task, then a second."""
    by_task: dict[str, list[str]] = {}
    for label in dataset.description.labels:
        task = dataset.plan.classes[label].task
        if task is not None:
            by_task.setdefault(task, []).append(label)
    ranked = [(place, label) for labels in by_task.values() for place, label in enumerate(labels)]
    return tuple(label for _, label in sorted(ranked, key=lambda pair: pair[0])[:_PICTURED])


def _pictures_by_class(
    planned: Sequence[PlannedDataset], store: FinishedCases, finished: Sequence[tuple[int, FinishedCase]]
) -> Iterator[list[Picture]]:
    """Yields the pictures of one class after another."""
    for dataset in planned:
        for label in _pictured(dataset):
            if found := store.pictures(finished, dataset.name, label):
                yield found
