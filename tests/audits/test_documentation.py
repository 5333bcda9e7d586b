"""Links lead somewhere, and the generated page is the one that the models give."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages(repository: Path) -> list[Path]:
    """Returns all pages."""
    return [repository / "README.md", *sorted((repository / "documentation").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Returns what `#...` may follow a link to a page: its headings as they are shown on code hosts."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(repository: Path) -> None:
    broken = []
    for page in pages(repository):
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(repository)}: {link}")
    assert broken == []


def test_every_page_is_reached_from_the_readme(repository: Path) -> None:
    reached: set[Path] = set()
    waiting = [repository / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        waiting += [page.parent / link.partition("#")[0] for link in links if "://" not in link]
    assert {page.resolve() for page in pages(repository)} == reached


@pytest.fixture(scope="module")
def generated(repository: Path) -> str:
    """The reference of JSON files, made anew."""
    page = runpy.run_path(str(repository / "documentation" / "generate_reference.py"))["page"]()
    assert isinstance(page, str)
    return page


def test_the_reference_of_json_files_is_current(repository: Path, generated: str) -> None:
    committed = (repository / "documentation" / "reference" / "artefacts.md").read_text(encoding="utf-8")
    assert committed == generated, "run: python documentation/generate_reference.py"


def test_every_field_of_every_artefact_is_in_the_reference(generated: str) -> None:
    from sammoe_pipeline import artefacts

    def all_subclasses(model: type) -> set[type]:
        return {model}.union(*(all_subclasses(child) for child in model.__subclasses__()))

    for model in all_subclasses(artefacts.Record) - {artefacts.Record, artefacts.Artefact}:
        if model.__module__.partition(".")[0] not in ("sammoe_pipeline", "planning"):
            continue
        section = re.split(rf"^## {model.__name__}$", generated, flags=re.MULTILINE)[1].split("\n## ")[0]
        listed = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)
        assert {*listed, "schema_version"} >= set(model.model_fields), model.__name__  # type: ignore[attr-defined]
