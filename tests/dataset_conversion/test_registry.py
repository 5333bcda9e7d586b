from __future__ import annotations

from importlib import import_module

import pytest

from dataset_conversion.phantoms import PHANTOM_KINDS
from dataset_conversion.registry import FORMATS, PHANTOMS


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_read_a_source(name: str) -> None:
    assert callable(import_module(FORMATS[name].module).read_source)


def test_every_kind_of_phantom_is_offered() -> None:
    assert {name.removeprefix("phantom_") for name in PHANTOMS} == set(PHANTOM_KINDS)


def test_formats_and_phantoms_do_not_share_a_name() -> None:
    assert not FORMATS.keys() & PHANTOMS.keys()
