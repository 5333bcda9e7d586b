"""Batches made ahead of time in a process of their own, while the network computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T", covariant=True)


class Batches(Protocol[T]):
    """Something picklable that makes the batch of any iteration, whichever were made before."""

    def __getitem__(self, iteration: int) -> T: ...


class _Indexed(Dataset[T]):
    def __init__(self, batches: Batches[T]) -> None:
        self._batches = batches

    def __getitem__(self, index: int) -> T:
        # Small operations on many threads lose more in waiting for each other than they gain.
        torch.set_num_threads(1)
        return self._batches[index]


def prefetch(batches: Batches[T], iterations: Sequence[int], *, workers: int = 1, ahead: int = 4) -> Iterable[T]:
    """Yields the batches of `iterations` in order, made by worker processes.

    Args:
        batches: makes a batch from the number of its iteration alone, so that the order is exact after a restart.
        iterations: which to yield.
        workers: processes that make them.
        ahead: batches that each holds ready.
    """
    return DataLoader(
        _Indexed(batches),
        batch_size=None,
        sampler=iterations,
        num_workers=workers,
        prefetch_factor=ahead,
        multiprocessing_context="spawn",
        persistent_workers=False,
    )
