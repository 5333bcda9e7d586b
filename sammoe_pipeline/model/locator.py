"""The locator: where each class of a dataset lies, from the frozen embedding, so that nobody has to click."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .detailed_encoder import detail_of, voxels_of
from .layers import LocalMixing, PatchConvTranspose3d
from .second_look import SecondLook

PLACES = 6
"""Numbers that say where a cell lies: between the borders of the image, and between those of the body in it."""
_FREQUENCIES = (1, 2, 4)
_HIDDEN = 64


class Locator(nn.Module):
    """A small head from the embedding, and where in the image it lies, to one coarse probability map a class.

    What a promptable network embeds says what things look like and hardly which they are: two kidneys differ in where
    they lie. So each cell is told its place.

    Args:
        channels: C, of the embedding's context.
        detail_channels: D, of each mask cell's detail in the embedding; 0 where it has none.
        num_classes: K.
        second_look: add to the detail what convolutions of its own find in the voxels; only where there is detail.
        widths: channels after the projection and after each of the two upsamplings.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        detail_channels: int = 0,
        second_look: bool = False,
        widths: tuple[int, int, int] = (64, 32, 32),
    ) -> None:
        super().__init__()
        self.channels = channels
        first, second, third = widths
        self.project = nn.Sequential(nn.Linear(channels, first), nn.LayerNorm(first))
        self.place = nn.Sequential(
            nn.Linear(PLACES * (1 + 2 * len(_FREQUENCIES)), _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, first + third)
        )
        self.upsample1 = PatchConvTranspose3d(first, second, size=2)
        self.upsample2 = PatchConvTranspose3d(second, third, size=2)
        self.detail = nn.Linear(detail_channels, third) if detail_channels else None
        self.second_look = (
            SecondLook(context_channels=channels, detail_channels=detail_channels) if second_look else None
        )
        self.mix = LocalMixing(third)
        self.activation = nn.GELU()
        self.classify = nn.Linear(third, num_classes)
        # Most cells belong to no class: start from that.
        nn.init.constant_(self.classify.bias, -4.0)

    def forward(self, embedding: Tensor, places: Tensor) -> Tensor:
        """Maps the classes of windows.

        Args:
            embedding: (B, C, g, g, g), or (B, C + 64 (D + V), g, g, g) with detail.
            places: (B, g, g, g, `PLACES`), of the embedding's cells: -1 at the first border, 1 at the last.

        Returns:
            Logits (B, K, m, m, m) with m = 4 g, one independent map a class.
        """
        context = embedding[:, : self.channels]
        x = self.project(context.permute(0, 2, 3, 4, 1))
        coarse, fine = self.place(_waves(places)).split([x.shape[-1], self.classify.in_features], dim=-1)
        x = self.activation(x + coarse)
        x = self.activation(self.upsample1(x))
        x = self.upsample2(x)
        if self.detail is not None:
            detail = detail_of(embedding, self.channels)
            if self.second_look is not None:
                detail = self.second_look(context, detail, voxels_of(embedding))
            x = x + self.detail(detail)
        x = x + F.interpolate(fine.movedim(-1, 1), size=x.shape[1:4], mode="trilinear", align_corners=False).movedim(
            1, -1
        )
        logits: Tensor = self.classify(self.mix(self.activation(x))).permute(0, 4, 1, 2, 3)
        return logits


def _waves(places: Tensor) -> Tensor:
    """(..., n) -> (..., 7 n): places, and their sine and cosine at several frequencies."""
    waves = [wave(0.5 * math.pi * frequency * places) for frequency in _FREQUENCIES for wave in (torch.sin, torch.cos)]
    return torch.cat([places, *waves], dim=-1)
