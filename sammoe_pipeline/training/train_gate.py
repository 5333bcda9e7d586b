"""Joining experts: the gate learns which prompt is whose, then the thresholds are measured, then all is sealed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from sammoe_pipeline.artefacts import (
    MixtureCard,
    provenance,
)
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.evaluation.figures import threshold_curve
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.prompt_description import gate_configurations, new_gate
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.inference.stored_networks import load_experts
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.page.canvas import picture
from sammoe_pipeline.paths import (
    CALIBRATION_PNG,
    GATE_WEIGHTS,
    MIXTURE_JSON,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import RawDataset
from sammoe_pipeline.training.calibration import try_out
from sammoe_pipeline.training.described_clicks import DescribedClicks, describe_clicks
from sammoe_pipeline.training.gate_fitting import fit_gate, write_gate
from sammoe_pipeline.training.gate_prompts import Member
from sammoe_pipeline.training.mixture_members import collect_members, output_labels, weight_hashes
from sammoe_pipeline.training.routing_set import write_routing_set
from sammoe_pipeline.training.thresholds import TOP_K, Trial, calibration_curve, choose_thresholds, general_loss

logger = logging.getLogger(__name__)

STEPS = ("describing", "fitting", "calibrating")
"""What joining experts takes its time for: clicks that the gates read, gates, and trial answers."""


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

    In each mixture fold the gate is fitted to clicks on the training cases of that fold, whose class is known, and
    to clicks beside all classes, which are the general expert's. The thresholds are then those with the best mean
    Dice on the calibration cases of all folds among those that cost general tasks no more than allowed. `val` is
    never read. Foundation and experts are hashed before and after.

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
    experts, datasets = collect_members(planned, wanted, places)
    sealed = weight_hashes(experts, foundation, places)
    index_of = {expert_key(expert.dataset, expert.task): index for index, expert in enumerate(experts)}
    members = [
        Member(planned=dataset, raw=files, experts={c: index_of[key] for c, key in dataset.experts.items()})
        for dataset, files in zip(planned, raw, strict=True)
    ]
    model = foundation.load_model(device)
    gate_hashes: dict[str, str] = {}
    trials: list[Trial] = []
    card = MixtureCard(
        name=name,
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        folds=wanted,
        datasets=datasets,
        experts=experts,
        labels=output_labels(planned, places.mixture(name) / MIXTURE_JSON),
        gate_sha256={},
        top_k=TOP_K,
        max_general_loss=max_general_loss,
        calibration=(),
        calibration_patients=0,
        seconds=0.0,
        provenance=provenance(seed=seed, device=device, threads=torch.get_num_threads()),
    )
    training = [[one.planned.fold(fold % one.planned.num_folds).train for fold in wanted] for one in members]
    seconds = dict.fromkeys(STEPS, 0.0)
    with _timed(seconds, "describing"):
        clicks = _described(card, members, model, foundation, seed, device) if experts else []
    routing_sets = [
        write_routing_set(places.routing_set(name, entry.dataset), entry, of, cases)
        for entry, of, cases in zip(card.datasets, clicks, training, strict=bool(experts))
    ]
    card = card.model_copy(update={"datasets": tuple(routing_sets) or card.datasets})
    for place, fold in enumerate(wanted if experts else ()):
        with _timed(seconds, "fitting"):
            gate = new_gate(foundation, model, card.datasets, experts)
            taught = [of.of(cases[place]) for of, cases in zip(clicks, training, strict=True)]
            fit_gate(gate, taught, seed=seed).to(device)
            gate_hashes[str(fold)] = write_gate(gate, places.gate_fold(name, fold) / GATE_WEIGHTS)
        with _timed(seconds, "calibrating"):
            trials += try_out(members, fold, _assemble(card, fold, gate, model, foundation, places), seed)
    points = calibration_curve(trials) if experts else []
    thresholds = choose_thresholds(trials, points, max_general_loss) if experts else {}
    if weight_hashes(experts, foundation, places) != sealed:
        raise ArtefactError(
            f"Weights of the foundation or an expert under {places.folder} changed while the gate was trained. Run "
            f"sammoe_train_gate again when nothing else writes there."
        )
    finished = card.model_copy(
        update={
            "gate_sha256": gate_hashes,
            "experts": tuple(one.model_copy(update={"threshold": thresholds[one.dataset]}) for one in experts),
            "general_loss": general_loss(trials, thresholds) if experts else None,
            "calibration": tuple(points),
            "calibration_patients": len({trial.patient for trial in trials if trial.general_task}),
            "seconds": time.monotonic() - began,
            "seconds_by_step": seconds,
        }
    )
    if points:
        write_bytes(places.mixture(name) / CALIBRATION_PNG, picture(threshold_curve(points, thresholds), kind="png"))
    finished.save(places.mixture(name) / MIXTURE_JSON)
    return finished


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Adds to a step what is done within."""
    began = time.monotonic()
    yield
    seconds[step] += time.monotonic() - began


def _described(
    card: MixtureCard, members: Sequence[Member], model: SamMed3D, foundation: Foundation, seed: int, device: str
) -> list[DescribedClicks]:
    """Describes clicks in each member's training cases of all folds, in the configurations that it is judged on."""
    configurations, _ = gate_configurations(foundation, card.experts)
    judged = new_gate(foundation, model, card.datasets, card.experts).datasets
    return [
        describe_clicks(
            member,
            sorted({fold % member.planned.num_folds for fold in card.folds}),
            [configurations[index] for index in told.everything],
            model,
            foundation,
            seed,
            device,
        )
        for member, told in zip(members, judged, strict=True)
    ]


def _assemble(
    card: MixtureCard, fold: int, gate: Gate, model: SamMed3D, foundation: Foundation, places: Results
) -> Mixture:
    """Returns the mixture of one fold as prediction would have it, before it is on disk."""
    decoders = load_experts(model, card.experts, [fold], places)
    return Mixture(foundation=foundation, model=model, card=card, experts=card.experts, decoders=decoders, gates=[gate])
