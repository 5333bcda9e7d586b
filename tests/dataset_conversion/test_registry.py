from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from dataset_conversion.cli import FORMAT_FLAGS
from dataset_conversion.format import Format
from dataset_conversion.phantoms import PHANTOM_KINDS
from dataset_conversion.registry import FORMATS, PHANTOMS
from dataset_conversion.source import Source


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_the_flags_that_it_names(name: str) -> None:
    taken = inspect.signature(FORMATS[name].read).parameters
    assert set(FORMATS[name].flags) <= set(taken)
    assert set(FORMATS[name].flags) <= set(FORMAT_FLAGS)


def test_no_flag_is_left_over() -> None:
    assert {flag for entry in FORMATS.values() for flag in entry.flags} == set(FORMAT_FLAGS)


@pytest.mark.parametrize(("own", "stated"), [("", "CC0"), ("MIT", "MIT")])
def test_the_licence_of_the_data_itself_comes_first(own: str, stated: str) -> None:
    source = Source(channels=("CT",), classes=("a",), cases=(), licence=own)
    entry = replace(FORMATS["msd"], read=lambda _: source, licence="CC0")
    assert entry.source(Path()).licence == stated


def test_every_entry_says_what_users_ask() -> None:
    for name, entry in FORMATS.items():
        assert isinstance(entry, Format)
        assert all((entry.summary, entry.modality, entry.licence, entry.where, entry.tree)), name


def test_every_kind_of_phantom_is_offered() -> None:
    assert {name.removeprefix("phantom_") for name in PHANTOMS} == set(PHANTOM_KINDS)


def test_formats_and_phantoms_do_not_share_a_name() -> None:
    assert not FORMATS.keys() & PHANTOMS.keys()
