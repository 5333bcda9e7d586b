from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sammoe_pipeline.artefacts import provenance


def test_provenance_names_what_changes_numbers() -> None:
    record = provenance(seed=1, device="cpu", threads=2)
    assert {"python", "torch", "numpy", "nnunetv2", "SimpleITK"} <= record.versions.keys()
    assert (record.seed, record.device, record.threads) == (1, "cpu", 2)


def test_provenance_names_the_commit_of_the_code_where_there_is_one() -> None:
    repository = Path(__file__).resolve().parents[2]
    if not (repository / ".git").exists():
        pytest.skip("the code is no working copy of a repository")
    asked = subprocess.run(["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert provenance(seed=0, device="cpu", threads=1).commit == asked.stdout.strip()
