"""The most memory that a process, or its work on a card, has held."""

from __future__ import annotations

import sys

import torch


def peak_memory_mb(device: str) -> float:
    """Returns the peak in 10^6 bytes: of the process, or of the card, if the device is one, since its count was reset.

    0 where the system does not tell, as on Windows.
    """
    if torch.device(device).type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 1e6
    try:
        import resource
    except ImportError:
        return 0.0
    # Linux counts in units of 1024 bytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
