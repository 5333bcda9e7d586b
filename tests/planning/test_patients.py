from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from planning.patients import name_patients
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.raw_dataset import read_raw_dataset

CASES = ("sub-01_early", "sub-01_late", "sub-02_early")
PATIENTS = {"sub-01_early": "sub-01", "sub-01_late": "sub-01", "sub-02_early": "sub-02"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "Dataset007_Visits"
    for name in CASES:
        for path in (folder / "imagesTr" / f"{name}_0000.nii.gz", folder / "labelsTr" / f"{name}.nii.gz"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (folder / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"})
    )
    return folder


@pytest.mark.parametrize(
    "pattern", ["^sub-[0-9]+", "^(sub-[0-9]+)_", "^(sub-01)|^(sub-02)", "^(sub-[0-9]+)_(early|late)", "^sub-[0-9]+(x)?"]
)
def test_cases_of_one_name_are_one_patient(dataset: Path, pattern: str) -> None:
    name_patients(dataset, re.compile(pattern))
    assert read_raw_dataset(dataset).patients == PATIENTS


def test_names_without_the_pattern_are_shown_and_nothing_is_written(dataset: Path) -> None:
    with pytest.raises(UsageError, match=r"not found in sub-01_late\. "):
        name_patients(dataset, re.compile("^sub-[0-9]+_early"))
    assert not (dataset / "patients.json").exists()


@pytest.mark.parametrize("pattern", ["x*", "^(x*)sub"])
def test_a_patient_without_a_name_is_none(dataset: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="is not found in sub-01_early, sub-01_late, sub-02_early"):
        name_patients(dataset, re.compile(pattern))


def test_a_table_that_says_otherwise_stays(dataset: Path) -> None:
    table = json.dumps(dict.fromkeys(CASES, "one"))
    (dataset / "patients.json").write_text(table)
    with pytest.raises(UsageError, match="says otherwise"):
        name_patients(dataset, re.compile("^sub-[0-9]+"))
    assert (dataset / "patients.json").read_text() == table
