"""How sure a mean over cases is: percentile bootstrap, all classes of a case drawn together."""

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
    """95 % bootstrap interval over cases; None for fewer than two cases, which tell nothing of their spread."""
    cases: int


def estimate_mean(values: NDArray[np.float64], strata: Sequence[str], *, seed: int) -> Estimate | None:
    """Averages over cases, then over classes, with a bootstrap interval.

    Cases are the unit that is drawn, with all their classes, within each dataset; so classes of one patient are never
    taken for independent evidence. (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval.)

    Args:
        values: (cases, classes), NaN where a case does not have a class.
        strata: the dataset of each case.
        seed: of the resampling.

    Returns:
        None where there is no value at all.
    """
    measured = np.isfinite(values).any(axis=1)
    values, names = values[measured], np.array(strata)[measured]
    present = np.isfinite(values)
    if len(values) == 0:
        return None
    mean = float(_mean_of_classes(np.ones((1, len(values))), values, present)[0])
    if len(values) == 1:
        return Estimate(mean=mean, interval=None, cases=1)
    counts = _draws(tuple(names.tolist()), seed)
    means = _mean_of_classes(counts, values, present)
    low, high = np.quantile(means[np.isfinite(means)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean=mean, interval=(float(low), float(high)), cases=len(values))


@lru_cache(maxsize=8)
def _draws(strata: tuple[str, ...], seed: int) -> NDArray[np.float64]:
    """Returns how often each case is drawn (resamples, cases); every score of the same cases takes the same draws."""
    rng = np.random.default_rng(seed)
    names = np.array(strata)
    counts = np.zeros((RESAMPLES, len(names)))
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=RESAMPLES)
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
