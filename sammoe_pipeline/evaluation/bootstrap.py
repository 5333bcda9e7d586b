"""How sure a mean over cases is: percentile bootstrap, all cases and classes of a patient drawn together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Record

RESAMPLES = 2000
LEVEL = 0.95


class Estimate(Record):
    """A mean over cases and how sure it is."""

    mean: float
    interval: tuple[float, float] | None
    """95 % bootstrap interval; None where no dataset has two patients, which could tell of their spread."""
    cases: int


def estimate_mean(
    values: NDArray[np.float64], strata: Sequence[str], *, seed: int, patients: Sequence[str] | None = None
) -> Estimate | None:
    """Averages over cases, then over classes, with a bootstrap interval.

    Patients are the unit that is drawn, with all their cases and classes, within each dataset; so what belongs to one
    patient is never taken for independent evidence. (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    percentile interval.)

    Args:
        values: (cases, classes), NaN where a case does not have a class.
        strata: the dataset of each case.
        seed: of the resampling.
        patients: the patient of each case; by default each case is its own.

    Returns:
        None where there is no value at all.
    """
    measured = np.isfinite(values).any(axis=1)
    values, names, numbers = values[measured], np.array(strata)[measured], number_patients(strata, patients)[measured]
    present = np.isfinite(values)
    if len(values) == 0:
        return None
    mean = float(_mean_of_classes(np.ones((1, len(values))), values, present)[0])
    if len(np.unique(numbers)) == len(np.unique(names)):
        return Estimate(mean=mean, interval=None, cases=len(values))
    counts = _draws(tuple(names.tolist()), tuple(numbers.tolist()), seed)
    means = _mean_of_classes(counts, values, present)
    low, high = np.quantile(means[np.isfinite(means)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean=mean, interval=(float(low), float(high)), cases=len(values))


def number_patients(strata: Sequence[str], patients: Sequence[str] | None = None) -> NDArray[np.int_]:
    """Returns a number for the patient of each case (cases,), counted in the order of their first cases.

    Args:
        strata: the dataset of each case; patients of two datasets are never the same.
        patients: the patient of each case; by default each case is its own.
    """
    if patients is None:
        return np.arange(len(strata))
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(who, len(numbers)) for who in zip(strata, patients, strict=True)], dtype=int)


@lru_cache(maxsize=8)
def _draws(strata: tuple[str, ...], patients: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Returns how often each case is drawn (resamples, cases); every score of the same cases takes the same draws."""
    rng = np.random.default_rng(seed)
    names, numbers = np.array(strata), np.array(patients)
    counts = np.zeros((RESAMPLES, len(names)))
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        own, place = np.unique(numbers[members], return_inverse=True)
        drawn = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=RESAMPLES)
        counts[:, members] = drawn[:, place]
    return counts


def _mean_of_classes(
    counts: NDArray[np.float64], values: NDArray[np.float64], present: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Returns the mean over classes of their means over cases (resamples,), cases counted (resamples, cases) times."""
    sums, numbers = counts @ np.where(present, values, 0.0), counts @ present
    by_class = np.divide(sums, numbers, out=np.zeros_like(sums), where=numbers > 0)
    drawn = (numbers > 0).sum(axis=1)
    means: NDArray[np.float64] = np.full(len(counts), np.nan)
    np.divide(by_class.sum(axis=1), drawn, out=means, where=drawn > 0)
    return means
