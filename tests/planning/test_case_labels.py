from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from planning.case_labels import CaseLabels
from sammoe_pipeline.raw_dataset import read_raw_dataset

MakeRaw = Callable[..., Path]


@pytest.fixture
def labels(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> CaseLabels:
    return CaseLabels.of(read_raw_dataset(make_raw(blocks, {"one": 1, "two": 2})).training_cases[0])


def test_the_map_lies_along_canonical_axes(labels: CaseLabels) -> None:
    assert labels.boxes.around((1,)) == (slice(6, 12), slice(5, 11), slice(4, 10))


def test_a_mask_holds_its_class_alone(labels: CaseLabels) -> None:
    box = labels.boxes.around((1, 2))
    assert box is not None
    assert labels.mask((2,), box).sum() == 8 + 18
