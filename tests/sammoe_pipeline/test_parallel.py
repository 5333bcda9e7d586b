"""The work is done by functions of the standard library, which spawned processes find wherever the tests lie."""

from __future__ import annotations

import math
import os

import pytest

from sammoe_pipeline.errors import WorkerDiedError
from sammoe_pipeline.parallel import run_jobs


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    numbers = [30000, 3, 4, 5]  # the first takes longest
    expected = [math.factorial(number) for number in numbers]
    assert run_jobs(math.factorial, numbers, workers=workers, description="Multiplying") == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_the_work_come_through(workers: int) -> None:
    with pytest.raises(ValueError, match="not defined for negative values"):
        run_jobs(math.factorial, [1, -1], workers=workers, description="Multiplying")


def test_a_dead_worker_is_explained() -> None:
    with pytest.raises(WorkerDiedError, match=r"Dying: .* memory ran out.* \(-np 1\)"):
        run_jobs(os._exit, [9, 9], workers=2, description="Dying")


def test_no_jobs_give_no_results() -> None:
    assert run_jobs(math.factorial, [], workers=2, description="Nothing") == []
