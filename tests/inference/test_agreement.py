from typing import Any

import numpy as np
import pytest
import torch

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.agreement import agreements
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from tests.inference.conftest import NATIVE, BrightThing, box

SHAPE = (16, 16, 16)
THING = box(SHAPE, (4, 10), (4, 10), (4, 10))
ON_IT = [Click(position=(7.0, 7.0, 7.0))]


@pytest.fixture
def case(bright_thing: BrightThing) -> EncodedCase:
    data = np.where(THING, 10.0, 1.0).astype(np.float32)
    image = CaseImage([Volume(data=data, affine=np.eye(4))])
    return EncodedCase(image, model=bright_thing, normalisation="positive")  # type: ignore[arg-type]


def _half(logits: torch.Tensor) -> torch.Tensor:
    """Loses half of the thing."""
    lost = logits.clone()
    lost[..., 8:, :, :] = -8.0
    return lost


HALF: Any = _half
SAME: Any = lambda logits: logits  # noqa: E731


def test_answer_that_everyone_gives_has_full_agreement(case: EncodedCase) -> None:
    assert agreements(case, ON_IT, NATIVE, (None,)) == {"clicks": 1.0}
    assert agreements(case, ON_IT, NATIVE, (SAME, SAME)) == {"clicks": 1.0, "general": 1.0, "folds": 1.0}


def test_expert_that_the_general_one_contradicts_has_less(case: EncodedCase) -> None:
    found = agreements(case, ON_IT, NATIVE, (HALF,))
    seen = THING[: 8 - 1].sum()  # The window begins a voxel before the image.
    assert found["clicks"] == 1.0
    assert found["general"] == pytest.approx(2 * seen / (THING.sum() + seen))


def test_folds_that_contradict_each_other_have_less(case: EncodedCase) -> None:
    opposite: Any = lambda logits: -_half(logits)  # noqa: E731
    assert agreements(case, ON_IT, NATIVE, (SAME, SAME, opposite))["folds"] < 0.9


def test_answer_that_depends_on_the_place_of_the_click_has_less(
    case: EncodedCase, bright_thing: BrightThing, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = bright_thing.decode

    def only_where_it_was_meant(embedding: torch.Tensor, points: torch.Tensor, *rest: Any, **named: Any) -> Any:
        found = decode(embedding, points, *rest, **named)
        return found if points[0, 0].tolist() == [8.0, 8.0, 8.0] else torch.full_like(found, -8.0)

    monkeypatch.setattr(bright_thing, "decode", only_where_it_was_meant)
    assert agreements(case, ON_IT, NATIVE, (None,))["clicks"] < 0.5


def test_nothing_agrees_with_an_empty_mask(case: EncodedCase) -> None:
    empty: Any = lambda logits: torch.full_like(logits, -1.0)  # noqa: E731
    assert agreements(case, ON_IT, NATIVE, (empty,)) == {"clicks": 0.0, "general": 0.0}
