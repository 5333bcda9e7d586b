"""Several decoders that answer one prompt in one pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from .mask_decoder import MaskDecoder


class DecoderStack:
    """Frozen decoders of one form with their weights side by side: row e of a batch is answered by decoder e.

    All of them read the same image embedding, which is not copied. On a card, whose time goes into starting many small
    operations, E decoders then take little longer than one.

    Args:
        decoders: at least one, on one device. Their weights are copied.

    Example:
        >>> stack = DecoderStack(experts)
        >>> points, labels = points.expand(len(stack), -1, -1), labels.expand(len(stack), -1)
        >>> model.decode(embedding, points, labels, mask_decoder=stack)
    """

    def __init__(self, decoders: Sequence[MaskDecoder]) -> None:
        self._form = copy.deepcopy(decoders[0]).to("meta")
        states = [decoder.state_dict() for decoder in decoders]
        self._weights = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self._count = len(decoders)

    def __len__(self) -> int:
        """How many decoders there are, E."""
        return self._count

    def __call__(
        self,
        image_embedding: Tensor,
        image_position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        clicks: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """Predicts one mask a decoder.

        Args:
            image_embedding: (1, C, g, g, g), or (1, C + 64 (D + V), g, g, g) with detail.
            image_position: (1, C, g, g, g), position embedding of its cells.
            sparse: (E, N, C), tokens of the clicks.
            dense: (E or 1, C, g, g, g), embedding of each decoder's previous mask.
            clicks: (E, n, 3), fractions of the patch in [0, 1].
            labels: (E, n), 1 positive, 0 negative, -1 padding.

        Returns:
            Logits (E, 1, m, m, m).
        """

        def decode(weights: dict[str, Tensor], *prompt: Tensor) -> Tensor:
            sparse, dense, clicks, labels = (part.unsqueeze(0) for part in prompt)
            embeddings = (image_embedding, image_position, sparse, dense)
            logits: Tensor = functional_call(self._form, weights, embeddings, {"clicks": clicks, "labels": labels})
            return logits.squeeze(0)

        prompts = (sparse, dense.expand(self._count, -1, -1, -1, -1), clicks, labels)
        stacked: Tensor = vmap(decode)(self._weights, *prompts)
        return stacked
