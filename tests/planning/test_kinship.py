from __future__ import annotations

import pytest

from planning.kinship import alike, has_side, partner_of
from sammoe_pipeline.artefacts import ClassFingerprint


def look(thickness_mm: float, *intensities: float) -> ClassFingerprint:
    return ClassFingerprint(
        cases=3,
        components=1,
        volume_mm3=1,
        extent_mm=(1, 1, 1),
        thickness_mm=thickness_mm,
        intensities=intensities,
    )


@pytest.mark.parametrize("name", ["kidney_left", "RightLung", "hippocampus_l", "R-femur", "lh.cortex"])
def test_sides_are_noticed(name: str) -> None:
    assert has_side(name)


@pytest.mark.parametrize("name", ["liver", "vertebra_L1", "rectum", "colon", "anterior"])
def test_other_names_have_no_side(name: str) -> None:
    assert not has_side(name)


@pytest.mark.parametrize(
    ("name", "partner"),
    [("kidney_left", "kidney_right"), ("Right-Lung", "left-lung"), ("l femur", "R Femur"), ("liver", None)],
)
def test_partners_are_found_whatever_the_case_of_letters(name: str, partner: str | None) -> None:
    names = ["kidney_left", "kidney_right", "Right-Lung", "left-lung", "l femur", "R Femur", "liver"]
    assert partner_of(name, names) == partner


def test_a_side_alone_has_no_partner() -> None:
    assert partner_of("atrium_left", ["atrium_left", "ventricle_left"]) is None


def test_classes_are_alike_in_every_channel_and_in_thickness() -> None:
    classes = {
        "a": look(10, 0.1, 2.0),
        "same": look(13, 0.2, 1.9),
        "bright": look(10, 0.1, 3.0),
        "thick": look(16, 0.1, 2.0),
    }
    assert alike("a", classes) == ("same",)


def test_a_class_that_no_case_has_is_like_none() -> None:
    empty = ClassFingerprint(cases=0, components=0, volume_mm3=0, extent_mm=(0, 0, 0), thickness_mm=0)
    assert alike("empty", {"empty": empty, "a": look(10, 0.1)}) == ()
    assert alike("a", {"empty": empty, "a": look(10, 0.1)}) == ()
