"""Folds: by patient, seeded, with rare classes spread over all of them; and the check of folds that a user wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from sammoe_pipeline.artefacts import FoldSplit, Splits
from sammoe_pipeline.errors import DatasetFaultsError, UsageError

DEFAULT_FOLDS = 5
LEAST_PATIENTS = 3
"""One each for train, calibration and val."""
_CALIBRATION_PARTS = 5
"""One part of so many of a fold's training patients is for calibration."""


def fold_count(patients: int, wanted: int) -> int:
    """Returns the number of folds: as wanted, but leave-one-out under five patients and never more folds than patients.

    Raises:
        UsageError: fewer than two folds are wanted, or there are too few patients for any.
    """
    if wanted < 2:
        raise UsageError(f"--num_folds {wanted}: at least 2 are needed, so that every case is held out once.")
    if patients < LEAST_PATIENTS:
        raise UsageError(
            f"The dataset has {patients} patient(s); at least {LEAST_PATIENTS} are needed, one each to train on, to "
            f"calibrate on and to hold out. Add cases, or check patients.json if there are more patients."
        )
    return patients if patients < DEFAULT_FOLDS else min(wanted, patients)


def make_splits(
    patients: Mapping[str, str], classes: Mapping[str, Collection[str]], *, num_folds: int, seed: int
) -> Splits:
    """Splits cases into folds.

    No patient is in two parts of a fold, and every case is in `val` of exactly one fold. Patients are dealt out one by
    one, those of the rarest class first, each to the fold that has the fewest of that class (after Sechidis et al.,
    ECML 2011).

    Args:
        patients: patient of each case.
        classes: classes that each case contains.
        num_folds: as `fold_count` returns it.
        seed: of the order among patients that are alike.
    """
    cases_of: dict[str, list[str]] = {}
    for case, patient in sorted(patients.items()):
        cases_of.setdefault(patient, []).append(case)
    classes_of = {patient: {name for case in cases for name in classes[case]} for patient, cases in cases_of.items()}
    rng = np.random.default_rng(seed)
    folds = []
    for held_out in _deal(classes_of, num_folds, rng):
        rest = {patient: names for patient, names in classes_of.items() if patient not in held_out}
        parts = _deal(rest, min(_CALIBRATION_PARTS, len(rest)), rng)
        calibration = _for_calibration(parts, rest)
        folds.append(
            FoldSplit(
                train=_cases([patient for part in parts if part is not calibration for patient in part], cases_of),
                calibration=_cases(calibration, cases_of),
                val=_cases(held_out, cases_of),
            )
        )
    return Splits(folds=tuple(folds))


def _deal(classes_of: Mapping[str, Collection[str]], parts: int, rng: np.random.Generator) -> list[list[str]]:
    """Deals patients out to parts of equal size, give or take one."""
    order = sorted(classes_of)
    waiting = [order[index] for index in rng.permutation(len(order))]
    dealt: list[list[str]] = [[] for _ in range(parts)]
    least, larger = divmod(len(waiting), parts)

    def has_room(part: list[str]) -> bool:
        return len(part) < least or (len(part) == least and sum(len(p) > least for p in dealt) < larger)

    frequency = Counter(name for names in classes_of.values() for name in names)
    for rare in [*sorted(frequency, key=lambda name: (frequency[name], name)), None]:
        for patient in [p for p in waiting if rare is None or rare in classes_of[p]]:
            part = min(
                (part for part in dealt if has_room(part)),
                key=lambda part: (sum(rare in classes_of[p] for p in part), len(part)),
            )
            part.append(patient)
            waiting.remove(patient)
    return dealt


def _for_calibration(parts: Sequence[list[str]], classes_of: Mapping[str, Collection[str]]) -> list[str]:
    """Returns the part that tells of the most classes and takes none from train; of equals the last.

    A class is told of where two patients with it remain to train on. The last part gets a rare class last.
    """
    frequency = Counter(name for part in parts for patient in part for name in classes_of[patient])

    def worth(part: list[str]) -> tuple[int, int]:
        here = Counter(name for patient in part for name in classes_of[patient])
        left = [frequency[name] - count for name, count in here.items()]
        return -sum(count == 0 for count in left), sum(count >= 2 for count in left)

    return max(reversed(parts), key=worth)


def _cases(patients: Sequence[str], cases_of: Mapping[str, list[str]]) -> tuple[str, ...]:
    return tuple(sorted(case for patient in patients for case in cases_of[patient]))


def check_splits(splits: Splits, patients: Mapping[str, str], path: Path) -> None:
    """Checks folds against the dataset.

    Args:
        splits: to check.
        patients: patient of each case of the dataset.
        path: where the splits were read, for messages.

    Raises:
        DatasetFaultsError: cases are unknown, missing or listed twice, parts of a fold share a patient, or a part is
            empty. All faults of all folds are named.
    """
    faults = [] if splits.folds else ["there is no fold."]
    for number, fold in enumerate(splits.folds):
        faults += [f"fold {number}: {fault}" for fault in _fold_faults(fold, patients)]
    held_out = Counter(case for fold in splits.folds for case in set(fold.val))
    faults += [f"val of {n} folds has {case}: it would be counted {n} times." for case, n in held_out.items() if n > 1]
    if faults:
        raise DatasetFaultsError(f"{path} (mend it, or remove it to have new folds made)", faults)


def _fold_faults(fold: FoldSplit, patients: Mapping[str, str]) -> list[str]:
    parts = {"train": fold.train, "calibration": fold.calibration, "val": fold.val}
    listed = Counter(case for cases in parts.values() for case in cases)
    faults = [f"{part} is empty." for part, cases in parts.items() if not cases]
    faults += [f"{case} is no case of the dataset." for case in sorted(listed) if case not in patients]
    faults += [f"{case} is missing." for case in sorted(patients) if case not in listed]
    for part, cases in parts.items():
        faults += [f"{part} has {case} {n} times." for case, n in Counter(cases).items() if n > 1]
    parts_of: dict[str, dict[str, str]] = {}
    for part, cases in parts.items():
        for case in cases:
            if case in patients:
                parts_of.setdefault(patients[case], {}).setdefault(part, case)
    for patient, places in parts_of.items():
        if len(places) > 1:
            words = " and ".join(f"{part} ({case})" for part, case in places.items())
            faults.append(f"patient {patient} is in {words}.")
    return faults
