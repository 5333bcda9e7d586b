"""Joining experts: the gate learns which prompt is whose, then the thresholds are measured, then all is sealed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sammoe_pipeline.artefacts import MixtureCard, MixtureExpert, provenance
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.evaluation.figures import threshold_curve
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.prompt_description import described_configurations, new_gate
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.inference.stored_networks import load_experts
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.page.canvas import picture
from sammoe_pipeline.paths import (
    CALIBRATION_PNG,
    MIXTURE_JSON,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import RawDataset
from sammoe_pipeline.training.calibration import try_out
from sammoe_pipeline.training.described_clicks import DescribedClicks, describe_clicks
from sammoe_pipeline.training.gate_fitting import fit_gate
from sammoe_pipeline.training.gate_prompts import Member
from sammoe_pipeline.training.mixture_files import write_mixture
from sammoe_pipeline.training.mixture_members import collect_members, output_labels, weight_hashes
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
    joining = _Joining(
        card=card,
        members=_members(planned, raw, experts),
        model=foundation.load_model(device),
        foundation=foundation,
        places=places,
        seed=seed,
        device=device,
    )
    if experts:
        joining.describe_clicks()
        for fold in wanted:
            joining.fit_gate(fold)
            joining.calibrate(fold)
        card = joining.choose_thresholds()
    if weight_hashes(experts, foundation, places) != sealed:
        raise ArtefactError(
            f"Weights of the foundation or an expert under {places.folder} changed while the gate was trained. Run "
            f"sammoe_train_gate again when nothing else writes there."
        )
    if card.calibration:
        curve = threshold_curve(card.calibration, card.thresholds)
        write_bytes(places.mixture(name) / CALIBRATION_PNG, picture(curve, kind="png"))
    card = card.model_copy(update={"seconds": time.monotonic() - began})
    return write_mixture(card, joining.gates, joining.clicks, joining.training, places)


def _members(
    planned: Sequence[PlannedDataset], raw: Sequence[RawDataset], experts: Sequence[MixtureExpert]
) -> list[Member]:
    """Returns the datasets, each with the place in the gate's order of the expert that serves a class."""
    place = {expert_key(expert.dataset, expert.task): index for index, expert in enumerate(experts)}
    return [
        Member(planned=dataset, raw=files, experts={name: place[key] for name, key in dataset.experts.items()})
        for dataset, files in zip(planned, raw, strict=True)
    ]


@dataclass(kw_only=True)
class _Joining:
    """A mixture in the making, a step after the other."""

    card: MixtureCard
    members: Sequence[Member]
    model: SamMed3D
    foundation: Foundation
    places: Results
    seed: int
    device: str
    clicks: list[DescribedClicks] = field(default_factory=list)
    gates: dict[int, Gate] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    @property
    def training(self) -> list[dict[int, tuple[str, ...]]]:
        """Training cases of each member in each of the mixture's folds."""
        return [
            {fold: member.planned.fold(member.planned.serving(fold)).train for fold in self.card.folds}
            for member in self.members
        ]

    def describe_clicks(self) -> None:
        """Describes clicks in each member's training cases of all folds, in the configurations that it is judged on."""
        with self._timed("describing"):
            self.clicks = [
                describe_clicks(
                    member,
                    sorted({member.planned.serving(fold) for fold in self.card.folds}),
                    described_configurations(self.foundation, entry, self.card.experts),
                    self.model,
                    self.foundation,
                    self.seed,
                    self.device,
                )
                for member, entry in zip(self.members, self.card.datasets, strict=True)
            ]

    def fit_gate(self, fold: int) -> None:
        """Fits the gate of a fold to its training cases."""
        with self._timed("fitting"):
            taught = [of.of(cases[fold]) for of, cases in zip(self.clicks, self.training, strict=True)]
            for member, of in zip(self.members, taught, strict=True):
                if unseen := sorted(member.experts.keys() - set(of.classes)):
                    logger.warning(
                        "%s, fold %d: no training case shows %s to the gate, so no expert will be chosen for it",
                        member.planned.name,
                        fold,
                        ", ".join(unseen),
                    )
            gate = new_gate(self.foundation, self.model, self.card.datasets, self.card.experts)
            self.gates[fold] = fit_gate(gate, taught, seed=self.seed).to(self.device)

    def calibrate(self, fold: int) -> None:
        """Tries out the gate of a fold on its calibration cases, as prediction would have the mixture."""
        with self._timed("calibrating"):
            mixture = Mixture(
                foundation=self.foundation,
                model=self.model,
                card=self.card,
                experts=self.card.experts,
                decoders=load_experts(self.model, self.card.experts, [fold], self.places),
                gates=[self.gates[fold]],
            )
            self.trials += try_out(self.members, fold, mixture, self.seed)

    def choose_thresholds(self) -> MixtureCard:
        """Returns the card with the thresholds that what was tried out in all folds speaks for."""
        points = calibration_curve(self.trials)
        thresholds = choose_thresholds(self.trials, points, self.card.max_general_loss)
        return self.card.model_copy(
            update={
                "experts": tuple(
                    expert.model_copy(update={"threshold": thresholds[expert.dataset]}) for expert in self.card.experts
                ),
                "general_loss": general_loss(self.trials, thresholds),
                "calibration": tuple(points),
                "calibration_patients": len({trial.patient for trial in self.trials if trial.general_task}),
                "seconds_by_step": self.seconds,
            }
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        """Adds to a step what is done within."""
        began = time.monotonic()
        yield
        self.seconds[step] += time.monotonic() - began
