"""The gate: which decoder should answer a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Confidences of the general decoder and every expert for one (image, prompt).

    A prompt is described, in each configuration, by what the frozen embedding says at its clicks (see
    `prompt_features`). One trunk serves all configurations. The general decoder is judged on the native description,
    each expert on the native one and that of its own configuration, so an expert is added or removed without touching
    the others' inputs. Trained as the paper has it: a joint softmax over general and experts, taught by task.

    Args:
        channels: F, length of a prompt's description in one configuration.
        expert_configurations: for each expert the index of its configuration; index 0 is native.
        hidden: H, width of the trunk.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, channels: int, expert_configurations: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.expert_configurations = tuple(expert_configurations)
        # Statistics of the descriptions that the gate was fitted to.
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.trunk = nn.Sequential(nn.Linear(channels, hidden), nn.GELU())
        self.general = nn.Linear(hidden, 1)
        self.experts = nn.ModuleList(nn.Linear(2 * hidden, 1) for _ in expert_configurations)

    def forward(self, descriptions: Tensor) -> Tensor:
        """Judges prompts.

        Args:
            descriptions: (B, K, F), of each prompt in each of K configurations, native first. Configurations of experts
                that are not asked may hold anything.

        Returns:
            Logits (B, 1 + E): the general decoder, then the experts in their order.
        """
        hidden = self.trunk((descriptions - self.mean) / self.deviation)
        native = hidden[:, 0]
        logits = [self.general(native)]
        for head, configuration in zip(self.experts, self.expert_configurations, strict=True):
            logits.append(head(torch.cat([native, hidden[:, configuration]], dim=1)))
        return torch.cat(logits, dim=1)

    def confidences(self, descriptions: Tensor, candidates: Sequence[int]) -> Tensor:
        """Returns the softmax over the general decoder and some experts; the other experts get 0.

        Args:
            descriptions: (B, K, F).
            candidates: indices of the experts that may answer.

        Returns:
            (B, 1 + E), each row summing to 1.
        """
        allowed = torch.zeros(1 + len(self.expert_configurations), dtype=torch.bool)
        allowed[[0, *(1 + index for index in candidates)]] = True
        logits: Tensor = self(descriptions)
        return logits.masked_fill(~allowed.to(logits.device), -torch.inf).softmax(dim=1)


def prompt_features(embedding: Tensor, points: Tensor, mask_logits: Tensor, patch_size: int) -> Tensor:
    """Describes a prompt by the frozen embedding where it points.

    Where in the window a click lies says nothing about what was clicked on, since windows are centred on clicks; so the
    description holds image features only: at the clicks, averaged under the general decoder's soft mask, and over the
    whole window.

    Args:
        embedding: (B, C, g, g, g).
        points: (B, N, 3), positive clicks in voxels of the window.
        mask_logits: (B, 1, m, m, m), the general decoder's answer; m is a multiple of g.
        patch_size: P, voxels a side of the window.

    Returns:
        (B, 3 C).
    """
    # Voxel centres to [-1, 1] from edge to edge; grid_sample wants the last axis first.
    grid = ((points + 0.5) * (2 / patch_size) - 1).flip(-1)[:, :, None, None, :]
    sampled = nn.functional.grid_sample(
        embedding, grid.to(embedding.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    at_clicks = sampled.flatten(2).mean(dim=2)
    size = embedding.shape[-1]
    weight = nn.functional.adaptive_avg_pool3d(mask_logits.to(embedding.dtype).sigmoid(), size)
    under_mask = (embedding * weight).flatten(2).sum(dim=2) / weight.flatten(2).sum(dim=2).clamp(min=1e-6)
    return torch.cat([at_clicks, under_mask, embedding.flatten(2).mean(dim=2)], dim=1)
