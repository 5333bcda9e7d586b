"""What the gate reads: a prompt as the foundation sees it, in every configuration of the mixture's experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, MixtureExpert
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.model.prompt_features import num_prompt_features, prompt_features
from sammoe_pipeline.training.interaction import click_tensors


def gate_configurations(
    foundation: Foundation, experts: Sequence[MixtureExpert]
) -> tuple[list[Configuration], list[int]]:
    """Returns the configurations in which prompts are described, native first, and each expert's index among them.

    Configurations of equal spacing, patch and channel are one, whatever their names.
    """
    native = foundation.native
    configurations = [native]
    indices = []
    for expert in experts:
        same = [
            index
            for index, known in enumerate(configurations)
            if (known.spacing_mm, known.patch_size, known.channel)
            == (expert.configuration.spacing_mm, expert.configuration.patch_size, expert.configuration.channel)
        ]
        if not same:
            configurations.append(expert.configuration)
            same = [len(configurations) - 1]
        indices.append(same[0])
    return configurations, indices


def new_gate(
    foundation: Foundation,
    model: SamMed3D,
    experts: Sequence[MixtureExpert],
    classes: Mapping[str, Sequence[str]],
    *,
    hidden: int,
) -> Gate:
    """Builds the gate of some experts, with random weights.

    Args:
        foundation: gives the native configuration.
        model: whose embeddings it reads.
        experts: of the mixture, in the gate's order.
        classes: what each decoder is to answer, by expert key and of `GENERAL`.
        hidden: width of its trunk.
    """
    _, indices = gate_configurations(foundation, experts)
    return Gate(
        channels=num_prompt_features(model.context_channels, model.detail_channels),
        general_classes=len(classes[GENERAL]),
        expert_classes=[len(classes[expert_key(expert.dataset, expert.task)]) for expert in experts],
        expert_configurations=indices,
        hidden=hidden,
    )


def describe(
    foundation: Foundation,
    experts: Sequence[MixtureExpert],
    case: EncodedCase,
    clicks: Sequence[Click],
    candidates: Sequence[int],
) -> Tensor:
    """Describes a prompt in native and in the configurations of some experts.

    Args:
        foundation: gives the native configuration.
        experts: all experts of the mixture.
        case: the image.
        clicks: in canonical voxels; the window is centred on the first, and every positive one within it is read.
        candidates: indices of experts whose configurations are needed; the others' rows stay zero.

    Returns:
        (1, K, F).
    """
    configurations, indices = gate_configurations(foundation, experts)
    needed = {0, *(indices[candidate] for candidate in candidates)}
    rows: dict[int, Tensor] = {}
    for index in needed:
        rows[index] = _describe_in(case, clicks, configurations[index])
    empty = torch.zeros_like(rows[0])
    return torch.stack([rows.get(index, empty) for index in range(len(configurations))], dim=1)


def _describe_in(case: EncodedCase, clicks: Sequence[Click], configuration: Configuration) -> Tensor:
    encoded = case.at(configuration)
    local = [case.image.click_in_configuration(click, configuration) for click in clicks if click.positive]
    start = encoded.window_around(local[0].position)
    corner = np.array(start)
    positions = [np.array(click.position) - corner for click in local]
    inside = [p for p in positions if (p >= 0).all() and (p <= encoded.size - 1).all()]
    shown = [Click(position=(float(p[0]), float(p[1]), float(p[2]))) for p in inside]
    embedding = encoded.embedding(start)
    with torch.inference_mode():
        points, labels = click_tensors([shown], embedding.device)
        logits = encoded.model.decode(embedding, points, labels)
        return prompt_features(
            embedding,
            points,
            logits,
            context_channels=encoded.model.context_channels,
            patch_size=encoded.size,
        )
