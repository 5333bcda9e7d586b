"""A dataset with everything trained."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.training.train_dataset import train_dataset
from tests.conftest import MakeWorkspace, Workspace


@pytest.fixture(scope="session")
def trained(make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]) -> Workspace:
    """The boxes with their experts and locators trained in two folds; `far` is left to the general expert.

    Not to be changed.
    """
    a, b, c, d = boxes
    folds = [((a, b), (c,), (d,)), ((c, d), (a,), (b,))]
    made = make_workspace(boxes, {"near": 1, "far": 2}, folds=folds, components=["far"], general=["far"])
    train_dataset(
        made.planned,
        folds=None,
        tasks=None,
        must_continue=False,
        foundation=made.foundation,
        results=made.folders.results,
        device="cpu",
    )
    return made
