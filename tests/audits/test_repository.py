"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sammoe_pipeline import paths

PACKAGES = ("sammoe_pipeline", "dataset_conversion", "planning")
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".yml", ".svg", ".cfg", ""}
OF_A_MACHINE = re.compile(r"(?<![\w./~-])/(?:work|root|tmp|home|mnt|opt|scratch)/[\w.]")
OWN_FILES = {"Makefile", "README.md", "setup.py", "pyproject.toml", "constraints-cpu.txt", ".ci/run"}


def shown_files(repository: Path) -> list[Path]:
    """Returns the files that users and readers see: packages, documentation and what lies at the root."""
    files = [repository / name for name in sorted(OWN_FILES)]
    for folder in (*PACKAGES, "documentation"):
        files += [file for file in sorted((repository / folder).rglob("*")) if "__pycache__" not in file.parts]
    return [file for file in files if file.is_file() and file.suffix in TEXT]


def test_no_file_names_a_folder_of_one_machine(repository: Path) -> None:
    found = [
        f"{file.relative_to(repository)}:{number}: {line.strip()}"
        for file in shown_files(repository)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if OF_A_MACHINE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("line", ["open('/tmp/x')", "data in /home/me/data", '"/scratch/scans"'])
def test_folders_of_a_machine_are_recognised(line: str) -> None:
    assert OF_A_MACHINE.search(line)


@pytest.mark.parametrize("line", ["../shared/data", "https://site.org/home/page", "--raw /path/to/raw"])
def test_other_paths_are_left_alone(line: str) -> None:
    assert not OF_A_MACHINE.search(line)


def file_names() -> set[str]:
    """Returns the names that `paths.py` gives to files, and to folders that no ordinary word is the name of."""
    constants = {value for name, value in vars(paths).items() if name.isupper() and isinstance(value, str)}
    return {name for name in constants if "." in name or name != name.lower() or "_" in name}


def literals(file: Path) -> list[tuple[int, str]]:
    """Returns line and value of the string constants of a module, docstrings excepted."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def test_only_paths_spells_file_names(repository: Path) -> None:
    names = file_names()
    assert {"dataset.json", "imagesTr", "gt_segmentations"} <= names
    found = [
        f"{file.relative_to(repository)}:{line}: {value!r}"
        for package in PACKAGES
        for file in sorted((repository / package).rglob("*.py"))
        if file != Path(paths.__file__)
        for line, value in literals(file)
        if value.rsplit("/", 1)[-1] in names or value == "fold_"
    ]
    assert found == []
