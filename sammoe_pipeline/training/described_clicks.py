"""Clicks on a dataset's cases as the gate reads them, described once for all folds and mixtures."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.prompt_description import describe
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.prompt_features import num_prompt_features
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.threads import side_by_side
from sammoe_pipeline.training.gate_prompts import MOST_CASES, Member, choose_cases, prompts_in
from sammoe_pipeline.training.optimisation import autocast

logger = logging.getLogger(__name__)

_CLICKS = 600
"""On all classes in the training cases of a fold."""
_FEWEST_CLICKS = 48
"""On one class in them, however many classes there are."""
_MOST_TIMES = 12
"""That a class of one case is clicked on: more of the same patient tell little."""
_OFF_TASK_CLICKS = 4
"""For each time that a class is clicked on in a case, or a quarter of the number of classes where that is more."""
_DESIGN = 5
"""Counts up when clicks are drawn or described another way, so that those of before are described again."""


@dataclass(frozen=True)
class DescribedClicks:
    """Clicks whose meaning is known, in numbers.

    Attributes:
        names: the dataset's classes.
        classes: of each click, one of `names` or `OFF_TASK`.
        cases: of each click.
        descriptions: (N, K, F), in native and in the configurations of the dataset's experts.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    descriptions: Tensor

    def of(self, cases: Collection[str]) -> DescribedClicks:
        """Returns the clicks in some cases."""
        return self.at([index for index, case in enumerate(self.cases) if case in cases])

    def at(self, kept: Sequence[int]) -> DescribedClicks:
        """Returns the clicks of some indices."""
        return DescribedClicks(
            names=self.names,
            classes=tuple(self.classes[index] for index in kept),
            cases=tuple(self.cases[index] for index in kept),
            descriptions=self.descriptions[list(kept)],
        )

    def described_in(self, configurations: Sequence[int]) -> DescribedClicks:
        """Returns the same clicks in some of their configurations, in another order."""
        return replace(self, descriptions=self.descriptions[:, list(configurations)])


def describe_clicks(
    member: Member,
    folds: Sequence[int],
    configurations: Sequence[Configuration],
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
    device: str,
) -> DescribedClicks:
    """Clicks on the training cases of some folds, and describes the clicks that were not described before.

    What a click looks like does not depend on the fold or on the mixture. A file a case keeps it beside the plan, a
    tensor a configuration, so that a mixture that grows describes only what is new.

    Args:
        member: the dataset.
        folds: its own.
        configurations: to describe in, native first.
        model: the foundation's network.
        foundation: its card.
        seed: of clicks.
        device: "cuda" or "cpu".
    """
    from tqdm import tqdm

    planned = member.planned
    training = {case for fold in folds for case in planned.fold(fold).train}
    chosen = choose_cases(member, sorted(case.name for case in member.raw.training_cases), seed)
    cases = [case for case in chosen if case in training]
    clicks = clicks_by_class(planned)
    off_task = clicks_off_task(clicks)
    recipe = _recipe(member, seed, clicks)

    def of_case(case: str) -> tuple[list[str], Tensor]:
        path = planned.paths.described_clicks(case)
        held = _read(path, recipe)
        missing = [one for one in configurations if _key(one) not in (held[1] if held else {})]
        if held is None or missing:
            prompts = prompts_in(
                case, member, model=model, foundation=foundation, seed=seed, clicks=clicks, off_task=off_task
            )
            classes, tensors = [prompt.class_name for prompt in prompts], dict(held[1]) if held else {}
            if prompts:
                with autocast(device):
                    found = describe(prompts[0].case, [p.click for p in prompts], missing, for_answers=False)
                tensors |= {_key(one): found[:, index].float().cpu() for index, one in enumerate(missing)}
            _write(path, recipe, classes, tensors)
            held = classes, tensors
        classes, tensors = held
        if not classes:
            return [], torch.empty(0)
        return classes, torch.stack([tensors[_key(one)] for one in configurations], dim=1)

    bar = tqdm(side_by_side(of_case, cases), desc=f"Describing clicks, {planned.name}", total=len(cases), unit="case")
    found = list(bar)
    channels = num_prompt_features(model.context_channels, model.detail_channels)
    return DescribedClicks(
        names=tuple(planned.description.labels),
        classes=tuple(name for classes, _ in found for name in classes),
        cases=tuple(case for case, (classes, _) in zip(cases, found, strict=True) for _ in classes),
        descriptions=torch.cat(
            [torch.empty(0, len(configurations), channels), *(of for classes, of in found if classes)]
        ),
    )


def clicks_by_class(planned: PlannedDataset) -> dict[str, int]:
    """Returns how often each class is clicked on in a case that has it: more often where few cases do.

    A tumour that every third patient has would else be known from a third of the clicks.
    """
    fewest = min(MOST_CASES, *(len(fold.train) for fold in planned.splits.folds))
    wanted = max(_FEWEST_CLICKS, _CLICKS / len(planned.description.labels))
    times = {}
    for name in planned.description.labels:
        share = float(np.mean([name in case.classes for case in planned.cases.values()]))
        times[name] = min(_MOST_TIMES, math.ceil(wanted / max(1.0, fewest * share)))
    return times


def clicks_off_task(clicks: Mapping[str, int]) -> int:
    """Returns how often it is clicked beside all classes in a case.

    Args:
        clicks: on each class, as `clicks_by_class` returns them.
    """
    return min(clicks.values()) * max(_OFF_TASK_CLICKS, len(clicks) // 4)


def _recipe(member: Member, seed: int, clicks: Mapping[str, int]) -> str:
    """Returns a SHA-256 of all that decides which clicks there are and how they are described."""
    plan = member.planned.plan
    parts = {
        "design": _DESIGN,
        "foundation": plan.foundation_sha256,
        "raw": plan.raw_digest,
        "labels": member.planned.description.labels,
        "targets": {name: chosen.target for name, chosen in plan.classes.items()},
        "seed": seed,
        "clicks": clicks,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(configuration: Configuration) -> str:
    return json.dumps(configuration.model_dump(exclude={"name"}), sort_keys=True)


def _read(path: Path, recipe: str) -> tuple[list[str], dict[str, Tensor]] | None:
    """Returns classes and descriptions of a case's clicks by configuration; None where they are to be made."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            held = file.metadata() or {}
            if held.get("recipe") != recipe:
                return None
            return json.loads(held["classes"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        logger.warning("%s cannot be read (%s); its clicks are described again", path, error)
        return None


def _write(path: Path, recipe: str, classes: list[str], tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
    try:
        write_bytes(path, save(whole, metadata={"recipe": recipe, "classes": json.dumps(classes)}))
    except OSError as error:
        logger.warning("%s cannot be written (%s); its clicks are described again next time", path, error)
