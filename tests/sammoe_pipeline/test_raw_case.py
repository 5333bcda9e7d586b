import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.raw_case import RawLabelledCase
from tests.conftest import MakeWorkspace, Workspace


@pytest.fixture(scope="module")
def case(workspace: Workspace) -> RawLabelledCase:
    """Case 0 of the boxes; its file runs against the canonical x and y axes."""
    return RawLabelledCase.read(workspace.planned, workspace.raw, "case_0")


def test_image_and_truth_lie_on_the_same_canonical_grid(
    case: RawLabelledCase, boxes: dict[str, NDArray[np.uint8]]
) -> None:
    np.testing.assert_array_equal(case.labels, boxes["case_0"][::-1, ::-1])
    image = case.image.orientation.to_canonical(case.image.channels[0].data)
    assert image[case.truth("far")].mean() == pytest.approx(100, abs=2)
    assert image[case.truth("near")].mean() == pytest.approx(50, abs=2)


def test_class_that_is_one_target_gets_one_click_and_means_all_of_it(case: RawLabelledCase) -> None:
    clicks = case.clicks("near", np.random.default_rng(0))
    assert len(clicks) == 1
    np.testing.assert_array_equal(case.target("near", clicks[0]), case.truth("near"))


def test_every_component_gets_a_click_that_means_it_alone(case: RawLabelledCase) -> None:
    clicks = case.clicks("far", np.random.default_rng(0))
    targets = [case.target("far", click) for click in clicks]
    assert len(clicks) == 2
    assert targets[0].sum() > targets[1].sum()
    assert not (targets[0] & targets[1]).any()
    np.testing.assert_array_equal(targets[0] | targets[1], case.truth("far"))


def test_of_many_components_the_largest_five_are_clicked_on(make_workspace: MakeWorkspace) -> None:
    label = np.zeros((24, 8, 8), dtype=np.uint8)
    for index in range(7):
        label[3 * index : 3 * index + 2, 2:4, 1 : 2 + index] = 1
    made = make_workspace({"a": label}, {"spots": 1}, components=["spots"])
    read = RawLabelledCase.read(made.planned, made.raw, "a")
    sizes = [int(read.target("spots", click).sum()) for click in read.clicks("spots", np.random.default_rng(0))]
    assert sizes == [28, 24, 20, 16, 12]


def test_class_that_the_case_lacks_gets_no_click(make_workspace: MakeWorkspace) -> None:
    label = np.zeros((10, 10, 10), dtype=np.uint8)
    label[2:5, 2:5, 2:5] = 1
    made = make_workspace({"a": label}, {"here": 1, "absent": 2, "spots": 3}, components=["spots"])
    read = RawLabelledCase.read(made.planned, made.raw, "a")
    assert [read.clicks(name, np.random.default_rng(0)) for name in ("absent", "spots")] == [[], []]


def test_region_is_the_union_of_its_values_and_ignored_voxels_are_unknown(make_workspace: MakeWorkspace) -> None:
    label = np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 4, 1).repeat(4, axis=2)
    labels = {"whole": [1, 2], "core": 2, "ignore": 3}
    made = make_workspace({"a": label}, labels, regions_class_order=[1, 2])
    read = RawLabelledCase.read(made.planned, made.raw, "a")
    np.testing.assert_array_equal(read.truth("whole"), np.isin(read.labels, [1, 2]))
    np.testing.assert_array_equal(read.valid, read.labels != 3)


def test_click_beside_a_component_means_nothing(case: RawLabelledCase) -> None:
    assert not case.target("far", Click(position=(0.0, 0.0, 0.0))).any()


def test_case_that_left_the_raw_dataset_is_named(workspace: Workspace) -> None:
    with pytest.raises(ArtefactError, match="case_9"):
        RawLabelledCase.read(workspace.planned, workspace.raw, "case_9")
