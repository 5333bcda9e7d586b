"""Writes reference/artefacts.md from the models of JSON files: `python documentation/generate_reference.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "reference" / "artefacts.md"
PACKAGES = ("sammoe_pipeline", "planning", "dataset_conversion")
ARTEFACTS = HERE.parent / "sammoe_pipeline" / "artefacts"
FILE, PART = "Artefact", "Record"
STAGES = (
    "origin",
    "foundation",
    "fingerprint",
    "configuration",
    "plan",
    "splits",
    "case_properties",
    "expert",
    "locator",
    "mixture",
)
"""Modules of `sammoe_pipeline.artefacts`, in the order in which stages write their files."""
INTRODUCTION = """\
# JSON files, field by field

Generated from the models by `documentation/generate_reference.py`. Every file also has `schema_version`. A field that
is unknown, missing or of another type is an error that names it.
"""


@dataclass(frozen=True)
class Model:
    """A class whose fields are stored as JSON.

    Attributes:
        name: of the class.
        base: `Artefact` for a file of its own, `Record` for a part of one.
        text: its docstring.
        fields: name, type and meaning of each.
    """

    name: str
    base: str
    text: str
    fields: tuple[tuple[str, str, str], ...]


def read_models() -> list[Model]:
    """Finds all models in the packages: those that pass between stages in their order, then the others by file."""
    others = [file for package in PACKAGES for file in sorted((HERE.parent / package).rglob("*.py"))]
    files = dict.fromkeys([*(ARTEFACTS / f"{stage}.py" for stage in STAGES), *others])
    classes = [
        node
        for file in files
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & {FILE, PART}
    ]
    return [
        Model(
            name=node.name,
            base=ast.unparse(node.bases[0]),
            text=one_line(ast.get_docstring(node) or ""),
            fields=tuple(fields_of(node)),
        )
        for node in classes
        if node.name != FILE
    ]


def fields_of(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yields name, type and the string under each field of a model."""
    for item, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign):
            documented = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            meaning = below.value.value if documented else ""  # type: ignore[union-attr]
            yield ast.unparse(item.target), ast.unparse(item.annotation), one_line(str(meaning))


def page() -> str:
    """Returns the whole page: files first, then what they are made of."""
    models = read_models()
    files = [model for model in models if model.base == FILE]
    parts = [model for model in models if model.base == PART]
    names = {model.name for model in models}
    sections = [section(model, names) for model in files]
    return "\n".join([INTRODUCTION, *sections, "# Parts of these files\n", *(section(part, names) for part in parts)])


def section(model: Model, names: set[str]) -> str:
    """Returns the heading, text and table of one model."""
    rows = "".join(f"| `{name}` | {cell_of_type(kind, names)} | {meaning} |\n" for name, kind, meaning in model.fields)
    return f"## {model.name}\n\n{model.text}\n\n| field | type | meaning |\n|---|---|---|\n{rows}"


def cell_of_type(kind: str, names: set[str]) -> str:
    """Returns a type for a table's cell, with links to the models it is made of."""
    links = [f"[{word}](#{word.lower()})" for word in re.findall(r"\w+", kind) if word in names]
    return " ".join([f"`{kind}`".replace("|", "\\|"), *links])


def one_line(text: str) -> str:
    """Joins the lines of a text."""
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
