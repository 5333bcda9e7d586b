"""A dataset's described clicks in a file that travels with a mixture: a gate can be fitted to it without any image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sammoe_pipeline.artefacts import MixtureCard, MixtureDataset, sha256_of
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation, check_hash
from sammoe_pipeline.inference.prompt_description import new_gate
from sammoe_pipeline.model.prompt_features import num_prompt_features
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.gate_prompts import OFF_TASK

if TYPE_CHECKING:
    from torch import Tensor

    from sammoe_pipeline.model import SamMed3D

_MOST_OF_A_CLASS = 80
_MOST_OFF_TASK = 200


def write_routing_set(
    path: Path, entry: MixtureDataset, clicks: DescribedClicks, training: Sequence[Collection[str]]
) -> MixtureDataset:
    """Writes a choice of a dataset's described clicks: numbers only, cases by running number, half precision.

    Args:
        path: of the file.
        entry: the dataset's, as a member of the mixture.
        clicks: on the training cases of all folds.
        training: training cases of each of the mixture's folds.

    Returns:
        The entry, naming the file.
    """
    from safetensors.torch import save

    kept = _choice(clicks)
    order = sorted({clicks.cases[index] for index in kept})
    names = [*clicks.names, OFF_TASK]
    held = {
        "descriptions": clicks.descriptions[kept].half(),
        "classes": torch.tensor([names.index(clicks.classes[index]) for index in kept], dtype=torch.int32),
        "cases": torch.tensor([order.index(clicks.cases[index]) for index in kept], dtype=torch.int32),
        "training": torch.tensor(
            [[clicks.cases[index] in cases for cases in training] for index in kept], dtype=torch.uint8
        ).reshape(len(kept), len(training)),
    }
    write_bytes(path, save(held))
    return entry.model_copy(update={"routing_sha256": sha256_of(path), "routing_clicks": len(kept)})


def read_routing_set(path: Path, entry: MixtureDataset) -> tuple[DescribedClicks, list[set[str]]]:
    """Reads a dataset's clicks, and the training cases of each fold; cases are named by running numbers.

    Raises:
        ArtefactError: the mixture has no routing set of this dataset, or it was changed.
    """
    from safetensors.torch import load_file

    if entry.routing_sha256 is None:
        raise ArtefactError(
            f"{path.parent.parent.parent} has no routing set of {entry.dataset}, from which a gate could be fitted "
            f"without its data. Ask whoever made the package to run sammoe_train_gate again and to export the mixture."
        )
    check_hash(path, entry.routing_sha256)
    held = load_file(path)
    names = tuple(entry.configurations)
    named = (*names, OFF_TASK)
    cases = [str(number) for number in held["cases"].tolist()]
    training = [
        {case for case, used in zip(cases, column, strict=True) if used} for column in held["training"].T.tolist()
    ]
    clicks = DescribedClicks(
        names=names,
        classes=tuple(named[index] for index in held["classes"].tolist()),
        cases=tuple(cases),
        descriptions=held["descriptions"].float(),
    )
    return clicks, training


def empty_routing_set(foundation: Foundation, model: SamMed3D, card: MixtureCard, dataset: str) -> dict[str, Tensor]:
    """Returns what a routing set must hold, by name; only shapes count.

    Args:
        foundation: the mixture's.
        model: its network.
        card: the mixture's.
        dataset: whose clicks they are.
    """
    names = [entry.dataset for entry in card.datasets]
    entry = card.datasets[names.index(dataset)]
    told = new_gate(foundation, model, card.datasets, card.experts).datasets[names.index(dataset)]
    number = entry.routing_clicks
    channels = num_prompt_features(model.context_channels, model.detail_channels)
    return {
        "descriptions": torch.empty(number, len(told.everything), channels),
        "classes": torch.empty(number),
        "cases": torch.empty(number),
        "training": torch.empty(number, len(card.folds)),
    }


def _choice(clicks: DescribedClicks) -> list[int]:
    """Returns indices of clicks, so many of each class at most, spread over the cases."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(clicks.classes):
        by_class[name].append(index)
    kept: list[int] = []
    for name, indices in by_class.items():
        most = min(len(indices), _MOST_OFF_TASK if name == OFF_TASK else _MOST_OF_A_CLASS)
        kept += [indices[place] for place in np.linspace(0, len(indices) - 1, most).round().astype(int)]
    return sorted(kept)
