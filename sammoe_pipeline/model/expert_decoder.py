"""Decoders of experts: copies of the general one, which may have a second look."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .mask_decoder import MaskDecoder
from .second_look import SecondLook, looks_again

if TYPE_CHECKING:
    from .sam_med3d import SamMed3D


def new_decoder(model: SamMed3D, *, second_look: bool, start: Mapping[str, Tensor] | None = None) -> MaskDecoder:
    """Returns a decoder to train, on the device of the model.

    Args:
        model: the foundation's network.
        second_look: give it one; unless it comes with the start, it adds nothing before it is trained.
        start: weights of another expert to begin with, whose second look is left out where none is asked for; by
            default those of the general decoder.

    Raises:
        ValueError: the network's embedding has no detail to add to.
    """
    decoder = copy.deepcopy(model.mask_decoder)
    if second_look:
        if not model.detail_channels:
            raise ValueError("a second look adds to the detail of the embedding, and this network's embedding has none")
        with torch.device(next(decoder.parameters()).device):
            decoder.second_look = SecondLook(
                context_channels=model.context_channels, detail_channels=model.detail_channels
            )
    if start is not None:
        state = decoder.state_dict()
        decoder.load_state_dict(state | {name: value for name, value in start.items() if name in state})
    return decoder


def decoder_with(model: SamMed3D, weights: Mapping[str, Tensor]) -> MaskDecoder:
    """Returns a decoder with the weights of an expert, with a second look where these have one."""
    decoder = new_decoder(model, second_look=looks_again(weights))
    decoder.load_state_dict(weights, strict=True)
    return decoder
