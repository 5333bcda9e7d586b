"""One expert trained by several processes, each with a share of every batch: what `torchrun` starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn

from sammoe_pipeline.errors import UsageError

T = TypeVar("T")

_PATIENCE = timedelta(hours=12)
"""The others wait this long for the first, which alone fits locators and measures."""


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Attributes:
        rank: which of them this is; the first, 0, measures and writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that measures and writes."""
        return self.rank == 0

    def own(self, positions: int) -> Sequence[int]:
        """Returns which positions of a batch are this process's.

        Raises:
            UsageError: there are fewer than processes.
        """
        if positions < self.size:
            raise UsageError(
                f"torchrun --nproc_per_node {self.size}: a batch has only {positions} views to share out. Start fewer "
                f"processes, or raise training.batch_size in the plan."
            )
        return range(self.rank, positions, self.size)

    def add_up(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> float:
        """Adds up the gradients of all processes, in place, and returns the sum of their losses.

        Args:
            parameters: that are trained, each with its gradient.
            loss: this process's part of the loss of the batch.
        """
        if self.size == 1:
            return float(loss.detach())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.detach().float().reshape(1)])
        torch.distributed.all_reduce(flat)
        first = 0
        for gradient in gradients:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()
        return float(flat[-1])

    def agree(self, value: T) -> T:
        """Returns what the first process gives, in all of them."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values)
        return values[0]


ALONE = Team()


@contextmanager
def team(device: str) -> Iterator[tuple[Team, str]]:
    """Joins the processes that `torchrun` started beside this one; without it, this one is alone.

    Args:
        device: "cuda" or "cpu".

    Yields:
        The team, and this process's own device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        device = f"cuda:{local % torch.cuda.device_count()}"
        torch.cuda.set_device(device)
        # torchrun leaves each process one thread; views are drawn on the processor, beside the card.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", size))))
    torch.distributed.init_process_group("nccl" if device != "cpu" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(rank, size), device
    finally:
        torch.distributed.destroy_process_group()
