import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

import sammoe_pipeline
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.image_io import Volume, to_simpleitk
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import Routing
from sammoe_pipeline.inference.session import Session
from tests.inference.conftest import (
    DATASET,
    IN_LEFT,
    IN_RIGHT,
    LEFT,
    RIGHT,
    SHAPE,
    BrightThing,
    MakeMixture,
    member,
    predict,
    read_labels,
    write_image,
    write_prompts,
)

BRIGHT = np.where(LEFT | RIGHT, 10.0, 1.0).astype(np.float32)
AT_LEFT, AT_RIGHT = (5.0, 6.0, 5.0), (22.0, 6.0, 5.0)
FLIPPED = np.array([[0, -1.0, 0, 20], [-1.0, 0, 0, 30], [0, 0, 1.0, -5], [0, 0, 0, 1]])


@pytest.fixture
def session(make_mixture: MakeMixture) -> Session:
    """Two bright boxes in an array whose axes are not those of RAS, and a mixture of two classes."""
    mixture = make_mixture([member({"left": 1, "right": 2})], served={"left": 1.0})
    return mixture.open(BRIGHT, affine=FLIPPED)


def test_click_in_voxels_of_the_array_gives_a_mask_on_its_grid(session: Session) -> None:
    session.click(AT_LEFT)
    np.testing.assert_array_equal(session.mask(), LEFT)


@pytest.mark.parametrize(("frame", "signs"), [("RAS", (1, 1, 1)), ("LPS", (-1, -1, 1))])
def test_click_in_millimetres_means_the_same(session: Session, frame: str, signs: tuple[int, ...]) -> None:
    x, y, z = (FLIPPED @ (*AT_RIGHT, 1.0))[:3] * signs
    session.click((x, y, z), frame=frame)  # type: ignore[arg-type]
    np.testing.assert_array_equal(session.mask(), RIGHT)


def test_undo_takes_the_last_click_back(session: Session) -> None:
    session.click(AT_LEFT)
    session.click(AT_RIGHT)
    assert (session.mask() & RIGHT).any()
    session.undo()
    np.testing.assert_array_equal(session.mask(), LEFT)


def test_undo_without_clicks_is_an_error(session: Session) -> None:
    session.click(AT_LEFT)
    session.undo()
    with pytest.raises(UsageError, match="no click or box to take back"):
        session.undo()


def test_mask_is_empty_until_a_positive_click_is_made(session: Session) -> None:
    session.click(AT_RIGHT, positive=False)
    assert not session.mask().any() and session.routing() is None
    session.click(AT_LEFT)
    np.testing.assert_array_equal(session.mask(), LEFT)


def test_targets_are_kept_apart(session: Session) -> None:
    session.click(AT_LEFT, target="left")
    session.click(AT_RIGHT, target="target_2")
    np.testing.assert_array_equal(session.mask("left"), LEFT)
    np.testing.assert_array_equal(session.mask("target_2"), RIGHT)


def test_class_is_answered_by_its_expert_and_a_thing_without_one_by_any(session: Session) -> None:
    session.click(AT_LEFT, target="right")
    session.click(AT_LEFT, target="left")
    general, own = session.routing("right"), session.routing("left")
    assert general is not None and general.label == "general"
    assert own is not None and own.label == f"{DATASET}/left"


def test_gate_is_asked_anew_by_each_click_and_once_for_what_stands(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    route = Mixture.route

    def counted(self: Mixture, case: EncodedCase, clicks: Sequence[Click], **named: Any) -> Routing:
        asked.append(len(clicks))
        return route(self, case, clicks, **named)

    monkeypatch.setattr(Mixture, "route", counted)
    session.click(AT_LEFT, target="left")
    session.mask("left")
    session.click((6.0, 6.0, 5.0), target="left")
    session.mask("left")
    session.routing("left")
    assert asked == [1, 2]


def test_unknown_class_is_refused_with_the_nearest_name(session: Session) -> None:
    with pytest.raises(UsageError, match="Did you mean 'left'"):
        session.click(AT_LEFT, target="lefft")


def test_click_outside_the_image_is_refused(session: Session) -> None:
    with pytest.raises(UsageError, match="lies outside the image"):
        session.click((float(SHAPE[0]), 0.0, 0.0))


def test_a_click_more_encodes_nothing_anew_and_adds_one_decoding(
    make_mixture: MakeMixture, bright_thing: BrightThing
) -> None:
    session = make_mixture().open(BRIGHT[:16, :, :].copy(), spacing_mm=(1.0, 1.0, 1.0))
    session.click(AT_LEFT)
    session.mask()
    encoded, decoded = bright_thing.encoded, len(bright_thing.prompts)
    session.click((6.0, 6.0, 5.0))
    session.mask()
    assert (bright_thing.encoded, len(bright_thing.prompts)) == (encoded, decoded + 1)
    session.undo()
    session.mask()
    assert (bright_thing.encoded, len(bright_thing.prompts)) == (encoded, decoded + 1)


def test_session_answers_as_the_command_does(make_mixture: MakeMixture, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.nii.gz", LEFT | RIGHT, FLIPPED)
    mixture = make_mixture([member({"left": 1})], served={"left": 1.0})
    predict(mixture, tmp_path, prompts=write_prompts(tmp_path, ("left", IN_LEFT), (None, IN_RIGHT)))
    session = mixture.open(nibabel.load(tmp_path / "in" / "a.nii.gz"))
    session.click(AT_LEFT, target="left")
    session.click(AT_RIGHT, target="target_2")
    made = 1 * np.asanyarray(session.mask("left").dataobj) + 2 * np.asanyarray(session.mask("target_2").dataobj)
    np.testing.assert_array_equal(made, read_labels(tmp_path))


def test_channels_are_given_as_a_list(make_mixture: MakeMixture) -> None:
    entry = member({"second": 1})
    second = entry.configurations["second"].model_copy(update={"channel": 1})
    mixture = make_mixture([entry.model_copy(update={"configurations": {"second": second}})])
    images = [np.where(mask, 10.0, 1.0).astype(np.float32) for mask in (LEFT, RIGHT)]
    session = mixture.open([to_simpleitk(Volume(data=image, affine=FLIPPED)) for image in images])
    session.click(AT_RIGHT, target="second")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(session.mask("second")).T, RIGHT)


def test_mixture_is_found_as_the_commands_find_it(
    nano_foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("sammoe_results", str(tmp_path))
    mixture = sammoe_pipeline.Mixture.load_or_general(foundation=str(nano_foundation.folder), device="cpu")
    assert mixture.card is None and mixture.foundation.card == nano_foundation.card
    with pytest.raises(UsageError, match="no such mixture"):
        sammoe_pipeline.Mixture.load(foundation=str(nano_foundation.folder), device="cpu")


def test_package_is_light_until_the_mixture_is_asked_for() -> None:
    code = "import sys, sammoe_pipeline; assert not {'torch', 'numpy', 'SimpleITK'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="Mixtur"):
        _ = sammoe_pipeline.Mixtur  # type: ignore[attr-defined]


def test_box_limits_the_mask_and_stands_for_a_click_in_its_middle(session: Session) -> None:
    session.box((3, 4, 3), (8, 8, 5))
    expected = LEFT.copy()
    expected[:, :, 6:] = False
    np.testing.assert_array_equal(session.mask(), expected)
    session.box((2, 3, 2), (10, 10, 9))
    np.testing.assert_array_equal(session.mask(), LEFT)
    session.undo()
    np.testing.assert_array_equal(session.mask(), expected)


def test_click_in_a_box_says_what_is_meant(session: Session) -> None:
    session.box((1, 1, 1), (28, 12, 10))
    session.click(AT_RIGHT)
    np.testing.assert_array_equal(session.mask(), RIGHT)


def test_flat_box_is_an_error(session: Session) -> None:
    with pytest.raises(UsageError, match=r"target 'target_1': its box .* is flat"):
        session.box((1.0, 1.0, 1.0), (1.0, 5.0, 5.0), frame="RAS")
