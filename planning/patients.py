"""Which cases are of one patient, read from their names."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.paths import PATIENTS_JSON
from sammoe_pipeline.raw_dataset import read_raw_dataset

logger = logging.getLogger(__name__)

_SHOWN = 5


def name_patients(folder: Path, pattern: re.Pattern[str]) -> None:
    """Writes `patients.json` of a raw dataset, so that cases of one patient share a fold; one that says so stays.

    Args:
        folder: the raw dataset's.
        pattern: found in the name of every case; what the first of its groups that takes part holds, or all of it where
            none does, is the patient.

    Raises:
        UsageError: names without it, which are shown, or a table that is there already and says otherwise.
        DatasetFaultsError: the folder holds no readable dataset.
    """
    patients, others = {}, []
    for case in read_raw_dataset(folder).training_cases:
        if patient := _patient(case.name, pattern):
            patients[case.name] = patient
        else:
            others.append(case.name)
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise UsageError(
            f"--patients {pattern.pattern!r} is not found in {', '.join(others[:_SHOWN])}{more}. Every case needs a "
            f"patient: widen the pattern, or write {folder / PATIENTS_JSON} by hand."
        )
    path = folder / PATIENTS_JSON
    if not path.is_file():
        write_text(path, json.dumps(patients, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != patients:
        raise UsageError(f"--patients {pattern.pattern!r}: {path} says otherwise. Remove one of them.")
    logger.info("%s: %d cases of %d patients", folder.name, len(patients), len(set(patients.values())))


def _patient(case: str, pattern: re.Pattern[str]) -> str:
    """Returns the patient that a case's name tells, or nothing."""
    found = pattern.search(case)
    if found is None:
        return ""
    # Of alternatives, the groups of those that did not match hold None.
    return next((held for held in found.groups() if held is not None), found[0])
