"""Teaching a gate, by task, which prompt is whose."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from sammoe_pipeline.artefacts import MixtureExpert
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.prompt_description import new_gate
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.training.gate_prompts import Member, prompts_of
from sammoe_pipeline.training.optimisation import learning_rate_at

logger = logging.getLogger(__name__)

HIDDEN = 48
_ITERATIONS = 400
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.02


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
    descriptions, targets = _describe_all(members, fold, experts, model, foundation, seed)
    descriptions, targets = descriptions.to(device), targets.to(device)
    torch.manual_seed(seed)
    gate = new_gate(foundation, model, experts, hidden=HIDDEN).to(device)
    gate.mean.copy_(descriptions.flatten(0, 1).mean(dim=0))
    gate.deviation.copy_(descriptions.flatten(0, 1).std(dim=0).clamp(min=1e-4))
    # Every decoder counts the same, however many prompts are its own.
    counts = torch.bincount(targets, minlength=1 + len(experts)).float()
    weights = counts.sum() / (counts.clamp(min=1) * int((counts > 0).sum()))
    optimiser = torch.optim.AdamW(gate.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    for iteration in range(_ITERATIONS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(iteration, _ITERATIONS, _LEARNING_RATE)
        loss = torch.nn.functional.cross_entropy(gate(descriptions), targets, weight=weights, label_smoothing=0.02)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    right = float((gate(descriptions).argmax(dim=1) == targets).float().mean())
    logger.info("Gate of fold %d: %d prompts, %.1f %% of them reach their task", fold, len(targets), 100 * right)
    return gate.eval().requires_grad_(False)


def _describe_all(
    members: Sequence[Member],
    fold: int,
    experts: Sequence[MixtureExpert],
    model: SamMed3D,
    foundation: Foundation,
    seed: int,
) -> tuple[Tensor, Tensor]:
    from tqdm import tqdm

    descriptions, targets = [], []
    for member in members:
        cases = member.planned.fold(fold % member.planned.num_folds).train
        prompts = prompts_of(member, cases, model=model, foundation=foundation, seed=seed, off_task=True)
        for prompt in tqdm(prompts, desc=f"Describing {member.planned.name}, fold {fold}", unit="prompt"):
            descriptions.append(prompt.description(foundation, experts).cpu())
            targets.append(0 if prompt.expert is None else 1 + prompt.expert)
    return torch.cat(descriptions), torch.tensor(targets)
