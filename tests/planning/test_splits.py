from __future__ import annotations

from pathlib import Path

import pytest

from planning.splits import check_splits, fold_count, make_splits
from sammoe_pipeline.artefacts import FoldSplit, Splits
from sammoe_pipeline.errors import DatasetFaultsError, UsageError

PATIENTS = {f"scan_{index:02d}": f"patient_{index // 2}" for index in range(24)}
CLASSES = {case: ("common", "rare") if index % 5 == 0 else ("common",) for index, case in enumerate(PATIENTS)}


def split(num_folds: int = 5, seed: int = 0) -> Splits:
    return make_splits(PATIENTS, CLASSES, num_folds=num_folds, seed=seed)


def test_every_case_is_held_out_once() -> None:
    assert sorted(case for fold in split().folds for case in fold.val) == sorted(PATIENTS)


def test_parts_of_a_fold_hold_all_cases_and_share_no_patient() -> None:
    for fold in split().folds:
        parts = [{PATIENTS[case] for case in part} for part in (fold.train, fold.calibration, fold.val)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 12
        assert sorted((*fold.train, *fold.calibration, *fold.val)) == sorted(PATIENTS)


def test_about_a_fifth_of_the_training_patients_calibrates() -> None:
    assert {len(fold.calibration) // 2 for fold in split().folds} <= {1, 2}


def test_a_rare_class_is_in_val_of_every_fold_and_in_every_train() -> None:
    for fold in split().folds:
        assert any("rare" in CLASSES[case] for case in fold.val)
        assert any("rare" in CLASSES[case] for case in fold.train)


def test_a_class_of_two_patients_is_never_in_one_val_only() -> None:
    patients = {f"case_{index}": f"case_{index}" for index in range(20)}
    classes = {case: ("a", "b") if case in ("case_3", "case_11") else ("a",) for case in patients}
    folds = make_splits(patients, classes, num_folds=5, seed=1).folds
    assert sum("case_3" in fold.val or "case_11" in fold.val for fold in folds) == 2


@pytest.mark.parametrize("patients_with_it", [4, 5, 6])
def test_calibration_has_a_rare_class_where_train_can_spare_it(patients_with_it: int) -> None:
    patients = {f"case_{index:02d}": f"case_{index:02d}" for index in range(20)}
    classes = {case: ("a", "b") if index < patients_with_it else ("a",) for index, case in enumerate(patients)}
    for fold in make_splits(patients, classes, num_folds=5, seed=0).folds:
        train, calibration, val = (
            sum("b" in classes[case] for case in part) for part in (fold.train, fold.calibration, fold.val)
        )
        assert train >= 2
        assert calibration > 0 or train + calibration < 3, (train, calibration, val)


def test_the_last_patient_with_a_class_stays_in_train() -> None:
    patients = {f"case_{index:02d}": f"case_{index:02d}" for index in range(10)}
    classes = {case: ("a", "b") if index == 7 else ("a",) for index, case in enumerate(patients)}
    for fold in make_splits(patients, classes, num_folds=5, seed=0).folds:
        assert "case_07" in (*fold.train, *fold.val)


def test_the_seed_alone_decides() -> None:
    assert split(seed=3) == split(seed=3)
    assert split(seed=3) != split(seed=4)


@pytest.mark.parametrize(("patients", "wanted", "folds"), [(3, 5, 3), (4, 2, 4), (5, 5, 5), (7, 10, 7), (30, 5, 5)])
def test_few_patients_make_few_folds(patients: int, wanted: int, folds: int) -> None:
    assert fold_count(patients, wanted) == folds


@pytest.mark.parametrize("patients", [3, 4, 5, 6])
def test_no_part_is_empty_with_few_patients(patients: int) -> None:
    names = {f"case_{index}": f"case_{index}" for index in range(patients)}
    splits = make_splits(names, dict.fromkeys(names, ("a",)), num_folds=fold_count(patients, 2), seed=0)
    check_splits(splits, names, Path("splits_final.json"))


def test_two_patients_are_too_few() -> None:
    with pytest.raises(UsageError, match=r"has 2 patient\(s\); at least 3 are needed"):
        fold_count(2, 5)


def test_one_fold_is_too_few() -> None:
    with pytest.raises(UsageError, match="--num_folds 1: at least 2"):
        fold_count(20, 1)


def test_all_faults_of_a_replaced_split_are_named() -> None:
    splits = Splits(
        folds=(
            FoldSplit(train=("a", "b", "b", "d"), calibration=("a",), val=("c", "stranger")),
            FoldSplit(train=("a", "b"), calibration=(), val=("c", "d")),
        )
    )
    patients = {"a": "a", "b": "bd", "c": "c", "d": "bd", "e": "e"}
    with pytest.raises(DatasetFaultsError) as caught:
        check_splits(splits, patients, Path("splits_final.json"))
    assert caught.value.faults == (
        "fold 0: stranger is no case of the dataset.",
        "fold 0: e is missing.",
        "fold 0: train has b 2 times.",
        "fold 0: patient a is in train (a) and calibration (a).",
        "fold 1: calibration is empty.",
        "fold 1: e is missing.",
        "fold 1: patient bd is in train (b) and val (d).",
        "val of 2 folds has c: it would be counted 2 times.",
    )
    assert "splits_final.json (mend it, or remove it" in str(caught.value)
