"""Writes reference/formats.md and a page a format from the registry: `python documentation/generate_formats.py`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dataset_conversion.format import Format  # noqa: E402
from dataset_conversion.registry import FORMATS  # noqa: E402

FOLDER = HERE / "reference" / "formats"
TABLE = HERE / "reference" / "formats.md"
INTRODUCTION = """\
# Formats

Generated from the registry by `documentation/generate_formats.py`. Each page has the tree that is expected, the command
and the classes. What all formats share, and how to add one, is in [convert a dataset](../how-to/convert.md) and
[add a format](../how-to/convert-add-a-format.md). Check the licence yourself before you use or share anything.

| format | what it is | modality | classes | licence | from |
|---|---|---|---|---|---|
"""


def pages() -> dict[Path, str]:
    """Returns the text of every page by its path."""
    found = {FOLDER / f"{name}.md": page(name, entry) for name, entry in FORMATS.items()}
    return {TABLE: INTRODUCTION + "".join(map(row, FORMATS)), **found}


def row(name: str) -> str:
    """Returns the line of a format in the table of all."""
    entry = FORMATS[name]
    classes = str(len(entry.classes)) if entry.classes else "its own"
    cells = (f"[`{name}`](formats/{name}.md)", entry.summary, entry.modality, classes, entry.licence, entry.where)
    return f"| {' | '.join(cells)} |\n"


def page(name: str, entry: Format) -> str:
    """Returns the page of a format."""
    flags = "".join(f" [--{flag} ...]" for flag in entry.flags)
    parts = [
        f"# {name}\n\n{entry.summary[0].upper()}{entry.summary[1:]}.\n",
        f"| | |\n|---|---|\n| modality | {entry.modality} |\n| from | {entry.where} |\n| licence | {entry.licence} |\n",
        f"```\nsammoe_convert_dataset {name} -i SRC -d ID{flags}\n```\n",
        "`SRC` is the root of this tree, or a folder around it:\n",
        f"```\n{entry.tree}\n```\n",
    ]
    if entry.notes:
        parts.append("".join(f"- {note}\n" for note in entry.notes))
    if entry.classes:
        rows = "".join(f"| {number} | {of_class} |\n" for number, of_class in enumerate(entry.classes, start=1))
        parts.append(f"| value | class |\n|---|---|\n{rows}")
    parts.append("All options: [`sammoe_convert_dataset`](../commands.md#sammoe_convert_dataset).\n")
    return "\n".join(parts)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        path.unlink()
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
