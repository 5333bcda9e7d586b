"""State of a training run on disk: written whole, read without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.errors import ArtefactError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a training state (tensors, numbers, strings) atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a training state onto the CPU. Only tensors and plain values are accepted, never code.

    Raises:
        ArtefactError: the file is missing or broken.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} does not exist: there is nothing to continue. Start without --c.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtefactError(f"{path} cannot be read as a checkpoint ({error}). Remove it to start again.") from error
    return state
