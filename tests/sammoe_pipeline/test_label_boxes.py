import numpy as np
import pytest

from sammoe_pipeline.label_boxes import LabelBoxes


@pytest.fixture
def boxes() -> LabelBoxes:
    """Value 1 in two places and value 3 in one, in a map of 14 x 12 x 10 voxels."""
    labels = np.zeros((14, 12, 10), dtype=np.int16)
    labels[6:9, 5:7, 4:8] = labels[10:12, 8:11, 6:9] = 1
    labels[2:4, 3:5, 1:3] = 3
    return LabelBoxes.of(labels)


def test_a_value_has_the_box_of_all_its_parts(boxes: LabelBoxes) -> None:
    assert boxes.around((1,)) == (slice(6, 12), slice(5, 11), slice(4, 9))


def test_a_region_has_the_box_of_all_its_values(boxes: LabelBoxes) -> None:
    assert boxes.around((1, 2, 3)) == (slice(2, 12), slice(3, 11), slice(1, 9))


def test_the_margin_ends_at_the_map(boxes: LabelBoxes) -> None:
    assert boxes.around((3,), margin=4) == (slice(0, 8), slice(0, 9), slice(0, 7))


@pytest.mark.parametrize("value", [0, 2, 9])
def test_an_absent_value_has_no_box(boxes: LabelBoxes, value: int) -> None:
    assert boxes.around((value,)) is None
