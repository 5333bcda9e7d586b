from __future__ import annotations

import numpy as np
import pytest

from planning.configurations import (
    cell_voxels_of,
    choose_locator_configuration,
    fitting_configurations,
    mask_grid_ceiling,
    propose_configurations,
)
from sammoe_pipeline.artefacts import (
    CaseFingerprint,
    ChannelFingerprint,
    ClassFingerprint,
    Configuration,
    DatasetFingerprint,
)

NATIVE = Configuration(name="native", spacing_mm=3.0, patch_size=48)
CELL_VOXELS = 2


def fingerprint(spacing_mm: float, channels: int = 1) -> DatasetFingerprint:
    case = CaseFingerprint(
        case="a", shape=(9, 9, 9), spacing_mm=(spacing_mm, spacing_mm, 2 * spacing_mm), orientation="RAS"
    )
    channel = ChannelFingerprint(name="MR", mean=0, std=1, median=0, percentile_00_5=0, percentile_99_5=1)
    return DatasetFingerprint(
        dataset="Dataset001_A", cases=(case,), classes={}, channels=(channel,) * channels, raw_digest=""
    )


def shape_of(extent_mm: float, thickness_mm: float, across_mm: float = 0) -> ClassFingerprint:
    extent = (max(thickness_mm, across_mm), extent_mm, thickness_mm)
    return ClassFingerprint(cases=1, components=1, volume_mm3=1, extent_mm=extent, thickness_mm=thickness_mm)


@pytest.mark.parametrize(
    ("image_mm", "names"),
    [
        (1.0, ["native", "2mm", "1.5mm", "1mm", "0.75mm", "0.5mm"]),
        (3.0, ["native", "2mm", "1.5mm"]),
        (5.0, ["native", "2mm"]),
        (0.7, ["native", "2mm", "1.5mm", "1mm", "0.75mm", "0.5mm", "0.375mm", "0.25mm"]),
    ],
)
def test_candidates_go_on_until_a_mask_cell_is_no_larger_than_a_voxel(image_mm: float, names: list[str]) -> None:
    assert list(propose_configurations(NATIVE, fingerprint(image_mm), CELL_VOXELS)) == names


def test_a_mouse_gets_candidates_of_its_scale() -> None:
    spacings = [
        candidate.spacing_mm for candidate in propose_configurations(NATIVE, fingerprint(0.15), CELL_VOXELS).values()
    ]
    assert spacings[-2:] == [0.0938, 0.0625]


def test_every_further_channel_is_a_candidate() -> None:
    candidates = propose_configurations(NATIVE, fingerprint(5.0, channels=3), CELL_VOXELS)
    assert list(candidates) == ["native", "2mm", "native_channel1", "native_channel2"]
    assert [candidate.channel for candidate in candidates.values()] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("extent_mm", "names"),
    [
        (110, []),
        (150, ["4.5mm", "native_patch72"]),  # windows of 216 mm hold it wherever the click is
        (200, ["4.5mm", "6mm", "native_patch72", "native_patch96"]),
        (900, ["4.5mm", "6mm", "9mm", "native_patch72", "native_patch96"]),
    ],
)
def test_a_long_bone_gets_coarser_and_larger_windows_until_one_holds_it(extent_mm: float, names: list[str]) -> None:
    bone = shape_of(extent_mm, 20)
    measured = fingerprint(5.0).model_copy(update={"classes": {"bone": bone, "dot": shape_of(5, 5)}})
    candidates = propose_configurations(NATIVE, measured, CELL_VOXELS)
    assert list(candidates) == ["native", "2mm", *names]
    assert list(fitting_configurations(candidates, bone)) == ["native", "2mm", *names]
    assert list(fitting_configurations(candidates, measured.classes["dot"])) == ["native", "2mm"]


def test_larger_windows_are_whole_tokens() -> None:
    native = Configuration(name="native", spacing_mm=1.5, patch_size=128)
    measured = fingerprint(1.5).model_copy(update={"classes": {"spine": shape_of(600, 40)}})
    sizes = [one.patch_size for one in propose_configurations(native, measured, 4).values()]
    assert sorted(set(sizes)) == [128, 192, 256]


@pytest.mark.parametrize(
    ("extent_mm", "across_mm", "thickness_mm", "names"),
    [
        (60, 60, 50, ["native", "2mm"]),  # 1.5 mm shows 72 mm: too little where the click is at the rim
        (60, 10, 10, ["native", "2mm", "1.5mm", "1mm"]),  # four thicknesses: windows follow it
        (100, 70, 12, ["native", "2mm"]),  # thin, but no tube
        (150, 90, 70, ["native"]),
        (400, 15, 15, ["native", "2mm", "1.5mm"]),
    ],
)
def test_a_window_must_show_enough_of_a_class(
    extent_mm: float, across_mm: float, thickness_mm: float, names: list[str]
) -> None:
    candidates = {
        name: candidate
        for name, candidate in propose_configurations(NATIVE, fingerprint(1.0), CELL_VOXELS).items()
        if candidate.spacing_mm >= 1
    }
    assert list(fitting_configurations(candidates, shape_of(extent_mm, thickness_mm, across_mm))) == names


@pytest.mark.parametrize(
    ("thicknesses_mm", "chosen"),
    [
        ((50, 30, 12), "native"),  # cells of 6 mm
        ((50, 9, 8), "2mm"),  # 4 mm
        ((50, 4, 3), "1mm"),  # 2 mm
        ((2, 2, 2), "1mm"),
        ((), "native"),
    ],
)
def test_the_locator_looks_where_half_of_the_classes_have_a_cell_inside(
    thicknesses_mm: tuple[float, ...], chosen: str
) -> None:
    found = {str(index): shape_of(60, thickness_mm) for index, thickness_mm in enumerate(thicknesses_mm)}
    candidates = propose_configurations(NATIVE, fingerprint(1.0), CELL_VOXELS)
    used = {name: candidates[name] for name in ("native", "2mm", "1mm")}
    measured = fingerprint(1.0).model_copy(update={"classes": found})
    assert choose_locator_configuration(used, measured, CELL_VOXELS) == chosen


def test_a_mask_cell_is_a_quarter_of_the_stride() -> None:
    assert (cell_voxels_of("tiny"), cell_voxels_of("vit_b")) == (2, 4)


def test_a_thin_cord_wants_a_fine_grid() -> None:
    cord = np.zeros((40, 40, 60), dtype=np.bool_)
    cord[17:22, 17:22, :] = True
    coarse, fine = (mask_grid_ceiling(cord, (1.0, 1.0, 1.0), cell) for cell in (8.0, 2.0))
    assert coarse < 0.7 < 0.9 < fine


def test_a_grid_that_matches_costs_nothing() -> None:
    block = np.zeros((12, 12, 12), dtype=np.bool_)
    block[3:9, 3:9, 3:9] = True
    assert mask_grid_ceiling(block, (2.0, 2.0, 2.0), 2.0) == 1


def test_a_grid_can_lose_a_class_altogether() -> None:
    dot = np.zeros((12, 12, 12), dtype=np.bool_)
    dot[6, 6, 6] = True
    assert mask_grid_ceiling(dot, (1.0, 1.0, 1.0), 6.0) == 0
