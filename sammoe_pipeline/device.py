"""Which device a command computes on."""

from __future__ import annotations

import logging

import torch

from sammoe_pipeline.errors import UsageError

logger = logging.getLogger(__name__)


def choose_device(wanted: str | None) -> str:
    """Returns "cuda" where there is a card and nothing else was asked for, else "cpu".

    Raises:
        UsageError: "cuda" was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UsageError("-device cuda: torch finds no NVIDIA GPU. Use -device cpu, or install torch with CUDA.")
    device = wanted or ("cuda" if available else "cpu")
    name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    logger.info("Computing on %s (%s)", device, name)
    return device
