"""The same work on many cases, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from sammoe_pipeline.errors import WorkerDiedError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, description: str, unit: str = "case"
) -> list[Result]:
    """Does `work` on every job, with a progress bar on terminals.

    Args:
        work: a function at the top level of a module, so that processes can find it. What it raises ends everything:
            work that shall go on past a broken case returns its faults.
        jobs: picklable.
        workers: processes, started anew (spawn) so that no threads or locks are inherited; 1 works in this one.
        description: words before the progress bar.
        unit: what one job is.

    Returns:
        The results, in the order of the jobs.

    Raises:
        WorkerDiedError: the system ended a worker.
    """
    from tqdm import tqdm

    results: dict[int, Result] = {}
    with tqdm(total=len(jobs), desc=description, unit=unit, disable=None) as bar:
        if workers <= 1 or len(jobs) <= 1:
            for index, job in enumerate(jobs):
                results[index] = work(job)
                bar.update()
        else:
            pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"))
            try:
                futures = {pool.submit(work, job): index for index, job in enumerate(jobs)}
                for future in as_completed(futures):
                    results[futures[future]] = future.result()
                    bar.update()
            except BrokenProcessPool as error:
                raise WorkerDiedError(
                    f"{description}: the system ended a worker process, usually because memory ran out. Run the same "
                    f"command with fewer processes (-np {max(1, workers // 2)})."
                ) from error
            finally:
                # An error or an interrupt does not wait for the jobs that have not begun.
                pool.shutdown(cancel_futures=True)
    return [results[index] for index in range(len(jobs))]
