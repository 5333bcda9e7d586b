"""The locator: where each class of a dataset lies, from the frozen embedding, so that nobody has to click."""

from __future__ import annotations

from torch import Tensor, nn

from .detailed_encoder import unpack_detail
from .layers import PatchConvTranspose3d


class Locator(nn.Module):
    """A small head from the embedding to one coarse probability map a class.

    Args:
        channels: C, of the embedding's context.
        detail_channels: D, of each mask cell's detail in the embedding; 0 where it has none.
        num_classes: K.
        widths: channels after the projection and after each of the two upsamplings.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        detail_channels: int = 0,
        widths: tuple[int, int, int] = (128, 64, 32),
    ) -> None:
        super().__init__()
        self.channels = channels
        first, second, third = widths
        self.project = nn.Sequential(nn.Linear(channels, first), nn.LayerNorm(first), nn.GELU())
        self.upsample1 = PatchConvTranspose3d(first, second, size=2)
        self.upsample2 = PatchConvTranspose3d(second, third, size=2)
        self.detail = nn.Linear(detail_channels, third) if detail_channels else None
        self.activation = nn.GELU()
        self.classify = nn.Linear(third, num_classes)
        # Most cells belong to no class: start from that.
        nn.init.constant_(self.classify.bias, -4.0)

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, C + 64 D, g, g, g) -> logits (B, K, m, m, m) with m = 4 g, one independent map a class."""
        x = self.project(embedding[:, : self.channels].permute(0, 2, 3, 4, 1))
        x = self.activation(self.upsample1(x))
        x = self.upsample2(x)
        if self.detail is not None:
            x = x + self.detail(unpack_detail(embedding[:, self.channels :]))
        x = self.activation(x)
        logits: Tensor = self.classify(x).permute(0, 4, 1, 2, 3)
        return logits
