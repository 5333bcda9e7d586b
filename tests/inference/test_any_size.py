import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.any_size import configuration_for
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.prompts import Interaction
from sammoe_pipeline.inference.region import Box, Region
from tests.inference.conftest import BrightThing, box

NATIVE = Configuration(name="native", spacing_mm=4.0, patch_size=16)
SHAPE = (80, 80, 80)
MIDDLE = (Click(position=(40.0, 40.0, 40.0)),)


def _case(model: BrightThing, mask: NDArray[np.bool_], spacing_mm: float = 1.0) -> EncodedCase:
    data = np.where(mask, 10.0, 1.0).astype(np.float32)
    image = CaseImage([Volume(data=data, affine=np.diag([spacing_mm] * 3 + [1.0]))])
    return EncodedCase(image, model=model, normalisation="positive")  # type: ignore[arg-type]


def _cube(side: int) -> NDArray[np.bool_]:
    return box(SHAPE, *[(40 - side // 2, 40 + side // 2)] * 3)


@pytest.mark.parametrize(("side", "spacing_mm"), [(8, 1.0), (18, 2.0), (26, 2 * 2**0.5), (36, 4.0)])
def test_small_thing_is_segmented_at_the_finest_spacing_whose_window_has_room(
    bright_thing: BrightThing, side: int, spacing_mm: float
) -> None:
    chosen = configuration_for(_case(bright_thing, _cube(side)), Interaction(MIDDLE), NATIVE)
    assert chosen.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)
    assert (chosen == NATIVE) == (spacing_mm == 4.0)


def test_window_is_not_larger_than_the_image(bright_thing: BrightThing) -> None:
    mask = box((20, 16, 16), (0, 20), (0, 16), (0, 16))
    chosen = configuration_for(_case(bright_thing, mask, 1.6), Interaction((Click(position=(9.0, 8.0, 8.0)),)), NATIVE)
    assert chosen.spacing_mm == pytest.approx(2.0)


def test_box_tells_the_size_without_a_look(bright_thing: BrightThing) -> None:
    drawn = Box(centre=(40.0, 40.0, 40.0), half_sides=((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0)))
    prompt = Interaction(MIDDLE, Region.of_box(drawn, SHAPE))
    assert configuration_for(_case(bright_thing, _cube(60)), prompt, NATIVE).spacing_mm == pytest.approx(1.0)
    assert bright_thing.encoded == 0


def test_click_on_nothing_is_answered_at_the_first_spacing(bright_thing: BrightThing) -> None:
    case = _case(bright_thing, np.zeros(SHAPE, dtype=np.bool_))
    assert configuration_for(case, Interaction(MIDDLE), NATIVE) == NATIVE
