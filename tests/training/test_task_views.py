from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammoe_pipeline.clicks import component_at
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.geometry import crop
from sammoe_pipeline.normalisation import normalise_equalised
from sammoe_pipeline.training.task_views import TaskViews, View
from sammoe_pipeline.training.views import PreparedCase
from tests.conftest import MakeWorkspace, Workspace

SIZE = 16


def _views(workspace: Workspace, classes: Sequence[str] = ("near", "far"), **changes: Any) -> TaskViews:
    settings = {
        "cases": workspace.planned.fold(0).train,
        "configuration": workspace.foundation.native,
        "normalisation": "equalised",
        "seed": (0, 1),
    }
    return TaskViews(workspace.planned, classes=classes, **{**settings, **changes})


def _at(view: View) -> tuple[int, ...]:
    return tuple(int(value) for value in view.click.position)


@pytest.fixture(scope="module")
def drawn(workspace: Workspace) -> list[View]:
    """Eighty training views of two classes."""
    views = _views(workspace)
    return [views.training_view(index) for index in range(80)]


def test_classes_are_drawn_evenly_whatever_their_size(drawn: list[View]) -> None:
    counts = Counter(view.class_name for view in drawn)
    assert set(counts) == {"near", "far"}
    assert abs(counts["near"] - counts["far"]) <= 24


def test_every_click_lies_in_its_target_within_the_image(drawn: list[View]) -> None:
    assert all(view.target[_at(view)] and view.valid[_at(view)] for view in drawn)


def test_click_lies_in_the_middle_as_in_prediction_where_the_target_does(drawn: list[View]) -> None:
    middle = (SIZE // 2,) * 3
    in_middle = [bool(view.target[middle]) for view in drawn]
    assert in_middle == [_at(view) == middle for view in drawn]
    assert any(in_middle) and not all(in_middle)


def test_views_are_centred_well_inside_their_target(make_workspace: MakeWorkspace) -> None:
    label = np.zeros((20, 20, 20), dtype=np.uint8)
    label[5:14, 5:14, 5:14] = 1
    made = make_workspace({"a": label}, {"thing": 1})
    for view in _views(made, ["thing"], cases=["a"]).plain_views(per_target=8, limit=8):
        # The deepest voxel of a block of nine lies five deep.
        deep = torch.nn.functional.max_pool3d((~view.target)[None, None].float(), 5, stride=1, padding=2)[0, 0] == 0
        assert deep[_at(view)]


def test_view_depends_on_its_number_alone(workspace: Workspace, drawn: list[View]) -> None:
    again = _views(workspace)
    for index in (41, 7):
        view = again.training_view(index)
        assert torch.equal(view.image, drawn[index].image)
        assert torch.equal(view.target, drawn[index].target)
        assert view.click == drawn[index].click
    assert not torch.equal(drawn[7].image, drawn[8].image)


def test_unknown_voxels_are_exactly_those_outside_and_ignored(make_workspace: MakeWorkspace) -> None:
    label = np.zeros((14, 14, 14), dtype=np.uint8)
    label[5:9, 5:9, 5:9], label[9:, :, :] = 1, 3
    made = make_workspace({"a": label}, {"thing": 1, "ignore": 3})
    (view,) = _views(made, ["thing"], cases=["a"]).plain_views(per_target=1, limit=1)
    # The view is larger than the image: what is known of it has the shape of the image less the ignored slabs.
    known = torch.nonzero(view.valid)
    sides = (known.max(dim=0).values - known.min(dim=0).values + 1).tolist()
    assert view.valid.sum() == np.prod(sides)
    x, y, z = (SIZE // 2 - place for place in _location(made, "a", view))
    expected = torch.zeros(SIZE, SIZE, SIZE, dtype=torch.bool)
    # Canonical axes run against the file's x: ignored slabs come first.
    inside = [slice(max(0, first), first + 14) for first in (x, y, z)]
    expected[max(0, x + 5) : x + 14, inside[1], inside[2]] = True
    assert torch.equal(view.valid, expected)


def _location(workspace: Workspace, case: str, view: View) -> tuple[int, int, int]:
    """Finds the voxel of a case that a plain view is centred on, by its image."""
    prepared = PreparedCase.of(workspace.planned.paths, "native", case)
    image = torch.from_numpy(np.asarray(prepared.image[:]))
    labels = np.asarray(prepared.segmentation[:])
    values = workspace.planned.description.labels[view.class_name]
    for x, y, z in np.argwhere(np.isin(labels, values)).tolist():
        start = (x - SIZE // 2, y - SIZE // 2, z - SIZE // 2)
        if torch.allclose(normalise_equalised(crop(image, start, SIZE, pad_value=torch.nan)), view.image, atol=1e-2):
            return x, y, z
    raise AssertionError("no location of the class is in the middle of the view")


def test_plain_views_are_windows_as_prediction_cuts_them(workspace: Workspace) -> None:
    for view in _views(workspace, cases=["case_2"]).plain_views(per_target=2, limit=99):
        assert _at(view) == (SIZE // 2,) * 3
        x, y, z = _location(workspace, "case_2", view)
        prepared = PreparedCase.of(workspace.planned.paths, "native", "case_2")
        labels = torch.from_numpy(np.asarray(prepared.segmentation[:]))
        window = crop(labels, (x - SIZE // 2, y - SIZE // 2, z - SIZE // 2), SIZE)
        value = {"near": 1, "far": 2}[view.class_name]
        expected = component_at((window == value).numpy(), view.click)
        np.testing.assert_array_equal(view.target.numpy(), expected)


def test_plain_views_are_counted_a_class_and_case_and_limited(workspace: Workspace) -> None:
    views = _views(workspace, cases=["case_0", "case_1"])
    assert Counter(view.class_name for view in views.plain_views(per_target=3, limit=99)) == {"near": 6, "far": 6}
    assert len(views.plain_views(per_target=3, limit=5)) == 5


def test_target_is_the_whole_class_or_the_component_that_was_clicked_on(workspace: Workspace) -> None:
    for view in _views(workspace).plain_views(per_target=4, limit=99):
        np.testing.assert_array_equal(component_at(view.target.numpy(), view.click), view.target.numpy())
    whole = _whole(workspace)
    two_parts = [v for v in _views(whole, ["far"]).plain_views(per_target=8, limit=99) if _parts(v) == 2]
    assert two_parts


def _whole(workspace: Workspace) -> Workspace:
    plan = workspace.planned.plan
    far = plan.classes["far"].model_copy(update={"target": "class"})
    plan = plan.model_copy(update={"classes": {**plan.classes, "far": far}})
    return Workspace(
        workspace.folders,
        workspace.foundation,
        type(workspace.planned)(workspace.planned.paths, plan, workspace.planned.splits, workspace.planned.description),
        workspace.raw,
    )


def _parts(view: View) -> int:
    rest, parts = view.target.numpy().copy(), 0
    while rest.any():
        x, y, z = np.argwhere(rest)[0]
        click = type(view.click)(position=(float(x), float(y), float(z)))
        rest &= ~component_at(rest, click)
        parts += 1
    return parts


@pytest.fixture
def with_absent_class(make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]) -> Workspace:
    """One case of boxes, of which a third class is named and never seen."""
    return make_workspace({"a": boxes["case_0"]}, {"near": 1, "far": 2, "absent": 3})


def test_class_that_no_case_has_is_listed_and_never_drawn(with_absent_class: Workspace) -> None:
    views = _views(with_absent_class, ["near", "absent"], cases=["a"])
    assert views.missing == ("absent",)
    assert {views.training_view(index).class_name for index in range(10)} == {"near"}


def test_nothing_to_learn_is_an_error(with_absent_class: Workspace) -> None:
    with pytest.raises(TrainingError, match=r"none of 1 cases has any of absent in configuration 'native'"):
        _views(with_absent_class, ["absent"], cases=["a"])


def test_target_that_no_view_shows_is_an_error_and_no_endless_search(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = _views(workspace)
    monkeypatch.setattr(views, "_view", lambda *_, **__: None)
    with pytest.raises(TrainingError, match="100 draws"):
        views.training_view(0)


def test_prompts_beside_the_structure_keep_away_from_it_and_expect_nothing(make_workspace: MakeWorkspace) -> None:
    label = np.zeros((40, 40, 40), dtype=np.uint8)
    label[3:7, 3:7, 3:7] = 1
    made = make_workspace({"a": label, "b": np.zeros_like(label)}, {"thing": 1})
    views = _views(made, ["thing"], cases=["a", "b"], negatives=0.5)
    drawn = [views.training_view(index) for index in range(40)]
    beside = [view for view in drawn if not view.target.any()]
    assert 12 <= len(beside) <= 28
    assert all(_at(view) == (SIZE // 2,) * 3 and view.valid[_at(view)] for view in beside)
    assert {draw.case.properties.case for i in range(40) for draw in views.draws(i) if draw.beside} == {"a", "b"}


def test_view_of_a_case_is_the_same_in_every_fold(workspace: Workspace) -> None:
    one = _views(workspace, cases=["case_0", "case_1"])
    other = _views(workspace, cases=["case_1", "case_2"], seed=(5, 1))
    known = {
        (d.case.properties.case, d.class_name, d.number): one.view(d) for d in (next(one.draws(i)) for i in range(8))
    }
    shared = 0
    for draw in (next(other.draws(index)) for index in range(8)):
        view = known.get((draw.case.properties.case, draw.class_name, draw.number))
        if view is not None:
            again = other.view(draw)
            assert again is not None and torch.equal(view.image, again.image)
            shared += 1
    assert shared == 4
