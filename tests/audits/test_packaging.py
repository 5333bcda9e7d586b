"""What setup.py declares is what the repository holds: an installed copy lacks nothing and drags in nothing unused."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

PACKAGES = ("sammoe_pipeline", "dataset_conversion", "planning")
NOT_SHIPPED = {"__pycache__"}


def package_files(repository: Path) -> list[Path]:
    """Returns every file under the import packages."""
    files = (file for package in PACKAGES for file in (repository / package).rglob("*") if file.is_file())
    return [file for file in files if not NOT_SHIPPED & set(file.parts)]


def test_every_folder_with_modules_is_an_installed_package(repository: Path, declared: dict[str, Any]) -> None:
    folders = {file.parent.relative_to(repository) for file in package_files(repository) if file.suffix == ".py"}
    assert {".".join(folder.parts) for folder in folders} == set(declared["packages"])


def test_every_other_file_is_package_data(repository: Path, declared: dict[str, Any]) -> None:
    shipped = {
        file
        for package, patterns in declared["package_data"].items()
        for pattern in patterns
        for file in (repository / package).glob(pattern)
    }
    assert {file for file in package_files(repository) if file.suffix != ".py"} == shipped


def test_every_pattern_of_package_data_finds_something(repository: Path, declared: dict[str, Any]) -> None:
    patterns = [(package, pattern) for package, found in declared["package_data"].items() for pattern in found]
    assert [(package, pattern) for package, pattern in patterns if not list((repository / package).glob(pattern))] == []


def test_every_command_resolves_to_a_function(commands: dict[str, str]) -> None:
    missing = {}
    for command, target in commands.items():
        module, function = target.split(":")
        if not callable(getattr(import_module(module), function, None)):
            missing[command] = target
    assert missing == {}


def test_stages_run_the_functions_behind_the_commands(commands: dict[str, str]) -> None:
    from sammoe_pipeline.run_stages import COMMANDS

    assert COMMANDS.items() <= commands.items()


def test_dependencies_are_those_that_are_imported(repository: Path, declared: dict[str, Any]) -> None:
    imported = set()
    for file in package_files(repository):
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    others = imported - set(PACKAGES) - set(sys.stdlib_module_names)
    distributions = packages_distributions()
    needed = {plain(distributions.get(name, [name])[0]) for name in others}
    assert needed == {plain(requirement) for requirement in declared["install_requires"]}


def plain(requirement: str) -> str:
    """Returns a requirement's package, in the spelling in which names are compared.

    >>> plain("Some_Package>=2.8,<3")
    'some-package'
    """
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def test_bundled_foundations_are_whole_and_small(repository: Path) -> None:
    from sammoe_pipeline.artefacts import FoundationCard, sha256_of
    from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATION_WEIGHTS

    cards = list((repository / "sammoe_pipeline" / "bundled_foundations").glob(f"*/{FOUNDATION_JSON}"))
    assert cards
    for card in cards:
        weights = card.with_name(FOUNDATION_WEIGHTS)
        assert FoundationCard.load(card).sha256 == sha256_of(weights)
        assert weights.stat().st_size <= 12_000_000
