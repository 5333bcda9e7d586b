"""Fitting a gate in closed form to clicks whose class is known."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import sha256_of
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.model.gate import OFF_TASK_COMPONENTS, Discriminant, Gate, mean_density
from sammoe_pipeline.threads import one_thread
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.gate_prompts import OFF_TASK

logger = logging.getLogger(__name__)

_SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_TEMPERATURES = tuple(float(value) for value in np.geomspace(1, 300, 40))
_PARTS = 5
_CLICKS_A_COMPONENT = 4
_ATYPICAL = 0.01
"""Share of the clicks in left-out cases that may look as if they were from elsewhere."""
_LEAST_DEVIATION = 1e-4


@one_thread()
def fit_gate(gate: Gate, clicks: Sequence[DescribedClicks], *, seed: int) -> Gate:
    """Fits a gate to clicks in the training cases of a fold.

    How far the spread of the components is shrunk to a sphere, and how sure a discriminant may be, are those under
    which clicks in cases that are left out in turn are likeliest.

    Args:
        gate: of the mixture; filled in place.
        clicks: of its datasets, in its order.
        seed: of the kinds of things that the datasets do not name.

    Returns:
        The gate.
    """
    from tqdm import tqdm

    known, right, first = sum(len(of.classes) for of in clicks), 0, 0
    if not known:
        return gate.eval()
    bar = tqdm(
        total=1 + sum(len(dataset.views) for dataset in gate.datasets), desc="Fitting the gate", unit="discriminant"
    )
    _reduce(gate, torch.cat([of.descriptions.flatten(0, 1) for of in clicks]).double())
    native: list[_Samples] = []
    for index, (dataset, of_dataset) in enumerate(zip(gate.datasets, clicks, strict=True)):
        components, parts = _components(of_dataset, seed), _parts(of_dataset.cases)
        classes = torch.arange(dataset.num_components).clamp(max=len(dataset.owners))
        for view in dataset.views:
            columns = [dataset.everything.index(configuration) for configuration in view]
            seen = gate.reduced(of_dataset.descriptions[:, columns]).flatten(1).double()
            samples = _Samples(seen, components, parts, classes)
            if view == (0,):
                native.append(_Samples(seen, first + components, parts, first + classes))
            if len(seen):
                choice = _choose(samples)
                _fill(gate.discriminant(index, view), samples, choice)
            bar.update()
        right += choice.right if len(components) else 0
        first += dataset.num_components
    together = _Samples.joined(native)
    choice = _choose(together)
    gate.root.copy_(_fill(gate.whose, together, choice))
    bar.update()
    bar.close()
    sizes = [dataset.num_components for dataset in gate.datasets]
    likeliest = torch.stack([mean_density(part) for part in torch.split(choice.left_out, sizes, dim=1)]).amax(dim=0)
    gate.reach.copy_(torch.quantile(likeliest - choice.common, _ATYPICAL))
    share = 100 * right / known
    logger.info("Gate: %d clicks; of those in cases left out it knows the class of %.1f %%", known, share)
    return gate.eval()


def write_gate(gate: Gate, path: Path) -> str:
    """Writes a gate's weights; returns their SHA-256."""
    from safetensors.torch import save

    write_bytes(path, save({name: held.cpu().contiguous() for name, held in gate.state_dict().items()}))
    return sha256_of(path)


def _reduce(gate: Gate, seen: Tensor) -> None:
    """Finds the main directions of descriptions (N, F), where they are longer than the gate's discriminants read."""
    gate.mean.copy_(seen.mean(dim=0))
    gate.deviation.copy_(seen.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION))
    if gate.basis.shape[0] > gate.basis.shape[1]:
        standardised = (seen - seen.mean(dim=0)) / gate.deviation
        _, directions = torch.linalg.eigh(standardised.T @ standardised)
        gate.basis.copy_(directions[:, -gate.basis.shape[1] :])


@dataclass(frozen=True)
class _Samples:
    """Clicks to fit a discriminant to.

    Attributes:
        descriptions: (N, D).
        components: (N), which component each is of.
        parts: (N), which part of the cases each is from.
        classes: (C), the class of each component: several make up what a dataset does not name.
    """

    descriptions: Tensor
    components: Tensor
    parts: Tensor
    classes: Tensor

    @classmethod
    def joined(cls, samples: Sequence[_Samples]) -> _Samples:
        """Returns the samples of all datasets as one."""
        names = cls.__dataclass_fields__
        return cls(**{name: torch.cat([getattr(one, name) for one in samples]) for name in names})

    def standardised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the descriptions relative to their mean and deviation, and these."""
        centre = self.descriptions.mean(dim=0)
        scale = self.descriptions.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION)
        return (self.descriptions - centre) / scale, centre, scale


@dataclass(frozen=True)
class _Choice:
    """How a discriminant is best fitted, and what it says of clicks in cases that it was not fitted to.

    Attributes:
        shrinkage: of the spread to a sphere, 0 to 1.
        temperature: that log-densities are divided by.
        left_out: (N, C), log-densities so divided, up to `common`.
        common: (N), half the squared length of whitened samples, likewise divided.
        right: of how many clicks the likeliest class was theirs.
    """

    shrinkage: float
    temperature: float
    left_out: Tensor
    common: Tensor
    right: int


def _choose(samples: _Samples) -> _Choice:
    """Leaves parts of the cases out in turn, and takes what makes the classes of their clicks likeliest."""
    seen, _, _ = samples.standardised()
    names, own = torch.unique(samples.classes, return_inverse=True)
    target = own[samples.components]
    members = [torch.nonzero(own == index)[:, 0] for index in range(len(names))]
    best, best_loss = None, math.inf
    for shrinkage in _SHRINKAGES:
        densities = seen.new_empty(len(seen), len(samples.classes))
        common = seen.new_empty(len(seen))
        for part in range(_PARTS):
            out = samples.parts == part
            kept = out if out.all() else ~out
            means, precision = _spread(seen[kept], samples.components[kept], len(samples.classes), shrinkage)
            densities[out] = _log_densities(seen[out], means, precision)
            common[out] = 0.5 * torch.einsum("nd,de,ne->n", seen[out], precision, seen[out])
        for temperature in _TEMPERATURES:
            tempered = densities / temperature
            by_class = torch.stack(
                [tempered[:, of[0]] if len(of) == 1 else tempered[:, of].logsumexp(dim=1) for of in members], dim=1
            )
            losses = -by_class.log_softmax(dim=1).gather(1, target[:, None])[:, 0]
            # A class that is in one part alone cannot be known in it.
            loss = float(losses[losses.isfinite()].mean())
            if best is None or loss < best_loss:
                right = int((by_class.argmax(dim=1) == target).sum())
                best = _Choice(shrinkage, temperature, densities / temperature, common / temperature, right)
                best_loss = loss
    assert best is not None
    return best


def _fill(discriminant: Discriminant, samples: _Samples, choice: _Choice) -> Tensor:
    """Writes a discriminant as chosen; returns (D, D) that whitens standardised descriptions at its temperature."""
    seen, centre, scale = samples.standardised()
    means, precision = _spread(seen, samples.components, len(samples.classes), choice.shrinkage)
    present = means.isfinite().all(dim=1)
    precision = precision / choice.temperature
    weight = torch.where(present[:, None], means, 0) @ precision
    discriminant.centre.copy_(centre)
    discriminant.scale.copy_(scale)
    discriminant.weight.copy_(weight)
    discriminant.bias.copy_(torch.where(present, -0.5 * (weight * means).sum(dim=1), -torch.inf))
    root: Tensor = torch.linalg.cholesky(precision)
    return root


def _spread(seen: Tensor, components: Tensor, num_components: int, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Returns the mean of each component (C, D), NaN without samples, and the inverse of the spread around them."""
    from sklearn.covariance import shrunk_covariance

    chosen = torch.nn.functional.one_hot(components, num_components).to(seen.dtype)
    means = (chosen.T @ seen) / chosen.sum(dim=0)[:, None]
    around = seen - means[components]
    shrunk = shrunk_covariance((around.T @ around / len(seen)).numpy(), shrinkage)
    # Samples that are all their own means spread nowhere: any spread then tells them apart.
    return means, torch.from_numpy(np.linalg.inv(shrunk + 1e-6 * np.eye(len(shrunk))))


def _log_densities(seen: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """Returns (N, C), up to what the components have in common; minus infinity for those without a mean."""
    weight = means @ precision
    densities = seen @ weight.T - 0.5 * (weight * means).sum(dim=1)
    absent = densities.isnan()
    return torch.where(absent, torch.full_like(densities, -torch.inf), densities)


def _components(clicks: DescribedClicks, seed: int) -> Tensor:
    """Returns the component of each click (N): its class, or the kind of thing that the dataset does not name."""
    from sklearn.cluster import KMeans

    components = torch.tensor([clicks.names.index(name) if name != OFF_TASK else -1 for name in clicks.classes]).long()
    unnamed = components < 0
    if unnamed.any():
        seen = clicks.descriptions.flatten(1).double()
        seen = ((seen - seen.mean(dim=0)) / seen.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION))[unnamed]
        kinds = min(OFF_TASK_COMPONENTS, max(1, len(seen) // _CLICKS_A_COMPONENT))
        found = KMeans(kinds, n_init=4, random_state=seed).fit_predict(seen.numpy())
        components[unnamed] = len(clicks.names) + torch.from_numpy(found).long()
    return components


def _parts(cases: Sequence[str]) -> Tensor:
    """Returns which part of the cases each click is from (N); clicks of a single case are dealt out themselves."""
    order = sorted(set(cases))
    places = [order.index(case) for case in cases] if len(order) > 1 else range(len(cases))
    return torch.tensor([place % _PARTS for place in places]).long()
