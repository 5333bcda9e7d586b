"""An image in one configuration with its windows embedded: the encoder runs once a window, whoever decodes it.

Decodings are kept as well: a click more costs one decoding more, not all of them again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.geometry import Shape, crop
from sammoe_pipeline.inference.recent import Recent
from sammoe_pipeline.inference.zoomed import Zoomed
from sammoe_pipeline.model import DecoderStack, MaskDecoder, SamMed3D, Seen, new_decoder
from sammoe_pipeline.normalisation import NORMALISATIONS
from sammoe_pipeline.training.interaction import click_tensors

_KEPT_EMBEDDINGS = 64
_KEPT_LOGITS = 256
_LOGITS_OF_A_WINDOW = 8
_KEPT_SEEN = 64
_KEPT_STACKS = 4

Decoders = tuple[MaskDecoder | None, ...]


class EncodedImage:
    """An image at a configuration's spacing, with the embeddings of the windows that were looked at.

    Args:
        image: (x, y, z) float32, not normalised; or computed window by window.
        model: the foundation.
        normalisation: in `sammoe_pipeline.normalisation.NORMALISATIONS`.
        sparing: keep the last window only, and let decoders answer one after another, where memory is short.
    """

    def __init__(self, image: Tensor | Zoomed, *, model: SamMed3D, normalisation: str, sparing: bool = False) -> None:
        self.image = image
        self.model = model
        self.size = model.patch_size
        self._normalise = NORMALISATIONS[normalisation]
        self._sparing = sparing
        self._embeddings = Recent[Shape, Tensor](1 if sparing else _KEPT_EMBEDDINGS)
        self._logits = Recent[tuple[Shape, tuple[Click, ...], Decoders], Tensor](
            _LOGITS_OF_A_WINDOW if sparing else _KEPT_LOGITS
        )
        self._seen = Recent[tuple[Shape, MaskDecoder | None], Seen](1 if sparing else _KEPT_SEEN)
        self._stacks = Recent[Decoders, DecoderStack](_KEPT_STACKS)

    @property
    def shape(self) -> Shape:
        """Voxels of the image in this configuration."""
        x, y, z = self.image.shape
        return x, y, z

    def window_around(self, position: tuple[float, float, float]) -> Shape:
        """Returns the first voxel of the window whose middle lies on a voxel position; it may hang over the image."""
        x, y, z = (round(value) - self.size // 2 for value in position)
        return x, y, z

    def window(self, start: Shape) -> Tensor:
        """Returns the normalised window (P, P, P) that begins at `start`."""
        if isinstance(self.image, Zoomed):
            return self._normalise(self.image.window(start, self.size, torch.nan))
        return self._normalise(crop(self.image, start, self.size, pad_value=torch.nan))

    def embedding(self, start: Shape) -> Tensor:
        """Returns the embedding (1, C, g, g, g) of the window that begins at `start`, on the model's device."""

        def embed() -> Tensor:
            device = next(self.model.parameters()).device
            with torch.inference_mode():
                return self.model.encode(self.window(start)[None, None].to(device))

        return self._embeddings.get(start, embed)

    def logits(self, start: Shape, clicks: tuple[Click, ...], *decoders: MaskDecoder | None) -> Tensor:
        """Decodes a window, its clicks taken one after another as they were in training.

        Args:
            start: first voxel of the window.
            clicks: at least one, in voxels of the window.
            decoders: experts', or None for the general one. On a card several answer in one pass, each continuing its
                own mask; a processor would gain nothing by it.

        Returns:
            Logits (E, 1, m, m, m) on the model's device, one row a decoder.
        """

        if len(decoders) > 1 and (self._sparing or not _joins(next(self.model.parameters()).device)):
            return torch.cat([self.logits(start, clicks, decoder) for decoder in decoders])

        def decode() -> Tensor:
            previous = self.logits(start, clicks[:-1], *decoders) if len(clicks) > 1 else None
            points, labels = click_tensors([clicks] * len(decoders), next(self.model.parameters()).device)
            with torch.inference_mode():
                if len(decoders) > 1:
                    stack = self._stack(decoders)
                    return self.model.decode(self.embedding(start), points, labels, previous, mask_decoder=stack)
                decoder = decoders[0]
                seen = self._seen.get((start, decoder), lambda: self.model.see(self.embedding(start), decoder))
                return self.model.decode(seen, points, labels, previous, mask_decoder=decoder)

        return self._logits.get((start, clicks, decoders), decode)

    def _stack(self, decoders: Decoders) -> DecoderStack:
        """Returns decoders side by side, which must be of one form: the general one looks a second time, in vain."""

        def make() -> DecoderStack:
            look = any(decoder is not None and decoder.second_look is not None for decoder in decoders)
            general = new_decoder(self.model, second_look=look)
            return DecoderStack([decoder or general for decoder in decoders])

        return self._stacks.get(decoders, make)


def _joins(device: torch.device) -> bool:
    """Tells whether several decoders are worth joining: where starting operations costs more than computing them."""
    return device.type == "cuda"
