from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.evaluation.finished import FinishedCase, FinishedCases, kept
from sammoe_pipeline.evaluation.pictures import Picture, take_planes
from sammoe_pipeline.evaluation.records import CaseRecord
from tests.evaluation.conftest import HEAD


@pytest.fixture
def picture() -> Picture:
    rng = np.random.default_rng(0)
    truth, general, mixture = (rng.random((9, 10, 11)) > 0.5 for _ in range(3))
    planes = take_planes(rng.random((9, 10, 11)), (1.0, 2.0, 0.5), truth=truth, general=general, mixture=mixture)
    return Picture(dataset=HEAD, case="a", class_name="nerve", general_dice=None, mixture_dice=0.5, planes=planes)


@pytest.fixture
def finished(record: Callable[..., CaseRecord], picture: Picture) -> FinishedCase:
    return FinishedCase(
        key="k",
        dataset=HEAD,
        case="a",
        cases=(record("mixture", 1 / 3), record("general", None)),
        routing=(),
        experts=(),
        absent=("gland",),
        pictures=kept([picture]),
        seconds=1.0,
        memory_mb=2.0,
        gpu_memory_mb=None,
    )


def test_a_finished_case_comes_back_with_its_pictures(tmp_path: Path, finished: FinishedCase, picture: Picture) -> None:
    store = FinishedCases(tmp_path)
    store.save(finished, 3, [picture])
    assert store.load(HEAD, 3, "a", "k") == finished
    [drawn] = store.pictures([(3, finished)], HEAD, "nerve")
    assert replace(drawn, planes=()) == replace(picture, planes=())
    for one, other in zip(drawn.planes, picture.planes, strict=True):
        assert one.pixel_mm == other.pixel_mm
        for name in ("image", "truth", "general", "mixture"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert store.pictures([(3, finished)], HEAD, "gland") == []


def test_only_what_was_finished_with_the_same_key_counts(
    tmp_path: Path, finished: FinishedCase, picture: Picture
) -> None:
    store = FinishedCases(tmp_path)
    store.save(finished, 0, [picture])
    assert store.load(HEAD, 0, "a", "other") is None
    assert store.load(HEAD, 1, "a", "k") is None


def test_a_case_that_is_not_whole_is_asked_again(tmp_path: Path, finished: FinishedCase, picture: Picture) -> None:
    store = FinishedCases(tmp_path)
    store.save(finished, 0, [picture])
    [planes] = tmp_path.rglob("*.npz")
    planes.unlink()
    assert store.load(HEAD, 0, "a", "k") is None
    [path] = tmp_path.rglob("*.json")
    path.write_text("{}")
    assert store.load(HEAD, 0, "a", "k") is None
