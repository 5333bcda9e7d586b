"""What the audits look at: the repository's own files, and what setup.py declares."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def declared() -> dict[str, Any]:
    """The arguments that setup.py gives to `setup`."""
    import setuptools

    arguments: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", arguments.update)
        patch.chdir(REPOSITORY)
        runpy.run_path("setup.py")
    return arguments


@pytest.fixture(scope="session")
def commands(declared: dict[str, Any]) -> dict[str, str]:
    """Each console command's `module:function`."""
    pairs = (script.split(" = ") for script in declared["entry_points"]["console_scripts"])
    return dict(pairs)
