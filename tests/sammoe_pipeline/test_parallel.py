from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from sammoe_pipeline.errors import WorkerDiedError
from sammoe_pipeline.parallel import fitting_workers, run_jobs, worker_place


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    numbers = [30000, 3, 4, 5]  # the first takes longest
    expected = [math.factorial(number) for number in numbers]
    assert run_jobs(math.factorial, numbers, workers=workers, description="Multiplying") == expected


@pytest.mark.parametrize(("each_gb", "workers"), [(1, 8), (3, 5), (100, 1)])
def test_no_more_processes_than_memory_holds(
    each_gb: int, workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=20 * 10**9))
    with caplog.at_level("INFO"):
        assert fitting_workers(8, each_gb * 10**9, description="Reading") == workers
    assert bool(caplog.messages) == (workers < 8)


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_the_work_come_through(workers: int) -> None:
    with pytest.raises(ValueError, match="not defined for negative values"):
        run_jobs(math.factorial, [1, -1], workers=workers, description="Multiplying")


def test_a_dead_worker_is_explained() -> None:
    with pytest.raises(WorkerDiedError, match=r"Dying: .* memory ran out.* \(-np 1\)"):
        run_jobs(os._exit, [9, 9], workers=2, description="Dying")


def draw_or_fail(draws: bool) -> None:
    if not draws:
        time.sleep(0.5)
        raise ValueError("failed while the other drew")
    tqdm.get_lock().acquire()
    time.sleep(1000)


def test_a_worker_that_ends_while_it_draws_its_bar_stops_nobody() -> None:
    with pytest.raises(ValueError, match="while the other drew"):
        run_jobs(draw_or_fail, [True, False], workers=2, description="Drawing")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(end: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import signal\n"
        "import time\n"
        "from pathlib import Path\n"
        "from sammoe_pipeline.parallel import run_jobs\n"
        "def work(path):\n"
        "    path.touch()\n"
        "    time.sleep(1000)\n"
        "if __name__ == '__main__':\n"
        # A shell that runs the tests in the background has interrupts ignored, and so have its children.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    began = [Path(__file__).with_name(name) for name in ('one', 'two')]\n"
        "    run_jobs(work, began, workers=2, description='Sleeping')\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())
        workers = spawned_children(parent.pid)
        assert len(workers) == 2
        parent.send_signal(end)
        parent.wait(timeout=120)
        wait_until(lambda: not any(is_running(worker) for worker in workers))
    finally:
        parent.kill()
        parent.wait()


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(600):
        if reached():
            return
        time.sleep(0.05)
    raise TimeoutError


def spawned_children(parent: int) -> set[int]:
    """Returns the spawned workers of a process, but for the one that watches over shared memory."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It may have ended by now.
            of_parent = f"PPid:\t{parent}\n" in (process / "status").read_text()
            if of_parent and b"spawn_main" in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_an_error_does_not_wait_for_what_runs() -> None:
    began = time.monotonic()
    with pytest.raises(TypeError):
        run_jobs(time.sleep, [1000, None], workers=2, description="Sleeping")
    assert time.monotonic() - began < 100


def place_in_company(folder: Path) -> int:
    """Returns the place of a process, once all three have begun."""
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 3)
    return worker_place()


def test_each_process_has_a_place_of_its_own(tmp_path: Path) -> None:
    assert sorted(run_jobs(place_in_company, [tmp_path] * 3, workers=3, description="Asking")) == [0, 1, 2]
    assert worker_place() == 0


def test_no_jobs_give_no_results() -> None:
    assert run_jobs(math.factorial, [], workers=2, description="Nothing") == []
