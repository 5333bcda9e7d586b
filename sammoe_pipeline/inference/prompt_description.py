"""What the gate reads: a prompt as the foundation sees it, in every configuration of the mixture's experts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
    in_parts = frozenset(i for i, name in enumerate(dataset.configurations) if dataset.targets[name] == "component")
    return GateDataset(owners=owners, configurations=tuple(sorted(own - {0})), in_parts=in_parts)


def describe(
    case: EncodedCase,
    clicks: Sequence[Click],
    configurations: Sequence[Configuration],
    *,
    for_answers: bool = True,
) -> Tensor:
    """Describes clicks in some configurations, decoding several windows at a time.

    Args:
        case: the image.
        clicks: in canonical voxels, positive or negative: each by itself, in the window around it.
        configurations: K of them.
        for_answers: embed windows one by one, keep them for whoever answers next, and the descriptions for the next
            decision. Several at a time are faster, and differ in the last bit.

    Returns:
        (N, K, F).
    """
    wanted = [(click, configuration) for click in clicks for configuration in configurations]
    known = case.descriptions if for_answers else {}
    missing = {
        (click, one.shown): _Shown.of(case, click, one) for click, one in wanted if (click, one.shown) not in known
    }
    keys, shown = list(missing), list(missing.values())
    for together in _alike([one.image.size for one in shown]):
        found = _features([shown[index] for index in together], for_answers=for_answers)
        known |= dict(zip([keys[index] for index in together], found, strict=True))
    rows = torch.stack([known[click, one.shown] for click, one in wanted])
    return rows.reshape(len(clicks), len(configurations), -1)


def _alike(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yields indices of windows of one size, a few at a time."""
    for size in set(sizes):
        members = [index for index, other in enumerate(sizes) if other == size]
        for first in range(0, len(members), _TOGETHER):
            yield members[first : first + _TOGETHER]


@dataclass(frozen=True)
class _Shown:
    """A click in one configuration: the window around it, and its place in voxels of that window."""

    image: EncodedImage
    start: Shape
    click: Click

    @classmethod
    def of(cls, case: EncodedCase, click: Click, configuration: Configuration) -> _Shown:
        encoded = case.at(configuration)
        local = case.image.click_in_configuration(click, configuration)
        start = encoded.window_around(local.position)
        # What lies there is the question, whether or not it is wanted.
        return cls(encoded, start, replace(local.moved_by(-at for at in start), positive=True))


def _features(shown: Sequence[_Shown], *, for_answers: bool) -> Tensor:
    """Returns (N, F)."""
    model = shown[0].image.model
    points, labels = click_tensors([[one.click] for one in shown], next(model.parameters()).device)
    with torch.inference_mode():
        if for_answers:
            embedding = torch.cat([one.image.embedding(one.start) for one in shown])
        else:
            windows = torch.stack([one.image.window(one.start) for one in shown])
            embedding = model.encode(windows[:, None].to(points.device))
        logits = model.decode(embedding, points, labels)
        return prompt_features(
            embedding, points[:, 0], logits, context_channels=model.context_channels, patch_size=model.patch_size
        )
