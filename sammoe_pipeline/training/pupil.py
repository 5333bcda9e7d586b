"""Who answers in training: a decoder, and the network that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sammoe_pipeline.model import MaskDecoder, SamMed3D, Seen


@dataclass(frozen=True)
class Pupil:
    """A decoder with its network.

    Attributes:
        model: the network.
        decoder: an expert's; None for the network's own.
        encodes: views hold images, which its encoder embeds each time anew, since it is trained too. Else they hold
            embeddings.
    """

    model: SamMed3D
    decoder: MaskDecoder | None
    encodes: bool = False

    def look(self, held: Tensor) -> Seen:
        """Returns what the decoder sees in a batch of what views hold."""
        embedding = self.model.encode(held) if self.encodes else held
        return self.model.see(embedding, self.decoder)
