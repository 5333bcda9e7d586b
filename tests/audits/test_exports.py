"""What packages offer under `__all__` exists and says what it is."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import FunctionType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def exports(declared: dict[str, Any]) -> list[tuple[str, str]]:
    """Package and name of everything exported."""
    return [(name, export) for name in declared["packages"] for export in getattr(import_module(name), "__all__", ())]


def test_every_exported_name_exists(exports: list[tuple[str, str]]) -> None:
    assert exports
    assert [pair for pair in exports if not hasattr(import_module(pair[0]), pair[1])] == []


def test_every_exported_class_and_function_is_documented(exports: list[tuple[str, str]]) -> None:
    named = [(package, name, getattr(import_module(package), name)) for package, name in exports]
    described = [(package, name, value) for package, name, value in named if isinstance(value, type | FunctionType)]
    assert [(package, name) for package, name, value in described if not inspect.getdoc(value)] == []


def test_every_package_says_what_it_is(declared: dict[str, Any]) -> None:
    assert [name for name in declared["packages"] if not import_module(name).__doc__] == []
