"""Joining experts: the gate learns which prompt is whose task, then the threshold is measured, then all is sealed."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import (
    CalibrationPoint,
    ExpertCard,
    LabelEntry,
    LocatorCard,
    MixtureCard,
    MixtureDataset,
    MixtureExpert,
    provenance,
    sha256_of,
)
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import ArtefactError, TrainingError
from sammoe_pipeline.foundations import Foundation, check_hash
from sammoe_pipeline.inference.mixture import GENERAL, Mixture, Routing, expert_key, new_gate, select
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.paths import (
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    GATE_WEIGHTS,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    MIXTURE_JSON,
    PLAN_JSON,
    Folders,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import RawDataset
from sammoe_pipeline.training.gate_prompts import GatePrompt, Member, prompts_of
from sammoe_pipeline.training.optimisation import learning_rate_at

logger = logging.getLogger(__name__)

HIDDEN = 48
TOP_K = 2
_ITERATIONS = 400
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.02
_THRESHOLDS = tuple(round(0.3 + 0.05 * step, 2) for step in range(14))
_AS_GOOD = 5e-4


@dataclass(frozen=True)
class _Trial:
    """A calibration prompt: what each decision would be worth."""

    class_key: str
    general_task: bool
    confidences: dict[str, float]
    general_dice: float
    mixture_dice: dict[float, float]
    """By threshold."""


def train_gate(
    planned: Sequence[PlannedDataset],
    raw: Sequence[RawDataset],
    *,
    name: str,
    folds: Sequence[int] | None,
    foundation: Foundation,
    results: Path,
    max_general_loss: float,
    seed: int,
    device: str,
) -> MixtureCard:
    """Joins every expert of some datasets into a mixture.

    In each mixture fold the gate is taught by task on the training cases of that fold (the paper's way: a joint softmax
    over general and experts), with clicks beside all tasks as the general expert's. The threshold is then the one with
    the best mean Dice on the calibration cases of all folds among those that cost general tasks no more than allowed.
    `val` is never read. Foundation and experts are hashed before and after.

    Args:
        planned: datasets of the mixture, with their plans.
        raw: the same datasets' files, in the same order.
        name: of the mixture.
        folds: mixture folds; by default as many as the dataset with the most folds has.
        foundation: what all experts belong to.
        results: root of results.
        max_general_loss: how much mean Dice general tasks may lose on the calibration cases, in points of 100.
        seed: of clicks and initial weights.
        device: "cuda" or "cpu".

    Returns:
        The mixture's card, also written to its folder.

    Raises:
        ArtefactError: experts are not finished, or a weight changed while the gate was trained.
        TrainingError: there is nothing to calibrate on.
    """
    began = time.monotonic()
    places = Results(root=results, foundation=foundation.card.name)
    wanted = tuple(folds) if folds is not None else tuple(range(max(dataset.num_folds for dataset in planned)))
    experts, datasets = _collect(planned, wanted, places)
    sealed = _hashes(experts, foundation, places)
    members = [
        Member(
            planned=dataset,
            raw=files,
            experts={c: i for i, e in enumerate(experts) if e.dataset == dataset.name for c in e.classes},
        )
        for dataset, files in zip(planned, raw, strict=True)
    ]
    model = foundation.load_model(device)
    gate_hashes: dict[str, str] = {}
    trials: list[_Trial] = []
    card = MixtureCard(
        name=name,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        folds=wanted,
        datasets=datasets,
        experts=experts,
        labels=_labels(planned, places.mixture(name) / MIXTURE_JSON),
        gate_sha256={},
        gate_hidden=HIDDEN,
        threshold=0.5,
        top_k=TOP_K,
        max_general_loss=max_general_loss,
        calibration=(),
        seconds=0.0,
        provenance=provenance(seed=seed, device=device, threads=torch.get_num_threads()),
    )
    for fold in wanted if experts else ():
        gate = _fit(members, fold, experts, model, foundation, seed, device)
        weights = {key: value.cpu().contiguous() for key, value in gate.state_dict().items()}
        path = places.gate_fold(name, fold) / GATE_WEIGHTS
        write_bytes(path, _serialise(weights))
        gate_hashes[str(fold)] = sha256_of(path)
        mixture = _assemble(card, fold, gate, model, foundation, places)
        trials += _try_out(members, fold, mixture, seed)
    points = calibration_curve(trials) if experts else []
    threshold = choose_threshold(points, max_general_loss) if experts else 0.5
    if _hashes(experts, foundation, places) != sealed:
        raise ArtefactError(
            f"Weights of the foundation or an expert under {places.folder} changed while the gate was trained. Run "
            f"sammoe_train_gate again when nothing else writes there."
        )
    finished = card.model_copy(
        update={
            "gate_sha256": gate_hashes,
            "threshold": threshold,
            "calibration": tuple(points),
            "seconds": time.monotonic() - began,
        }
    )
    finished.save(places.mixture(name) / MIXTURE_JSON)
    return finished


def finished_datasets(folders: Folders, foundation: Foundation, folds: Sequence[int] | None) -> list[str]:
    """Lists planned datasets whose experts and locators are finished in some folds; the others are named in the log.

    A dataset that the general expert serves alone needs nothing finished.

    Args:
        folders: the three roots.
        foundation: what they were planned for.
        folds: mixture folds; by default all folds of each dataset.

    Raises:
        ArtefactError: there is none.
    """
    places = Results(root=folders.results, foundation=foundation.card.name)
    ready: list[str] = []
    waiting: list[str] = []
    for plan in sorted(folders.preprocessed.glob(f"*/{foundation.card.name}/{PLAN_JSON}")):
        planned = PlannedDataset.load(folders, plan.parent.parent.name, foundation)
        own = sorted({fold % planned.num_folds for fold in (folds or range(planned.num_folds))})
        needed = [
            places.expert_fold(planned.name, task.name, fold) / EXPERT_JSON
            for task in planned.plan.tasks
            for fold in own
        ]
        if planned.plan.tasks:
            needed += [places.locator_fold(planned.name, fold) / LOCATOR_JSON for fold in own]
        (ready if all(card.is_file() for card in needed) else waiting).append(planned.name)
    for name in waiting:
        logger.warning(
            "%s is left out: its experts or locator are not finished (sammoe_train_expert -d %s)", name, name[7:10]
        )
    if not ready:
        raise ArtefactError(
            f"{folders.preprocessed} has no dataset whose experts for '{foundation.card.name}' are finished"
            + (f" in folds {', '.join(map(str, folds))}" if folds else " in all folds")
            + ". Run sammoe_plan_and_preprocess and sammoe_train_expert, or choose finished folds with -f."
        )
    return ready


def _collect(
    planned: Sequence[PlannedDataset], folds: Sequence[int], places: Results
) -> tuple[tuple[MixtureExpert, ...], tuple[MixtureDataset, ...]]:
    """Gathers experts and locators; those that are not finished are all named at once."""
    missing: list[str] = []
    experts, datasets = [], []
    for dataset in planned:
        serving = {fold: fold % dataset.num_folds for fold in folds}
        for task in dataset.plan.tasks:
            hashes = {}
            for fold, own in serving.items():
                folder = places.expert_fold(dataset.name, task.name, own)
                if not (folder / EXPERT_JSON).is_file():
                    missing.append(f"{expert_key(dataset.name, task.name)}, fold {own}")
                    continue
                card = ExpertCard.load(folder / EXPERT_JSON)
                _require_recipe(card.recipe, dataset.recipe(own, task), folder / EXPERT_JSON)
                check_hash(folder / EXPERT_WEIGHTS, card.sha256)
                hashes[str(fold)] = card.sha256
            experts.append(
                MixtureExpert(
                    dataset=dataset.name,
                    task=task.name,
                    classes=task.classes,
                    configuration=dataset.plan.configurations[task.configuration],
                    sha256=hashes,
                    expert_fold={str(fold): own for fold, own in serving.items()},
                )
            )
        locators: dict[str, str] = {}
        peaks: dict[str, list[float]] = defaultdict(list)
        for fold, own in serving.items():
            folder = places.locator_fold(dataset.name, own)
            if (folder / LOCATOR_JSON).is_file():
                locator = LocatorCard.load(folder / LOCATOR_JSON)
                _require_recipe(locator.recipe, dataset.recipe(own), folder / LOCATOR_JSON)
                check_hash(folder / LOCATOR_WEIGHTS, locator.sha256)
                locators[str(fold)] = locator.sha256
                for class_name, peak in locator.thresholds.items():
                    peaks[class_name].append(peak)
            elif dataset.plan.tasks:
                missing.append(f"locator of {dataset.name}, fold {own}")
        datasets.append(
            MixtureDataset(
                dataset=dataset.name,
                num_folds=dataset.num_folds,
                held_out_folds=tuple(fold for fold in folds if fold < dataset.num_folds),
                configurations={c: dataset.configuration_of(c) for c in dataset.description.labels},
                values=dataset.description.output_values,
                nested=dataset.description.nested,
                targets={c: dataset.plan.classes[c].target for c in dataset.description.labels},
                locator_configuration=dataset.plan.configurations[dataset.plan.locator_configuration],
                thresholds={class_name: float(np.mean(values)) for class_name, values in peaks.items()},
                locator_sha256=locators,
                locator_fold={str(fold): own for fold, own in serving.items()},
            )
        )
    if missing:
        raise ArtefactError(
            "Not finished:\n"
            + "\n".join(f"  - {entry}" for entry in sorted(set(missing)))
            + "\nRun sammoe_train_expert for them, or choose finished folds with -f, or datasets with -d."
        )
    return tuple(experts), tuple(datasets)


def _require_recipe(found: str, wanted: str, path: Path) -> None:
    if found != wanted:
        raise ArtefactError(
            f"{path} was trained by another plan, split or foundation than there is now. Run sammoe_train_expert again."
        )


def _labels(planned: Sequence[PlannedDataset], path: Path) -> tuple[LabelEntry, ...]:
    """Returns the table of output values: what an earlier version of the mixture gave out stays, new classes follow."""
    entries = list(MixtureCard.load(path).labels) if path.is_file() else []
    known = {(entry.dataset, entry.name) for entry in entries}
    for dataset in planned:
        for name in dataset.description.class_order:
            if (dataset.name, name) not in known:
                entries.append(LabelEntry(value=len(entries) + 1, dataset=dataset.name, name=name))
    return tuple(entries)


def _hashes(experts: Iterable[MixtureExpert], foundation: Foundation, places: Results) -> dict[str, str]:
    files = [foundation.weights]
    for expert in experts:
        files += [
            places.expert_fold(expert.dataset, expert.task, fold) / EXPERT_WEIGHTS
            for fold in sorted(set(expert.expert_fold.values()))
        ]
    return {str(path): sha256_of(path) for path in files}


def _fit(
    members: Sequence[Member],
    fold: int,
    experts: Sequence[MixtureExpert],
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
    device: str,
) -> Gate:
    descriptions, targets = _describe_all(members, fold, experts, model, foundation, seed)
    descriptions, targets = descriptions.to(device), targets.to(device)
    torch.manual_seed(seed)
    gate = new_gate(foundation, model, experts, hidden=HIDDEN).to(device)
    gate.mean.copy_(descriptions.flatten(0, 1).mean(dim=0))
    gate.deviation.copy_(descriptions.flatten(0, 1).std(dim=0).clamp(min=1e-4))
    # Every decoder counts the same, however many prompts are its own.
    counts = torch.bincount(targets, minlength=1 + len(experts)).float()
    weights = counts.sum() / (counts.clamp(min=1) * int((counts > 0).sum()))
    optimiser = torch.optim.AdamW(gate.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    for iteration in range(_ITERATIONS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(iteration, _ITERATIONS, _LEARNING_RATE)
        loss = torch.nn.functional.cross_entropy(gate(descriptions), targets, weight=weights, label_smoothing=0.02)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    right = float((gate(descriptions).argmax(dim=1) == targets).float().mean())
    logger.info("Gate of fold %d: %d prompts, %.1f %% of them reach their task", fold, len(targets), 100 * right)
    return gate.eval().requires_grad_(False)


def _describe_all(
    members: Sequence[Member],
    fold: int,
    experts: Sequence[MixtureExpert],
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
) -> tuple[Tensor, Tensor]:
    from tqdm import tqdm

    descriptions, targets = [], []
    for member in members:
        cases = member.planned.fold(fold % member.planned.num_folds).train
        prompts = prompts_of(member, cases, model=model, foundation=foundation, seed=seed, off_task=True)
        for prompt in tqdm(prompts, desc=f"Describing {member.planned.name}, fold {fold}", unit="prompt"):
            descriptions.append(prompt.description(foundation, experts).cpu())
            targets.append(0 if prompt.expert is None else 1 + prompt.expert)
    return torch.cat(descriptions), torch.tensor(targets)


def _assemble(
    card: MixtureCard, fold: int, gate: Gate, model: SamMed3D, foundation: Foundation, places: Results
) -> Mixture:
    """Returns the mixture of one fold as prediction would have it, before it is on disk."""
    decoders = Mixture.load_decoders(model, card.experts, [fold], places)
    return Mixture(foundation=foundation, model=model, card=card, experts=card.experts, decoders=decoders, gates=[gate])


def _try_out(members: Sequence[Member], fold: int, mixture: Mixture, seed: int) -> list[_Trial]:
    from tqdm import tqdm

    trials = []
    for member in members:
        cases = member.planned.fold(fold % member.planned.num_folds).calibration
        prompts = prompts_of(
            member, cases, model=mixture.model, foundation=mixture.foundation, seed=seed + 1, off_task=False
        )
        bar = tqdm(prompts, desc=f"Calibrating on {member.planned.name}, fold {fold}", unit="prompt")
        trials += [_try(prompt, mixture) for prompt in bar]
    return trials


def _try(prompt: GatePrompt, mixture: Mixture) -> _Trial:
    native = mixture.foundation.native
    confidences = mixture.route(prompt.case, [prompt.click]).confidences
    by_choice: dict[tuple[tuple[str, float], ...], float] = {}

    def worth(routing: Routing) -> float:
        key = tuple(sorted(routing.chosen.items()))
        if key not in by_choice:
            answer = mixture.answer(prompt.case, [prompt.click], routing, general_configuration=native)
            by_choice[key] = prompt.dice_of(answer.full() > 0)
        return by_choice[key]

    return _Trial(
        class_key=f"{prompt.member.planned.name}:{prompt.class_name}",
        general_task=prompt.expert is None,
        confidences=confidences,
        general_dice=worth(Routing(confidences={GENERAL: 1.0}, chosen={})),
        mixture_dice={t: worth(select(confidences, threshold=t, top_k=TOP_K)) for t in _THRESHOLDS},
    )


def calibration_curve(trials: Sequence[_Trial]) -> list[CalibrationPoint]:
    """Returns, for each threshold, the mean Dice over classes and what general tasks lose.

    Raises:
        TrainingError: there are no trials.
    """
    if not trials:
        raise TrainingError("No calibration case has any class, so the gate's threshold cannot be measured.")
    by_class: dict[str, list[_Trial]] = defaultdict(list)
    for trial in trials:
        by_class[trial.class_key].append(trial)
    general = [group for group in by_class.values() if group[0].general_task]
    points = []
    for threshold in _THRESHOLDS:
        means = [float(np.mean([trial.mixture_dice[threshold] for trial in group])) for group in by_class.values()]
        losses = [
            float(np.mean([trial.general_dice - trial.mixture_dice[threshold] for trial in group])) for group in general
        ]
        answered = [any(v >= threshold for k, v in t.confidences.items() if k != GENERAL) for t in trials]
        points.append(
            CalibrationPoint(
                threshold=threshold,
                mean_dice=float(np.mean(means)),
                general_loss=max(0.0, float(np.mean(losses))) if losses else 0.0,
                expert_share=float(np.mean(answered)),
            )
        )
    return points


def choose_threshold(points: Sequence[CalibrationPoint], max_general_loss: float) -> float:
    """Returns the threshold with the best mean Dice among those that cost general tasks no more than allowed.

    Of thresholds that are as good as the best, the middle one is taken. Where none keeps the bound, the one that loses
    least is.

    Args:
        points: the calibration curve.
        max_general_loss: in points of 100.
    """
    bounded = [point for point in points if 100 * point.general_loss <= max_general_loss]
    if not bounded:
        logger.warning("No threshold keeps general tasks within %.2f points on the calibration cases", max_general_loss)
        least = min(point.general_loss for point in points)
        bounded = [point for point in points if point.general_loss <= least]
    best = max(point.mean_dice for point in bounded)
    good = [point.threshold for point in bounded if point.mean_dice >= best - _AS_GOOD]
    return good[len(good) // 2]


def _serialise(weights: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return bytes(save(weights))
