from __future__ import annotations

import pytest

from dataset_conversion.selection import Selection, number_classes, parse_merges
from sammoe_pipeline.errors import UsageError

CLASSES = ("liver", "kidney_left", "kidney_right", "lung")


def test_all_classes_are_numbered_in_their_order() -> None:
    numbering = number_classes(CLASSES, Selection())
    assert numbering.classes == {"liver": 1, "kidney_left": 2, "kidney_right": 3, "lung": 4}
    assert numbering.source == numbering.classes


def test_a_subset_is_numbered_in_the_order_asked_for() -> None:
    numbering = number_classes(CLASSES, Selection(classes=("lung", "liver")))
    assert numbering.classes == {"lung": 1, "liver": 2}
    assert numbering.source == {"liver": 2, "kidney_left": 0, "kidney_right": 0, "lung": 1}


def test_merged_classes_take_the_place_of_their_first() -> None:
    numbering = number_classes(CLASSES, Selection(merge={"kidney": ("kidney_right", "kidney_left")}))
    assert numbering.classes == {"liver": 1, "kidney": 2, "lung": 3}
    assert numbering.source["kidney_left"] == numbering.source["kidney_right"] == 2


def test_a_merged_class_may_keep_the_name_of_a_member() -> None:
    numbering = number_classes(("kidney", "tumor"), Selection(merge={"kidney": ("kidney", "tumor")}))
    assert numbering.classes == {"kidney": 1}


def test_a_split_class_has_two_numbers() -> None:
    numbering = number_classes(CLASSES, Selection(classes=("lung", "liver"), split=("lung",)))
    assert numbering.classes == {"lung_left": 1, "lung_right": 2, "liver": 3}
    assert numbering.source["lung"] == 1
    assert numbering.right == {1: 2}


def test_voxels_to_ignore_have_the_highest_number_in_every_subset() -> None:
    numbering = number_classes(("liver", "ignore", "lung"), Selection(classes=("lung",)))
    assert numbering.classes == {"lung": 1, "ignore": 2}
    assert numbering.source == {"liver": 0, "ignore": 2, "lung": 1}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(classes=("livr",)), "--classes 'livr' is none of .* Did you mean 'liver'"),
        (Selection(classes=("liver", "liver")), "--classes names 'liver' twice"),
        (Selection(split=("kidney",)), "--split-sides 'kidney' is none of"),
        (Selection(merge={"kidney": ("left",)}), "--merge 'left' is none of"),
        (Selection(merge={"lung": ("kidney_left", "kidney_right")}), "has a class 'lung' already"),
        (Selection(merge={"kidney": ("kidney_left", "kidney_right")}, classes=("kidney_left",)), "none of"),
        (Selection(merge={"kidney": ("liver",)}, split=("kidney",)), "there is a class 'kidney_left' already"),
        (Selection(merge={"a": ("liver",), "b": ("liver",)}), "--merge names 'liver' twice"),
    ],
)
def test_what_cannot_be_is_explained(selection: Selection, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        number_classes(CLASSES, selection)


@pytest.mark.parametrize("word", ["kidney", "=a,b", "kidney=", "kidney=,"])
def test_a_merge_needs_a_name_and_members(word: str) -> None:
    with pytest.raises(UsageError, match=r"NEW=a,b is needed"):
        parse_merges([word])


def test_merges_are_read() -> None:
    assert parse_merges(["k=a, b", "l=c"]) == {"k": ("a", "b"), "l": ("c",)}
