from __future__ import annotations

from sammoe_pipeline.errors import DatasetFaultsError, did_you_mean


def test_all_faults_are_counted_and_listed() -> None:
    error = DatasetFaultsError("Dataset004_Hippocampus", ["a.nii.gz is broken.", "b.nii.gz is missing."])
    assert str(error) == "Dataset004_Hippocampus: 2 faults\n  - a.nii.gz is broken.\n  - b.nii.gz is missing."
    assert error.faults == ("a.nii.gz is broken.", "b.nii.gz is missing.")


def test_one_fault_is_singular() -> None:
    assert str(DatasetFaultsError("x", ["y."])) == "x: 1 fault\n  - y."


def test_a_near_word_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("hippocampos", ["liver", "hippocampus"]) == " Did you mean 'hippocampus'?"
    assert did_you_mean("xyz", ["liver", "hippocampus"]) == ""
