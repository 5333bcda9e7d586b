"""Whether the bytes of a safetensors file are weights of a foundation's parts, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundation_weights import require_fit

if TYPE_CHECKING:
    from torch import Tensor

    from sammoe_pipeline.artefacts import FoundationCard
    from sammoe_pipeline.model import SamMed3D

_NOTES = "__metadata__"
_LENGTH_BYTES = 8
_LARGEST_NUMBER_BYTES = 8
_LARGEST_HEADER_BYTES = 1 << 20


def network_without_weights(card: FoundationCard) -> SamMed3D:
    """Builds a foundation's network for its names and shapes alone; it takes no memory.

    Raises:
        ArtefactError: there is no such network.
    """
    import torch

    from sammoe_pipeline.model import build_sam_med3d

    try:
        with torch.device("meta"):
            return build_sam_med3d(card.builder, card.patch_size)
    except ValueError as error:
        raise ArtefactError(f"Foundation '{card.name}': {error}") from error


def largest_size_bytes(expected: Mapping[str, Tensor]) -> int:
    """Returns how long a safetensors file of these weights can be in the widest type of number."""
    return sum(value.numel() for value in expected.values()) * _LARGEST_NUMBER_BYTES + _LARGEST_HEADER_BYTES


def require_weights(content: bytes, expected: Mapping[str, Tensor], *, origin: str, part: str) -> None:
    """Refuses anything but a safetensors file of exactly these weights. Nothing in it can be run.

    Args:
        content: the file.
        expected: of which only names and shapes count.
        origin: where it comes from, for the message.
        part: what it should be weights of, for the message.

    Raises:
        ArtefactError: it is of another format or broken, carries notes, or does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise ArtefactError(
            f"{origin} is no safetensors file ({error}). Weights are taken in no other format: a pickle is a program."
        ) from error
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if _NOTES in json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length]):
        raise ArtefactError(
            f"{origin} carries notes ({_NOTES}), which could name anything. Save its weights again without them."
        )
    require_fit(state, expected, path=origin, network=part)
