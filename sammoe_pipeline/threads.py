"""Many pieces of work side by side in this process, on threads that share the processor between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_MOST = 4
"""Pieces at a time: each may hold a case, and its windows on their way through the network."""


def side_by_side(work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Does `work` on every job, a few at a time, and yields the results in the order of the jobs.

    A piece of work that is half small operations, which threads cannot share, and half a network's large ones keeps a
    core busy by itself; several of them keep several. Each computes on an equal share of torch's threads, so that the
    results depend on how many of those there are, and not on who came first.

    Args:
        work: may be called on several threads at once. What it raises ends everything.
        jobs: read as they are needed.
    """
    import torch

    threads = torch.get_num_threads()
    workers = min(_MOST, threads)

    def on_its_share(job: Job) -> Result:
        torch.set_num_threads(threads // workers)  # torch keeps this number for each thread by itself
        return work(job)

    pool = ThreadPoolExecutor(workers)
    begun: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            begun.append(pool.submit(on_its_share, job))
            # One more than can be worked on: nobody waits for the reader, and finished work does not pile up.
            if len(begun) > workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        # An error or an interrupt does not wait for the jobs that have not begun.
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread: for many small operations, threads wait for each other longer than they work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
