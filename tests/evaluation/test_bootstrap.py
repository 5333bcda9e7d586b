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


def test_cases_of_a_patient_are_no_independent_evidence() -> None:
    one = np.random.default_rng(0).normal(size=(20, 2))
    single = estimate_mean(one, ["d"] * 20, seed=0)
    twice = estimate_mean(np.tile(one, (2, 1)), ["d"] * 40, seed=0, patients=[*"abcdefghijklmnopqrst"] * 2)
    assert single is not None
    assert twice is not None
    assert (twice.interval, twice.cases) == (pytest.approx(single.interval), 40)


def test_cases_of_as_many_patients_are_drawn_as_cases() -> None:
    values, strata = np.random.default_rng(0).normal(size=(20, 3)), ["a", "b"] * 10
    values[::3, 1], values[5] = NAN, NAN
    # Names in no order, and the same ones in both datasets.
    named = estimate_mean(values, strata, seed=0, patients=[str(97 - case // 2 * 7) for case in range(20)])
    assert named == estimate_mean(values, strata, seed=0)


def test_one_case_has_no_interval() -> None:
    estimate = estimate_mean(np.array([[0.3], [NAN]]), ["d", "d"], seed=0)
    assert estimate is not None
    assert (estimate.mean, estimate.interval, estimate.cases) == (0.3, None, 1)


@pytest.mark.parametrize("patients", [["p", "q"], ["p", "p"], None])
def test_one_patient_a_dataset_has_no_interval(patients: list[str] | None) -> None:
    estimate = estimate_mean(np.array([[0.1], [0.9]]), ["a", "b"], seed=0, patients=patients)
    assert estimate is not None
    assert (estimate.mean, estimate.interval, estimate.cases) == (0.5, None, 2)


def test_cases_of_one_patient_have_no_interval() -> None:
    estimate = estimate_mean(np.array([[0.1], [0.9]]), ["d", "d"], seed=0, patients=["p", "p"])
    assert estimate is not None
    assert estimate.interval is None


def test_a_class_that_is_not_drawn_does_not_make_nan() -> None:
    values = np.full((30, 2), 0.5)
    values[1:, 1] = NAN
    estimate = estimate_mean(values, ["d"] * 30, seed=0)
    assert estimate is not None
    assert estimate.interval == (0.5, 0.5)


def test_nothing_measured_is_none() -> None:
    assert estimate_mean(np.full((3, 2), NAN), ["d"] * 3, seed=0) is None
    assert estimate_mean(np.zeros((0, 2)), [], seed=0) is None
