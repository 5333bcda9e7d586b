"""The gate: which decoder should answer a prompt."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

OFF_TASK_COMPONENTS = 8
"""Kinds of things that a dataset does not name. They are unlike each other: one mean would describe none of them."""

MOST_AGAINST = 0.02
"""What a negative click leaves at least of a class that it lies on."""

MAX_DIRECTIONS = 96
"""Longer descriptions are reduced to their main directions, which are the same in all configurations."""


@dataclass(frozen=True)
class GateDataset:
    """What the gate tells apart in one dataset.

    Attributes:
        owners: for each class the index of the expert that is to answer it, or None for the general one.
        configurations: indices of the configurations of its experts, without 0, the native one.
        in_parts: indices of classes of which a click means one component. A negative click on another one says nothing
            against them.
    """

    owners: tuple[int | None, ...]
    configurations: tuple[int, ...]
    in_parts: frozenset[int] = frozenset()

    @property
    def everything(self) -> tuple[int, ...]:
        """Indices of all configurations in which its prompts are described, native first."""
        return (0, *self.configurations)

    @property
    def views(self) -> tuple[tuple[int, ...], ...]:
        """The choices of configurations that a prompt may be judged on: native, each beside native, and all."""
        return tuple(dict.fromkeys([(0,), *((0, index) for index in self.configurations), self.everything]))

    @property
    def num_components(self) -> int:
        """Number of its classes and of the kinds of things that it does not name."""
        return len(self.owners) + OFF_TASK_COMPONENTS

    def components_of(self, expert: int | None) -> list[int]:
        """Returns which components an expert is to answer; those of the general one, for None."""
        return [i for i in range(self.num_components) if (self.owners[i] if i < len(self.owners) else None) == expert]


class Discriminant(nn.Module):
    """Tells components apart that are spread alike: a linear discriminant, fitted in closed form.

    Args:
        features: D.
        components: C.
    """

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("weight", torch.zeros(components, features))
        # Minus infinity for a component that nothing was seen of.
        self.register_buffer("bias", torch.full((components,), -torch.inf))

    def standardised(self, descriptions: Tensor) -> Tensor:
        """Returns descriptions (..., D) relative to those it was fitted to."""
        return (descriptions - self.centre) / self.scale

    def forward(self, descriptions: Tensor) -> Tensor:
        """Returns (..., C), the logarithm of each component's density, up to what they have in common.

        Args:
            descriptions: (..., D).
        """
        return self.standardised(descriptions) @ self.weight.T + self.bias


def mean_density(log_densities: Tensor) -> Tensor:
    """Returns (...), the logarithm of the mean over components (..., C)."""
    return log_densities.logsumexp(dim=-1) - math.log(log_densities.shape[-1])


class Gate(nn.Module):
    """Confidences of the general decoder and every expert for one (image, prompt).

    A click is described by what the frozen embedding says where it points (see `prompt_features`), in native and in
    the configurations of the experts in question. Two questions are asked, each of linear discriminants over classes,
    with the kinds of things that a dataset does not name as components beside them:

    - Which dataset's image is this? The native description tells, and whether it is like any of them: a component of
      constant density stands for everything elsewhere.
    - Which of that dataset's classes? Its own configurations tell. A decoder's confidence is the sum over the classes
      that it is to answer.

    Each click of a prompt is evidence of its own: all of them tell whose image it is, positive ones speak for the
    classes that they lie on, and negative ones against these. So whoever is misunderstood at first clicks again.

    So a dataset joins without its prompts being described in the configurations of the others, and experts of one
    dataset that are far from it cost nothing. The paper's gate is a softmax network over general and experts, taught by
    task; from the few patients of a training set the closed form learns more (see documentation/explanation/gate.md).

    Args:
        channels: F, length of a prompt's description in one configuration.
        expert_configurations: for each of E experts the index of its configuration; index 0 is native.
        datasets: of the mixture.
    """

    mean: Tensor
    deviation: Tensor
    basis: Tensor
    root: Tensor
    reach: Tensor

    def __init__(self, *, channels: int, expert_configurations: Sequence[int], datasets: Sequence[GateDataset]) -> None:
        super().__init__()
        self.expert_configurations = tuple(expert_configurations)
        self.datasets = tuple(datasets)
        directions = min(channels, MAX_DIRECTIONS)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.register_buffer("basis", torch.eye(channels, directions))
        self.whose = Discriminant(directions, sum(dataset.num_components for dataset in datasets))
        # Whitens native descriptions, and the log-density of everything elsewhere.
        self.register_buffer("root", torch.eye(directions))
        self.register_buffer("reach", torch.tensor(-torch.inf))
        self.within = nn.ModuleList(
            nn.ModuleDict(
                {_name(view): Discriminant(len(view) * directions, dataset.num_components) for view in dataset.views}
            )
            for dataset in datasets
        )

    def discriminant(self, dataset: int, view: Sequence[int]) -> Discriminant:
        """Returns what tells a dataset's components apart in some configurations.

        Args:
            dataset: index.
            view: one of its `views`.
        """
        of_dataset = self.within[dataset]
        assert isinstance(of_dataset, nn.ModuleDict)
        found = of_dataset[_name(view)]
        assert isinstance(found, Discriminant)
        return found

    def reduced(self, descriptions: Tensor) -> Tensor:
        """Returns descriptions (..., F) along the main directions, (..., R)."""
        return (descriptions - self.mean) / self.deviation @ self.basis

    def shares(self, native: Tensor, votes: Sequence[float] | None = None) -> Tensor:
        """Returns (B, D), how probable each dataset is; what is missing to 1 is elsewhere.

        Args:
            native: (B, N, F) descriptions of the N clicks of each prompt.
            votes: as in `confidences`.
        """
        seen = self.reduced(native)
        sizes = [dataset.num_components for dataset in self.datasets]
        densities = [mean_density(part) for part in torch.split(self.whose(seen), sizes, dim=-1)]
        # What all log-densities lack, added to that of elsewhere instead.
        elsewhere = self.reach + 0.5 * (self.whose.standardised(seen) @ self.root).square().sum(dim=-1)
        each = torch.stack([elsewhere, *densities], dim=-1).log_softmax(dim=-1)
        return (_counted(each, votes).abs()[:, None] * each).sum(dim=1).softmax(dim=-1)[:, 1:]

    def confidences(
        self, descriptions: Tensor, looked_into: Collection[int], votes: Sequence[float] | None = None
    ) -> Tensor:
        """Judges prompts that may mean anything.

        Args:
            descriptions: (B, N, K, F), of the clicks of each prompt in each of the mixture's K configurations, native
                first. Configurations of datasets that are not looked into may hold anything.
            looked_into: indices of the datasets that are judged on all their configurations; others on native alone.
            votes: what each of the N clicks counts, not 0: above it for one on what is meant, below for one on what is
                not; 1 each by default.

        Returns:
            (B, 1 + E), of the general decoder and of the experts in their order, each row summing to 1.
        """
        shares = self.shares(descriptions[:, :, 0], votes)
        experts = descriptions.new_zeros(len(descriptions), len(self.expert_configurations))
        for index, dataset in enumerate(self.datasets):
            view = dataset.everything if index in looked_into else (0,)
            classes = self._judged(index, view, descriptions, votes).softmax(dim=1)
            # A dataset of which nothing was seen has no share.
            classes = torch.where(shares[:, index, None] > 0, shares[:, index, None] * classes, 0)
            for component, owner in enumerate(dataset.owners):
                if owner is not None:
                    experts[:, owner] += classes[:, component]
        return torch.cat([1 - experts.sum(dim=1, keepdim=True), experts], dim=1).clamp(min=0)

    def confidence_of(
        self, descriptions: Tensor, *, dataset: int, expert: int, votes: Sequence[float] | None = None
    ) -> Tensor:
        """Judges prompts that are said to mean a class of an expert: it and the general one are the choice.

        Args:
            descriptions: (B, N, K, F). Only native and the expert's own configuration are read.
            dataset: index of the dataset whose class it is.
            expert: index.
            votes: as in `confidences`.

        Returns:
            (B), the expert's; the rest to 1 is the general one's.
        """
        described = self.datasets[dataset]
        own_configuration = self.expert_configurations[expert]
        view = (0, own_configuration) if own_configuration else (0,)
        logits = self._judged(dataset, view, descriptions, votes)
        own, general = (logits[:, described.components_of(of)].logsumexp(dim=1) for of in (expert, None))
        return torch.where(own > -torch.inf, own - general, -torch.inf).sigmoid()

    def _judged(self, dataset: int, view: Sequence[int], descriptions: Tensor, votes: Sequence[float] | None) -> Tensor:
        """Returns (B, C), what all clicks of a prompt together say of a dataset's components, in logarithms."""
        clicks = self.reduced(descriptions[:, :, list(view)]).flatten(2)
        each = self.discriminant(dataset, view)(clicks).log_softmax(dim=-1)
        described = self.datasets[dataset]
        # Beside all classes is no one thing: a click on something unnamed says nothing against something else unnamed.
        excludable = [i < len(described.owners) and i not in described.in_parts for i in range(each.shape[-1])]
        against = (1 - each.exp()).clamp(min=MOST_AGAINST).log() * torch.tensor(excludable, device=each.device)
        counted = _counted(each, votes)[:, None]
        return (counted.abs() * torch.where(counted > 0, each, against)).sum(dim=1)


def _counted(clicks: Tensor, votes: Sequence[float] | None) -> Tensor:
    """Returns (N), the votes of clicks (B, N, ...)."""
    return clicks.new_ones(clicks.shape[1]) if votes is None else clicks.new_tensor(votes)


def _name(view: Sequence[int]) -> str:
    return "_".join(map(str, view))
