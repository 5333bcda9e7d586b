import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from sammoe_pipeline.clicks import (
    Click,
    component_at,
    component_clicks,
    component_masks,
    connected_to,
    deep_voxels,
    first_click,
    next_click,
)

SHAPE = (20, 18, 16)


def _box(*sides: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[tuple(slice(first, stop) for first, stop in sides)] = True
    return mask


def _at(click: Click) -> tuple[int, ...]:
    return tuple(int(value) for value in click.position)


@pytest.fixture
def blob() -> NDArray[np.bool_]:
    """A ball with a thin handle, away from every border."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(grid - (8, 8, 8), axis=-1) < 5) | _box((8, 18), (8, 9), (8, 9))


def test_deep_voxels_are_all_those_at_least_half_as_deep_as_the_deepest(blob: NDArray[np.bool_]) -> None:
    depth = distance_transform_edt(blob)
    expected = np.argwhere(depth >= depth.max() / 2)
    np.testing.assert_array_equal(deep_voxels(blob), expected)
    assert 0 < len(expected) < blob.sum()


def test_border_of_the_array_is_no_border_of_the_structure() -> None:
    half = _box((0, 8), (0, 18), (0, 16))
    # Only the face at x = 8 is a border: depth grows towards x = 0.
    assert set(deep_voxels(half)[:, 0]) == set(range(5))


def test_mask_that_fills_the_array_is_deep_everywhere() -> None:
    assert len(deep_voxels(np.ones(SHAPE, dtype=np.bool_))) == np.prod(SHAPE)


def test_target_of_one_voxel_is_clicked_on() -> None:
    click = first_click(_box((19, 20), (0, 1), (7, 8)), np.random.default_rng(0))
    assert click == Click(position=(19.0, 0.0, 7.0), positive=True)


def test_empty_target_gets_no_click() -> None:
    assert first_click(np.zeros(SHAPE, dtype=np.bool_), np.random.default_rng(0)) is None


def test_first_clicks_lie_in_the_deep_part_and_spread_over_it(blob: NDArray[np.bool_]) -> None:
    deep = {tuple(voxel) for voxel in deep_voxels(blob)}
    clicks = [first_click(blob, np.random.default_rng(seed)) for seed in range(50)]
    positions = {_at(click) for click in clicks if click is not None}
    assert positions <= deep
    assert len(positions) > 20


def test_click_depends_on_the_seed_alone(blob: NDArray[np.bool_]) -> None:
    assert first_click(blob, np.random.default_rng(3)) == first_click(blob.copy(), np.random.default_rng(3))


def test_larger_miss_gets_a_positive_click() -> None:
    target, prediction = _box((2, 10), (2, 10), (2, 10)), _box((2, 5), (2, 11), (2, 10))
    click = next_click(prediction, target, np.random.default_rng(0))
    assert click is not None and click.positive
    assert target[_at(click)] and not prediction[_at(click)]


def test_larger_excess_gets_a_negative_click() -> None:
    target, prediction = _box((2, 10), (2, 10), (2, 10)), _box((3, 18), (2, 10), (2, 10))
    click = next_click(prediction, target, np.random.default_rng(0))
    assert click is not None and not click.positive
    assert prediction[_at(click)] and not target[_at(click)]


def test_nobody_clicks_where_the_truth_is_unknown() -> None:
    target, prediction = _box((2, 10), (2, 10), (2, 10)), _box((3, 18), (2, 10), (2, 10))
    known = ~_box((10, 20), (0, 18), (0, 16))
    click = next_click(prediction, target, np.random.default_rng(0), known)
    assert click is not None and click.positive
    assert _at(click)[0] == 2


def test_right_mask_needs_no_click(blob: NDArray[np.bool_]) -> None:
    assert next_click(blob, blob, np.random.default_rng(0)) is None


def test_component_at_a_click_is_what_touches_it_even_by_a_corner() -> None:
    first, corner, apart = (
        _box((2, 4), (2, 4), (2, 4)),
        _box((4, 6), (4, 6), (4, 6)),
        _box((10, 12), (2, 4), (2, 4)),
    )
    found = component_at(first | corner | apart, Click(position=(2.4, 3.0, 2.6)))
    np.testing.assert_array_equal(found, first | corner)


def test_component_at_a_click_beside_the_mask_is_empty(blob: NDArray[np.bool_]) -> None:
    assert not component_at(blob, Click(position=(0.0, 0.0, 0.0))).any()


@pytest.mark.parametrize(("gap", "cell", "joined"), [(1, 1, False), (1, 2, True), (3, 4, True), (5, 4, False)])
def test_parts_less_than_a_cell_apart_hang_together(gap: int, cell: int, joined: bool) -> None:
    part, other = _box((0, 4), (2, 9), (3, 9)), _box((4 + gap, 18), (2, 9), (3, 9))
    kept = connected_to(part | other, [Click(position=(1.0, 4.0, 5.0))], cell=cell)
    np.testing.assert_array_equal(kept, part | other if joined else part)


def test_only_positive_clicks_on_a_mask_keep_parts_of_it() -> None:
    part, other = _box((0, 4), (2, 9), (3, 9)), _box((10, 18), (2, 9), (3, 9))
    here, there = (1.0, 4.0, 5.0), (12.0, 4.0, 5.0)
    clicks = [Click(position=here), Click(position=there, positive=False), Click(position=(-3.0, 4.0, 5.0))]
    np.testing.assert_array_equal(connected_to(part | other, clicks, cell=2), part)
    clicks = [Click(position=here), Click(position=there)]
    np.testing.assert_array_equal(connected_to(part | other, clicks, cell=2), part | other)


def test_where_no_click_lies_on_a_mask_it_stays_as_it_is() -> None:
    part, other = _box((0, 4), (2, 9), (3, 9)), _box((10, 18), (2, 9), (3, 9))
    np.testing.assert_array_equal(connected_to(part | other, [Click(position=(7.0, 4.0, 5.0))], cell=1), part | other)


def test_components_come_from_large_to_small() -> None:
    mask = np.zeros((9, 5, 5), dtype=np.bool_)
    mask[0:2, :2, :2] = True
    mask[4:8, :3, :3] = True
    components, numbers = component_masks(mask)
    assert [int((components == number).sum()) for number in numbers] == [36, 8]


@pytest.mark.parametrize(
    ("voxels", "clicked"), [pytest.param(9, False, id="few"), pytest.param(10, True, id="small lesion")]
)
def test_nobody_clicks_on_a_speck(voxels: int, clicked: bool) -> None:
    mask = np.zeros((30, 12, 12), dtype=np.bool_)
    mask[:16, :, :] = True
    mask[18 : 18 + voxels, 5, 5] = True
    clicks = component_clicks(mask, np.random.default_rng(0))
    assert [_at(click)[0] >= 18 for click in clicks] == ([False, True] if clicked else [False])


def test_few_voxels_are_a_component_where_the_class_has_no_more() -> None:
    mask = np.zeros((9, 9, 9), dtype=np.bool_)
    mask[0, 0, :6] = mask[4, 4, 4] = True
    assert len(component_masks(mask)[1]) == 2
