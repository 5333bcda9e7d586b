import threading
import time
from collections.abc import Iterator

import pytest
import torch

from sammoe_pipeline import threads as module
from sammoe_pipeline.threads import one_thread, side_by_side


@pytest.fixture
def four_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("four_threads")
def test_results_come_in_the_order_of_the_jobs() -> None:
    def slowest_first(job: int) -> int:
        time.sleep(0.02 * (8 - job))
        return job * job

    assert list(side_by_side(slowest_first, range(8))) == [job * job for job in range(8)]


@pytest.mark.usefixtures("four_threads")
def test_work_is_done_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=30)
    assert len({*side_by_side(lambda _: (together.wait(), threading.get_ident())[1], range(4))}) == 4


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("most", "share"), [(1, 4), (2, 2), (3, 1), (4, 1), (9, 1)])
def test_each_piece_computes_on_its_share_of_the_threads(
    most: int, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", most)
    assert set(side_by_side(lambda _: torch.get_num_threads(), range(12))) == {share}
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_jobs_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(100):
            read.append(job)
            yield job

    results = side_by_side(lambda job: job, jobs())
    assert next(results) == 0
    assert len(read) == 5
    results.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("four_threads")
def test_an_error_ends_everything() -> None:
    done: list[int] = []

    def work(job: int) -> None:
        if job == 0:
            raise ZeroDivisionError
        time.sleep(0.01)
        done.append(job)

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(work, range(1000)))
    assert len(done) < 20


def test_one_thread_gives_the_others_back_even_after_an_error() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        _ = 1 / 0
    assert torch.get_num_threads() == threads
