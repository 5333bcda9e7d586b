"""What the gate reads: a prompt as the foundation sees it, in every configuration of the mixture's experts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, MixtureDataset, MixtureExpert
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.geometry import Shape
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate, GateDataset
from sammoe_pipeline.model.prompt_features import num_prompt_features, prompt_features
from sammoe_pipeline.training.interaction import click_tensors

_TOGETHER = 8


def gate_configurations(
    foundation: Foundation, experts: Sequence[MixtureExpert]
) -> tuple[list[Configuration], list[int]]:
    """Returns the configurations in which prompts are described, native first, and each expert's index among them.

    Configurations that show the same are one, whatever their names.
    """
    configurations = [foundation.native]
    indices = []
    for expert in experts:
        same = [index for index, known in enumerate(configurations) if known.shown == expert.configuration.shown]
        if not same:
            configurations.append(expert.configuration)
            same = [len(configurations) - 1]
        indices.append(same[0])
    return configurations, indices


def described_configurations(
    foundation: Foundation, dataset: MixtureDataset, experts: Sequence[MixtureExpert]
) -> list[Configuration]:
    """Returns the configurations in which prompts of a dataset are described to be judged, native first.

    Their order depends on the mixture, since its experts have their configurations in the mixture's order.

    Args:
        foundation: gives the native configuration.
        dataset: a member of the mixture.
        experts: of the mixture, in the gate's order.
    """
    configurations, indices = gate_configurations(foundation, experts)
    return [configurations[index] for index in _told_apart(dataset, experts, indices).everything]


def new_gate(
    foundation: Foundation, model: SamMed3D, datasets: Sequence[MixtureDataset], experts: Sequence[MixtureExpert]
) -> Gate:
    """Builds the gate of a mixture, not fitted yet.

    Args:
        foundation: gives the native configuration.
        model: whose embeddings it reads.
        datasets: of the mixture, in the gate's order.
        experts: likewise.
    """
    _, indices = gate_configurations(foundation, experts)
    return Gate(
        channels=num_prompt_features(model.context_channels, model.detail_channels),
        expert_configurations=indices,
        datasets=[_told_apart(dataset, experts, indices) for dataset in datasets],
    )


def _told_apart(dataset: MixtureDataset, experts: Sequence[MixtureExpert], indices: Sequence[int]) -> GateDataset:
    index_of = {expert_key(expert.dataset, expert.task): index for index, expert in enumerate(experts)}
    owners = tuple(index_of.get(dataset.experts.get(name, GENERAL)) for name in dataset.configurations)
    own = {indices[owner] for owner in owners if owner is not None}
    return GateDataset(owners=owners, configurations=tuple(sorted(own - {0})))


def describe(
    case: EncodedCase,
    prompts: Sequence[Sequence[Click]],
    configurations: Sequence[Configuration],
    *,
    for_answers: bool = True,
) -> Tensor:
    """Describes prompts in some configurations, decoding several windows at a time.

    Args:
        case: the image.
        prompts: the clicks of each, in canonical voxels; the window is centred on the first positive one, and every
            positive one within it is read.
        configurations: K of them.
        for_answers: embed windows one by one and keep them for whoever answers next. Several at a time are faster, and
            differ in the last bit.

    Returns:
        (B, K, F).
    """
    shown = [_Shown.of(case, clicks, configuration) for clicks in prompts for configuration in configurations]
    found: dict[int, Tensor] = {}
    for together in _alike([(len(one.clicks), one.image.size) for one in shown]):
        found |= dict(
            zip(together, _features([shown[index] for index in together], for_answers=for_answers), strict=True)
        )
    rows = torch.stack([found[index] for index in range(len(shown))])
    return rows.reshape(len(prompts), len(configurations), -1)


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
