from __future__ import annotations

import numpy as np
import pytest

from sammoe_pipeline.evaluation.bootstrap import estimate_mean

NAN = np.nan


def test_classes_weigh_the_same_however_many_cases_they_have() -> None:
    values = np.array([[0.0, NAN], [0.0, NAN], [0.0, 1.0]])
    estimate = estimate_mean(values, ["d"] * 3, seed=0)
    assert estimate is not None
    assert estimate.mean == 0.5
    assert estimate.cases == 3


def test_the_interval_holds_the_mean_and_narrows_with_more_cases() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for number in (10, 1000):
        values = rng.normal(0.2, 0.1, (number, 1))
        estimate = estimate_mean(values, ["d"] * number, seed=0)
        assert estimate is not None
        assert estimate.interval is not None
        low, high = estimate.interval
        assert low < estimate.mean < high
        widths.append(high - low)
    # Normal theory: 2 * 1.96 * 0.1 / sqrt(1000).
    assert widths[1] == pytest.approx(0.0124, rel=0.15)
    assert widths[1] < widths[0] / 5


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    first, again, other = (estimate_mean(values, ["d"] * 20, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_classes_of_a_case_are_no_independent_evidence() -> None:
    one = np.random.default_rng(0).normal(size=(20, 1))
    single, ninefold = (estimate_mean(values, ["d"] * 20, seed=0) for values in (one, np.tile(one, 9)))
    assert single is not None
    assert ninefold is not None
    assert ninefold.interval == pytest.approx(single.interval)


def test_each_dataset_keeps_its_number_of_cases() -> None:
    # All that varies is between the datasets, so a resampling that keeps their sizes never changes the mean.
    estimate = estimate_mean(np.array([[0.0], [0.0], [1.0], [1.0]]), ["a", "a", "b", "b"], seed=0)
    assert estimate is not None
    assert estimate.interval == (0.5, 0.5)


def test_one_case_has_no_interval() -> None:
    estimate = estimate_mean(np.array([[0.3], [NAN]]), ["d", "d"], seed=0)
    assert estimate is not None
    assert (estimate.mean, estimate.interval, estimate.cases) == (0.3, None, 1)


def test_a_class_that_is_not_drawn_does_not_make_nan() -> None:
    values = np.full((30, 2), 0.5)
    values[1:, 1] = NAN
    estimate = estimate_mean(values, ["d"] * 30, seed=0)
    assert estimate is not None
    assert estimate.interval == (0.5, 0.5)


def test_nothing_measured_is_none() -> None:
    assert estimate_mean(np.full((3, 2), NAN), ["d"] * 3, seed=0) is None
    assert estimate_mean(np.zeros((0, 2)), [], seed=0) is None
