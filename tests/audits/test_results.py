"""The tables in the documentation are those of the committed JSON, and belong to the bundled foundation."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import sammoe_pipeline
from sammoe_pipeline.artefacts import FoundationCard

DOCUMENTATION = Path(__file__).resolve().parents[2] / "documentation"
BUNDLED = Path(sammoe_pipeline.__file__).parent / "bundled_foundations" / "tiny" / "foundation.json"


def test_results_page_is_generated_from_its_json() -> None:
    page = runpy.run_path(str(DOCUMENTATION / "generate_results.py"))["page"]()
    committed = (DOCUMENTATION / "explanation" / "results.md").read_text(encoding="utf-8")
    assert committed == page, "run: python documentation/generate_results.py"


def test_results_belong_to_the_bundled_foundation() -> None:
    sha256 = FoundationCard.load(BUNDLED).sha256
    measured = [path for path in (DOCUMENTATION / "results").glob("*/*.json") if path.name != "story.json"]
    measured.append(DOCUMENTATION / "speed" / "precision.json")
    assert measured
    strangers = [path for path in measured if json.loads(path.read_text())["foundation_sha256"] != sha256]
    assert not strangers


def test_speed_page_is_generated_from_its_json() -> None:
    page = runpy.run_path(str(DOCUMENTATION / "generate_speed.py"))["page"]()
    committed = (DOCUMENTATION / "explanation" / "speed-figures.md").read_text(encoding="utf-8")
    assert committed == page, "run: python documentation/generate_speed.py"
