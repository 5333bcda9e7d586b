"""Experts, gates and locators as they lie among results: read only where their hash is the one that a card names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.artefacts import MixtureCard, MixtureDataset, MixtureExpert
from sammoe_pipeline.foundations import Foundation, check_hash
from sammoe_pipeline.inference.locate import new_locator
from sammoe_pipeline.inference.prompt_description import new_gate
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.model import MaskDecoder, SamMed3D, decoder_with
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.model.second_look import looks_again
from sammoe_pipeline.paths import EXPERT_WEIGHTS, GATE_WEIGHTS, LOCATOR_WEIGHTS, Results

if TYPE_CHECKING:
    from torch import Tensor


def load_expert(model: SamMed3D, path: Path, sha256: str) -> MaskDecoder:
    """Returns the frozen decoder of an expert, on the device of the model.

    Raises:
        ArtefactError: the file is missing or was changed.
    """
    return decoder_with(model, _weights(path, sha256)).eval().requires_grad_(False)


def load_experts(
    model: SamMed3D, experts: Sequence[MixtureExpert], folds: Sequence[int], places: Results
) -> dict[str, list[MaskDecoder]]:
    """Returns the frozen decoders of a mixture's experts, one a mixture fold, by expert key.

    Raises:
        ArtefactError: a file is missing or was changed.
    """
    return {
        expert_key(expert.dataset, expert.task): [
            load_expert(
                model,
                places.expert_fold(expert.dataset, expert.task, expert.expert_fold[str(fold)]) / EXPERT_WEIGHTS,
                expert.sha256[str(fold)],
            )
            for fold in folds
        ]
        for expert in experts
    }


def load_locator(model: SamMed3D, num_classes: int, path: Path, sha256: str) -> Locator:
    """Returns a frozen locator, on the device of the model.

    Raises:
        ArtefactError: the file is missing or was changed.
    """
    weights = _weights(path, sha256)
    locator = new_locator(model, num_classes, second_look=looks_again(weights))
    locator.load_state_dict(weights, strict=True)
    return locator.to(next(model.parameters()).device).eval().requires_grad_(False)


def load_locators(
    model: SamMed3D, datasets: Sequence[MixtureDataset], folds: Sequence[int], places: Results
) -> dict[str, list[Locator]]:
    """Returns the frozen locators of a mixture's datasets, one a mixture fold that has one, by dataset.

    Raises:
        ArtefactError: a file is missing or was changed.
    """
    return {
        member.dataset: [
            load_locator(
                model,
                len(member.configurations),
                places.locator_fold(member.dataset, member.locator_fold[str(fold)]) / LOCATOR_WEIGHTS,
                member.locator_sha256[str(fold)],
            )
            for fold in folds
            if str(fold) in member.locator_sha256
        ]
        for member in datasets
    }


def load_gates(
    name: str, foundation: Foundation, model: SamMed3D, card: MixtureCard, folds: Sequence[int], places: Results
) -> list[Gate]:
    """Returns the frozen gates of a mixture, one a fold that has one, on the device of the model.

    Args:
        name: by which the mixture is found.
        foundation: of the mixture.
        model: the foundation's network.
        card: of the mixture.
        folds: of the mixture.
        places: where it lies.

    Raises:
        ArtefactError: a file is missing or was changed.
    """
    gates = []
    for fold in folds:
        if str(fold) in card.gate_sha256:
            weights = _weights(places.gate_fold(name, fold) / GATE_WEIGHTS, card.gate_sha256[str(fold)])
            gate = new_gate(foundation, model, card.datasets, card.experts)
            gate.load_state_dict(weights, strict=True)
            gates.append(gate.to(next(model.parameters()).device).eval().requires_grad_(False))
    return gates


def _weights(path: Path, sha256: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    check_hash(path, sha256)
    weights: dict[str, Tensor] = load_file(path)
    return weights
