"""The same work on many cases, in this process or in several."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.synchronize import RLock as SharedLock
from threading import RLock, Thread
from typing import TYPE_CHECKING, TypeVar

from sammoe_pipeline.errors import WorkerDiedError

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

Job = TypeVar("Job")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_SHARE_OF_MEMORY = 0.8
_place = 0


def worker_place() -> int:
    """Returns which of the processes of `run_jobs` this one is, from 0; 0 where there is one alone."""
    return _place


def fitting_workers(wanted: int, bytes_each: int, *, description: str) -> int:
    """Returns how many processes memory holds, at least one and at most as many as are wanted.

    Args:
        wanted: processes.
        bytes_each: that one takes for the largest job.
        description: what they do, for the log.
    """
    import psutil

    free = psutil.virtual_memory().available
    fitting = max(1, min(wanted, int(_SHARE_OF_MEMORY * free) // max(1, bytes_each)))
    if fitting < wanted:
        logger.info(
            "%s: %d processes in place of %d, since one takes about %.1f GB, and %.1f GB are free",
            description,
            fitting,
            wanted,
            bytes_each / 1e9,
            free / 1e9,
        )
    return fitting


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, description: str, unit: str = "case"
) -> list[Result]:
    """Does `work` on every job, with a progress bar on terminals.

    Args:
        work: a function at the top level of a module, so that processes can find it. What it raises ends everything,
            running work included: work that shall go on past a broken case returns its faults.
        jobs: picklable.
        workers: processes, started anew (spawn) so that no threads or locks are inherited; 1 works in this one. They
            end with this process, however it ends.
        description: words before the progress bar.
        unit: what one job is.

    Returns:
        The results, in the order of the jobs.

    Raises:
        WorkerDiedError: the system ended a worker.
    """
    from tqdm import tqdm

    results: dict[int, Result] = {}
    workers = min(workers, len(jobs))
    with tqdm(total=len(jobs), desc=description, unit=unit, disable=None) as bar:
        if workers <= 1:
            for index, job in enumerate(jobs):
                results[index] = work(job)
                bar.update()
        else:
            others = set(active_children())
            pool = _start(workers)
            try:
                futures = {pool.submit(work, job): index for index, job in enumerate(jobs)}
                for future in as_completed(futures):
                    results[futures[future]] = future.result()
                    bar.update()
            except BaseException as error:
                for child in set(active_children()) - others:
                    child.terminate()
                tqdm.set_lock(RLock())  # One of them may have ended while it drew, and held the lock.
                if not isinstance(error, BrokenProcessPool):
                    raise
                raise WorkerDiedError(
                    f"{description}: the system ended a worker process, usually because memory ran out. Run the same "
                    f"command with fewer processes (-np {max(1, workers // 2)})."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
    return [results[index] for index in range(len(jobs))]


def _start(workers: int) -> ProcessPoolExecutor:
    from tqdm import tqdm

    context = get_context("spawn")
    places, lock = context.SimpleQueue(), context.RLock()
    tqdm.set_lock(lock)
    for place in range(workers):
        places.put(place)
    return ProcessPoolExecutor(workers, context, _begin_worker, (places, lock))


def _begin_worker(places: SimpleQueue[int], lock: SharedLock) -> None:
    """Gives a new process its place, and a line below the others' for its progress bars; ends it with its parent."""
    global _place
    _place = places.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent is interrupted as well, and ends the others.
    os.environ |= {"TQDM_POSITION": str(_place + 1), "TQDM_LEAVE": ""}
    from tqdm import tqdm

    tqdm.set_lock(lock)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
