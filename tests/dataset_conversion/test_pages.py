"""The pages of formats are those that the registry gives."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCUMENTATION = Path(__file__).resolve().parents[2] / "documentation"
AGAIN = "run: python documentation/generate_formats.py"


@pytest.fixture(scope="module")
def pages() -> dict[Path, str]:
    found: dict[Path, str] = runpy.run_path(str(DOCUMENTATION / "generate_formats.py"))["pages"]()
    return found


def test_every_page_is_current(pages: dict[Path, str]) -> None:
    assert {path: path.read_text(encoding="utf-8") for path in pages if path.exists()} == pages, AGAIN


def test_no_page_is_left_over(pages: dict[Path, str]) -> None:
    assert set((DOCUMENTATION / "reference" / "formats").iterdir()) < set(pages), AGAIN
