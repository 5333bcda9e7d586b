"""The gate: which decoder should answer a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Confidences of the general decoder and every expert for one (image, prompt).

    A prompt is described, in each configuration, by what the frozen embedding says where it points (see
    `prompt_features`). One trunk serves all configurations. The general decoder is judged on the native description,
    each expert on the native one and that of its own configuration, so an expert is added or removed without touching
    the others' inputs.

    The paper's gate is a softmax over general and experts, taught by task. Here each decoder has one output for every
    class that it is to answer, and its confidence is their sum: what an organ looks like is learnt from fewer prompts
    than what a task of many organs looks like.

    Args:
        channels: F, length of a prompt's description in one configuration.
        general_classes: classes that the general decoder is to answer.
        expert_classes: for each expert how many classes it is to answer.
        expert_configurations: for each expert the index of its configuration; index 0 is native.
        hidden: H, width of the trunk.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        channels: int,
        general_classes: int,
        expert_classes: Sequence[int],
        expert_configurations: Sequence[int],
        hidden: int,
    ) -> None:
        super().__init__()
        self.expert_configurations = tuple(expert_configurations)
        # Statistics of the descriptions that the gate was fitted to.
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.trunk = nn.Sequential(nn.Linear(channels, hidden), nn.GELU())
        self.general = nn.Linear(hidden, general_classes)
        self.experts = nn.ModuleList(nn.Linear(2 * hidden, classes) for classes in expert_classes)

    def forward(self, descriptions: Tensor) -> list[Tensor]:
        """Judges prompts class by class.

        Args:
            descriptions: (B, K, F), of each prompt in each of K configurations, native first. Configurations of experts
                that are not asked may hold anything.

        Returns:
            Logits (B, classes) of the general decoder, then of the experts in their order.
        """
        hidden = self.trunk((descriptions - self.mean) / self.deviation)
        native = hidden[:, 0]
        logits = [self.general(native)]
        for head, configuration in zip(self.experts, self.expert_configurations, strict=True):
            logits.append(head(torch.cat([native, hidden[:, configuration]], dim=1)))
        return logits

    def confidences(self, descriptions: Tensor, candidates: Sequence[int]) -> Tensor:
        """Returns the softmax over the general decoder and some experts, summed by decoder; other experts get 0.

        Args:
            descriptions: (B, K, F).
            candidates: indices of the experts that may answer.

        Returns:
            (B, 1 + E), each row summing to 1.
        """
        logits = [of_one.logsumexp(dim=1) for of_one in self(descriptions)]
        asked = [True] + [index in candidates for index in range(len(self.experts))]
        joined = torch.stack(logits, dim=1).masked_fill(~torch.tensor(asked, device=descriptions.device), -torch.inf)
        return joined.softmax(dim=1)
