"""From a raw dataset to a planned and prepared one, step by step; each step does only what is missing."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from planning.candidate_experts import find_candidates
from planning.fingerprint import digest_of_raw, take_fingerprint
from planning.memory import Memory, usual_target_gb
from planning.patients import name_patients
from planning.plan_check import check_plan
from planning.planner import make_plan
from planning.splits import DEFAULT_FOLDS, check_splits, fold_count, make_splits
from sammoe_pipeline.artefacts import DatasetFingerprint, Grouping, Plan, Splits
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.paths import DATASET_JSON, Folders, PreprocessedDataset
from sammoe_pipeline.preprocessing import prepare_dataset
from sammoe_pipeline.raw_dataset import RawDataset, read_raw_dataset
from sammoe_pipeline.verify import verify_raw_dataset

logger = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.8
DEFAULT_SEED = 0
DEFAULT_GROUPING: Grouping = "by_scale"
DEFAULT_EFFORT = 1.0


@dataclass(frozen=True)
class Wishes:
    """What a user may say about a plan; None leaves it to what is there already, or to the default.

    Attributes:
        num_folds: folds to split into.
        expert_threshold: Dice from which the general expert is good enough.
        grouping: which classes share an expert.
        effort: how long experts and the locator train, as a share of what is usual.
        seed: of everything random.
        memory_target_gb: gigabytes that finetuning may take on the device that computes.
        patients: what of a case's name is its patient; see `name_patients`.
    """

    num_folds: int | None = None
    expert_threshold: float | None = None
    grouping: Grouping | None = None
    effort: float | None = None
    seed: int | None = None
    memory_target_gb: float | None = None
    patients: re.Pattern[str] | None = None


def plan_and_preprocess(
    folder: Path,
    folders: Folders,
    foundation: Foundation,
    wishes: Wishes,
    *,
    replan: bool,
    device: str,
    workers: int,
) -> Plan:
    """Checks, measures, splits, plans and prepares one dataset.

    Args:
        folder: the raw dataset's.
        folders: roots of preprocessed datasets, and of results, where finished experts lie.
        foundation: that experts are to be finetuned from.
        wishes: about folds, threshold, grouping and seed.
        replan: make fingerprint and plan anew; the splits stay.
        device: to run the foundation on.
        workers: processes.

    Raises:
        DatasetFaultsError: the raw data, or the splits, have faults; all are named.
        ArtefactError: the raw data or the foundation changed since they were planned, or a file was edited into
            something that cannot be used.
        UsageError: a wish contradicts what is there, or there are too few patients.
    """
    target = PreprocessedDataset(root=folders.preprocessed, dataset=folder.name, foundation=foundation.card.name)
    is_new = replan or not target.fingerprint.is_file()
    if is_new:
        verify_raw_dataset(folder, workers=workers)
    if wishes.patients is not None:
        name_patients(folder, wishes.patients)
    raw = read_raw_dataset(folder)
    if foundation.card.for_research_only and not _is_phantom(folder):
        logger.warning(
            "%s: foundation '%s' is for learning and tests; do not expect good masks on real scans.",
            raw.name,
            foundation.card.name,
        )
    fingerprint = take_fingerprint(raw, workers=workers) if is_new else _unchanged_fingerprint(raw, target.fingerprint)
    if is_new:
        _save(fingerprint, target.fingerprint)
    splits = _splits(raw, fingerprint, target.splits, wishes)
    if target.plan.is_file() and not replan:
        plan = Plan.load(target.plan)
        check_plan(plan, raw, foundation, splits, raw_digest=fingerprint.raw_digest)
        _refuse_contradiction(plan, wishes)
    else:
        plan = make_plan(
            raw,
            fingerprint,
            splits,
            foundation,
            expert_threshold=DEFAULT_THRESHOLD if wishes.expert_threshold is None else wishes.expert_threshold,
            grouping=wishes.grouping or DEFAULT_GROUPING,
            effort=DEFAULT_EFFORT if wishes.effort is None else wishes.effort,
            seed=_seed(wishes),
            device=device,
            workers=workers,
            memory=Memory(foundation, wishes.memory_target_gb or usual_target_gb(device), device),
            candidate_experts=find_candidates(
                raw.name, foundation, results=folders.results, preprocessed=folders.preprocessed
            ),
        )
        _save(plan, target.plan)
    if device == "cuda":
        torch.cuda.empty_cache()  # What measuring took is free for the processes that prepare the cases.
    write_bytes(target.dataset_json, (folder / DATASET_JSON).read_bytes())
    prepare_dataset(raw, target, list(plan.configurations.values()), workers=workers, device=device)
    return plan


def _unchanged_fingerprint(raw: RawDataset, path: Path) -> DatasetFingerprint:
    fingerprint = DatasetFingerprint.load(path)
    if fingerprint.raw_digest != digest_of_raw(raw):
        raise ArtefactError(
            f"{raw.folder} changed since {path} was made. Add --replan to make fingerprint and plan anew; experts "
            f"that learnt from what changed are then trained again."
        )
    return fingerprint


def _splits(raw: RawDataset, fingerprint: DatasetFingerprint, path: Path, wishes: Wishes) -> Splits:
    """Keeps the folds that are there, which may be the user's own, or makes them."""
    if not path.is_file():
        splits = make_splits(
            raw.patients,
            {case.case: case.classes for case in fingerprint.cases},
            num_folds=fold_count(len(set(raw.patients.values())), wishes.num_folds or DEFAULT_FOLDS),
            seed=_seed(wishes),
        )
        _save(splits, path)
        return splits
    splits = Splits.load(path)
    check_splits(splits, raw.patients, path)
    if wishes.num_folds is not None and len(splits.folds) != fold_count(
        len(set(raw.patients.values())), wishes.num_folds
    ):
        raise UsageError(
            f"--num_folds {wishes.num_folds}: {path} has {len(splits.folds)} folds already. Leave the flag out, or "
            f"remove that file and add --replan."
        )
    return splits


_FLAGS = {"one": "--one_expert", "one_each": "--one_expert_per_class"}


def _refuse_contradiction(plan: Plan, wishes: Wishes) -> None:
    for flag, wanted, planned in (
        ("--expert_threshold", wishes.expert_threshold, plan.expert_threshold),
        ("--effort", wishes.effort, plan.effort),
        ("--seed", wishes.seed, plan.seed),
        ("-gpu_memory_target", wishes.memory_target_gb, plan.memory_target_gb),
        (_FLAGS.get(wishes.grouping or "", ""), wishes.grouping, plan.grouping),
    ):
        if wanted is not None and wanted != planned:
            raise UsageError(f"{flag} {wanted}: the plan was made with {planned}. Add --replan to plan anew.")


def _save(artefact: DatasetFingerprint | Splits | Plan, path: Path) -> None:
    artefact.save(path)
    logger.info("Wrote %s", path)


def _seed(wishes: Wishes) -> int:
    return DEFAULT_SEED if wishes.seed is None else wishes.seed


def _is_phantom(folder: Path) -> bool:
    return "phantoms" in json.loads((folder / DATASET_JSON).read_text(encoding="utf-8"))
