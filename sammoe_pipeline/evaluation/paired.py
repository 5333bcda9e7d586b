"""How far apart two methods are on the same cases: mean difference with its interval, and Wilcoxon's test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.evaluation.bootstrap import Estimate, estimate_mean, number_patients


class Difference(Record):
    """How far one method is from another, over the masks for which both have the score.

    Where the reference is empty and one method's mask is rightly so, there is nothing to subtract from; such masks are
    counted apart.
    """

    estimate: Estimate
    """This one minus the other."""
    p_value: float
    """Of Wilcoxon's signed-rank test over patients, each with the mean of its cases, two-sided, not corrected for the
    number of tests; 1 where no patient differs."""


def difference(
    values: NDArray[np.float64], strata: Sequence[str], *, seed: int, patients: Sequence[str] | None = None
) -> Difference | None:
    """Compares two methods; the test is over patients, each with the mean of its cases, of a case over its classes.

    Args:
        values: (cases, classes), one method minus the other, NaN where one of them has no number.
        strata: the dataset of each case.
        seed: of the bootstrap.
        patients: the patient of each case; by default each case is its own.

    Returns:
        None where there is no value at all.
    """
    estimate = estimate_mean(values, strata, seed=seed, patients=patients)
    if estimate is None:
        return None
    measured = np.isfinite(values).any(axis=1)
    _, place = np.unique(number_patients(strata, patients)[measured], return_inverse=True)
    by_patient = np.bincount(place, weights=np.nanmean(values[measured], axis=1)) / np.bincount(place)
    return Difference(estimate=estimate, p_value=_signed_rank(by_patient))


def _signed_rank(differences: NDArray[np.float64]) -> float:
    """Returns the p-value of Wilcoxon's signed-rank test; zero differences are left out, as he does."""
    from scipy.stats import wilcoxon

    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0
