"""Who may import whom: dataset_conversion -> sammoe_pipeline <- planning, and a network that needs only torch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

CORE, CONVERSION, PLANNING = "sammoe_pipeline", "dataset_conversion", "planning"


def imported_modules(file: Path, repository: Path) -> set[str]:
    """Returns the dotted names that a file imports anywhere, relative ones made absolute."""
    package = file.relative_to(repository).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join((*base, *(node.module or "").split("."))).strip("."))
    return names


def imports_of(folder: Path, repository: Path) -> dict[str, set[str]]:
    """Returns what each Python file under a folder imports, by the file's path in the repository."""
    files = sorted(folder.rglob("*.py"))
    return {str(file.relative_to(repository)): imported_modules(file, repository) for file in files}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [(CORE, {CONVERSION, PLANNING}), (CONVERSION, {PLANNING}), (PLANNING, {CONVERSION})],
)
def test_no_package_imports_against_the_arrows(repository: Path, package: str, forbidden: set[str]) -> None:
    against = {
        (file, name)
        for file, names in imports_of(repository / package, repository).items()
        for name in names
        if name.split(".")[0] in forbidden
    }
    assert not against


def test_the_network_imports_nothing_but_torch_and_numpy(repository: Path) -> None:
    allowed = {"torch", "numpy", *sys.stdlib_module_names}
    strange = {
        (file, name)
        for file, names in imports_of(repository / CORE / "model", repository).items()
        for name in names
        if name.split(".")[0] not in allowed and not name.startswith(f"{CORE}.model")
    }
    assert not strange


def test_relative_imports_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "package" / "inner"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text("from . import a\nfrom ..other import b\nimport c.d\nfrom e.f import g\n")
    assert imported_modules(folder / "module.py", tmp_path) == {"package.inner", "package.other", "c.d", "e.f"}
