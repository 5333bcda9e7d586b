"""What the gate reads: a prompt as the foundation sees it, in every configuration of the mixture's experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, MixtureExpert
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.geometry import Shape
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.model.prompt_features import num_prompt_features, prompt_features
from sammoe_pipeline.training.interaction import click_tensors

_TOGETHER = 8


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
    prompts: Sequence[Sequence[Click]],
    candidates: Sequence[int],
    *,
    for_answers: bool = True,
) -> Tensor:
    """Describes prompts in native and in the configurations of some experts, decoding several windows at a time.

    Args:
        foundation: gives the native configuration.
        experts: all experts of the mixture.
        case: the image.
        prompts: the clicks of each, in canonical voxels; the window is centred on the first positive one, and every
            positive one within it is read.
        candidates: indices of experts whose configurations are needed; the others' rows stay zero.
        for_answers: embed windows one by one and keep them for whoever answers next. Several at a time are faster, and
            differ in the last bit.

    Returns:
        (B, K, F).
    """
    configurations, indices = gate_configurations(foundation, experts)
    needed = sorted({0, *(indices[candidate] for candidate in candidates)})
    shown = [_Shown.of(case, clicks, configurations[index]) for clicks in prompts for index in needed]
    found: dict[int, Tensor] = {}
    for together in _alike([(len(one.clicks), one.image.size) for one in shown]):
        found |= dict(
            zip(together, _features([shown[index] for index in together], for_answers=for_answers), strict=True)
        )
    rows = torch.stack([found[index] for index in range(len(shown))])
    description = rows.new_zeros(len(prompts), len(configurations), rows.shape[1])
    description[:, needed] = rows.reshape(len(prompts), len(needed), -1)
    return description


def _alike(kinds: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Yields indices of prompts of one kind, a few at a time.

    Args:
        kinds: how many clicks each has, since padding is a token and would be heard, and the size of its window.
    """
    for kind in set(kinds):
        members = [index for index, other in enumerate(kinds) if other == kind]
        for first in range(0, len(members), _TOGETHER):
            yield members[first : first + _TOGETHER]


@dataclass(frozen=True)
class _Shown:
    """A prompt in one configuration: the window around it, and its clicks in voxels of that window."""

    image: EncodedImage
    start: Shape
    clicks: list[Click]

    @classmethod
    def of(cls, case: EncodedCase, clicks: Sequence[Click], configuration: Configuration) -> _Shown:
        encoded = case.at(configuration)
        local = [case.image.click_in_configuration(click, configuration) for click in clicks if click.positive]
        start = encoded.window_around(local[0].position)
        positions = [np.array(click.position) - np.array(start) for click in local]
        inside = [p for p in positions if (p >= 0).all() and (p <= encoded.size - 1).all()]
        return cls(encoded, start, [Click(position=(float(x), float(y), float(z))) for x, y, z in inside])


def _features(shown: Sequence[_Shown], *, for_answers: bool) -> Tensor:
    """Returns (B, F)."""
    model = shown[0].image.model
    points, labels = click_tensors([one.clicks for one in shown], next(model.parameters()).device)
    with torch.inference_mode():
        if for_answers:
            embedding = torch.cat([one.image.embedding(one.start) for one in shown])
        else:
            windows = torch.stack([one.image.window(one.start) for one in shown])
            embedding = model.encode(windows[:, None].to(points.device))
        logits = model.decode(embedding, points, labels)
        return prompt_features(
            embedding, points, logits, context_channels=model.context_channels, patch_size=model.patch_size
        )
