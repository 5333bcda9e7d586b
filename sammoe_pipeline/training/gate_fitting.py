"""Teaching a gate, class by class, which prompt is whose."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sammoe_pipeline.artefacts import MixtureExpert
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.prompt_description import describe, new_gate
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.threads import side_by_side
from sammoe_pipeline.training.gate_prompts import OFF_TASK, Member, choose_cases, prompts_in
from sammoe_pipeline.training.optimisation import autocast, learning_rate_at

logger = logging.getLogger(__name__)

HIDDEN = 48
_ITERATIONS = 400
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.02
_PROMPTS = 24
"""Of each class, where every training case has it; few cases are clicked on more often."""
_NOISE = 0.3


def classes_of(members: Sequence[Member], experts: Sequence[MixtureExpert]) -> dict[str, tuple[str, ...]]:
    """Returns what each decoder of a mixture is to answer, in the order of the gate's outputs.

    Args:
        members: the mixture's datasets.
        experts: of the mixture, in the gate's order.

    Returns:
        Classes as `DatasetXXX_Name:class`, by expert key and of `GENERAL`, which answers off-task prompts as well.
    """
    keys = [GENERAL, *(expert_key(expert.dataset, expert.task) for expert in experts)]
    classes: dict[str, list[str]] = {key: [] for key in keys}
    for member in members:
        for name in member.planned.description.labels:
            index = member.experts.get(name)
            classes[keys[0 if index is None else 1 + index]].append(member.name_of(name))
    classes[GENERAL].append(OFF_TASK)
    return {key: tuple(names) for key, names in classes.items()}


def fit_gate(
    members: Sequence[Member],
    fold: int,
    experts: Sequence[MixtureExpert],
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
    device: str,
) -> Gate:
    """Trains the gate of a fold on clicks in its training cases, and on clicks beside all tasks.

    Args:
        members: the mixture's datasets.
        fold: mixture fold.
        experts: of the mixture, in the gate's order.
        model: the foundation's network.
        foundation: its card.
        seed: of clicks and initial weights.
        device: "cuda" or "cpu".
    """
    classes = classes_of(members, experts)
    place = {name: index for index, name in enumerate(name for names in classes.values() for name in names)}
    descriptions, names = _describe_all(members, fold, experts, model, foundation, seed, device)
    descriptions, targets = descriptions.to(device), torch.tensor([place[name] for name in names], device=device)
    torch.manual_seed(seed)
    gate = new_gate(foundation, model, experts, classes, hidden=HIDDEN).to(device)
    gate.mean.copy_(descriptions.flatten(0, 1).mean(dim=0))
    gate.deviation.copy_(descriptions.flatten(0, 1).std(dim=0).clamp(min=1e-4))
    # Every class counts the same, however many prompts are its own.
    counts = torch.bincount(targets, minlength=len(place)).float()
    weights = counts.sum() / (counts.clamp(min=1) * int((counts > 0).sum()))
    noise_of = torch.Generator(device).manual_seed(seed)
    optimiser = torch.optim.AdamW(gate.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    for iteration in range(_ITERATIONS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(iteration, _ITERATIONS, _LEARNING_RATE)
        # Noise, in standard deviations, stands for the patients that are not there.
        noise = _NOISE * torch.randn(descriptions.shape, generator=noise_of, device=device) * gate.deviation
        logits = torch.cat(gate(descriptions + noise), dim=1)
        loss = torch.nn.functional.cross_entropy(logits, targets, weight=weights, label_smoothing=0.02)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    right = float((torch.cat(gate(descriptions), dim=1).argmax(dim=1) == targets).float().mean())
    logger.info("Gate of fold %d: %d prompts, of %.1f %% it knows the class", fold, len(targets), 100 * right)
    return gate.eval().requires_grad_(False)


def _describe_all(
    members: Sequence[Member],
    fold: int,
    experts: Sequence[MixtureExpert],
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
    device: str,
) -> tuple[Tensor, list[str]]:
    from tqdm import tqdm

    def show(job: tuple[Member, str, int]) -> tuple[list[Tensor], list[str]]:
        member, case, clicks = job
        prompts = prompts_in(case, member, model=model, foundation=foundation, seed=seed, clicks=clicks, off_task=True)
        if not prompts:
            return [], []
        shown = [[prompt.click] for prompt in prompts]
        with autocast(device):
            found = describe(foundation, experts, prompts[0].case, shown, range(len(experts)), for_answers=False)
        return [found.float().cpu()], [prompt.class_key for prompt in prompts]

    jobs = []
    for member in members:
        train = member.planned.fold(fold % member.planned.num_folds).train
        jobs += [(member, case, math.ceil(_PROMPTS / len(train))) for case in choose_cases(member, train, seed)]
    descriptions, names = [], []
    for of_case, keys in tqdm(
        side_by_side(show, jobs), desc=f"Describing clicks, fold {fold}", total=len(jobs), unit="case"
    ):
        descriptions += of_case
        names += keys
    return torch.cat(descriptions), names
