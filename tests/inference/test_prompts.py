import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.image_io import Volume, write_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.prompts import Target, read_prompts
from sammoe_pipeline.inference.segment import Answer

SHAPE = (12, 10, 8)
VOXEL = (9.0, 2.0, 5.0)


def _oblique() -> NDArray[np.float64]:
    a, b = 0.4, -0.3
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = first @ second @ np.diag([-1.0, 1.5, 2.0])
    affine[:3, 3] = (12, -30, 4)
    return affine


AFFINES = {
    "RAS": np.diag([1.0, 1.5, 2.0, 1.0]),
    "LPS": np.array([[-1.0, 0, 0, 7], [0, -1.5, 0, 9], [0, 0, 2.0, -3], [0, 0, 0, 1]]),
    "permuted": np.array([[0, 0, 2.0, 7], [-1.0, 0, 0, 9], [0, 1.5, 0, -3], [0, 0, 0, 1]]),
    "oblique": _oblique(),
}


def _image(affine: NDArray[np.float64]) -> CaseImage:
    """An image that is bright at `VOXEL` of the file."""
    data = np.zeros(SHAPE, dtype=np.float32)
    data[tuple(int(v) for v in VOXEL)] = 1
    return CaseImage([Volume(data=data, affine=affine)])


def _write(folder: Path, content: Any, name: str = "case.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _in_frame(frame: str, affine: NDArray[np.float64]) -> list[float]:
    if frame == "voxel":
        return list(VOXEL)
    x, y, z, _ = affine @ (*VOXEL, 1.0)
    return [float(x), float(y), float(z)] if frame == "RAS" else [-float(x), -float(y), float(z)]


def _brightest(image: CaseImage) -> NDArray[np.int64]:
    canonical = image.orientation.to_canonical(image.channels[0].data)
    return np.array(np.unravel_index(int(canonical.argmax()), canonical.shape))


@pytest.mark.parametrize("frame", ["RAS", "LPS", "voxel"])
@pytest.mark.parametrize("grid", AFFINES)
def test_every_frame_lands_in_the_same_voxel(tmp_path: Path, grid: str, frame: str) -> None:
    image = _image(AFFINES[grid])
    click = {"position": _in_frame(frame, AFFINES[grid])}
    (target,) = read_prompts(_write(tmp_path, {"frame": frame, "targets": [{"clicks": [click]}]}), image)
    np.testing.assert_allclose(target.prompt.clicks[0].position, _brightest(image), atol=1e-6)


@pytest.mark.parametrize("frame", ["RAS", "LPS", None])
def test_slicers_markups_land_in_the_same_voxel(tmp_path: Path, frame: str | None) -> None:
    affine = AFFINES["oblique"]
    markup = {"type": "Fiducial", "controlPoints": [{"position": _in_frame(frame or "LPS", affine)}]}
    if frame is not None:
        markup["coordinateSystem"] = frame
    image = _image(affine)
    (target,) = read_prompts(_write(tmp_path, {"markups": [markup]}, "case.mrk.json"), image)
    np.testing.assert_allclose(target.prompt.clicks[0].position, _brightest(image), atol=1e-6)


def _slicer(*labels: str, **markup: Any) -> dict[str, Any]:
    points = [{"label": label, "position": [5.0, 6.0, 6.0], "description": ""} for label in labels]
    return {"markups": [{"coordinateSystem": "RAS", "controlPoints": points, **markup}]}


def test_point_described_as_negative_is_a_negative_click(tmp_path: Path) -> None:
    content = _slicer("liver-1", "liver-2")
    content["markups"][0]["controlPoints"][0]["description"] = "Negative "
    (target,) = read_prompts(_write(tmp_path, content, "case.mrk.json"), _image(AFFINES["RAS"]))
    assert [click.positive for click in target.prompt.clicks] == [True, False]


@pytest.mark.parametrize(
    ("content", "class_name"),
    [
        (_slicer("left-kidney-1", "left-kidney-2"), "left-kidney"),
        (_slicer("liver"), "liver"),
        (_slicer("F-1", name="liver"), "liver"),
        (_slicer("F-1"), None),
        (_slicer("F_1-3"), None),
        (_slicer(""), None),
    ],
)
def test_list_of_points_means_the_class_that_it_is_named_for(
    tmp_path: Path, content: dict[str, Any], class_name: str | None
) -> None:
    (target,) = read_prompts(_write(tmp_path, content, "case.mrk.json"), _image(AFFINES["RAS"]))
    assert target.class_name == class_name
    assert target.name == (class_name or "target_1")


def test_lists_in_different_frames_are_refused(tmp_path: Path) -> None:
    content = {"markups": [*_slicer("a-1")["markups"], *_slicer("b-1", coordinateSystem="LPS")["markups"]]}
    with pytest.raises(ArtefactError, match=r"frames \['LPS', 'RAS'\]"):
        read_prompts(_write(tmp_path, content, "case.mrk.json"), _image(AFFINES["RAS"]))


def test_targets_without_a_class_are_numbered(tmp_path: Path) -> None:
    click = {"position": [1, 2, 3]}
    targets = [{"clicks": [click]}, {"class_name": "liver", "clicks": [click]}, {"clicks": [click]}]
    found = read_prompts(_write(tmp_path, {"frame": "voxel", "targets": targets}), _image(AFFINES["RAS"]))
    assert [(t.name, t.class_name) for t in found] == [("target_1", None), ("liver", "liver"), ("target_3", None)]


def test_first_positive_click_comes_first_and_the_others_keep_their_order(tmp_path: Path) -> None:
    clicks = [
        {"position": [1, 1, 1], "positive": False},
        {"position": [2, 2, 2]},
        {"position": [3, 3, 3]},
        {"position": [4, 4, 4], "positive": False},
    ]
    path = _write(tmp_path, {"frame": "voxel", "targets": [{"clicks": clicks}]})
    (target,) = read_prompts(path, _image(AFFINES["RAS"]))
    assert [click.position[0] for click in target.prompt.clicks] == pytest.approx([2, 1, 3, 4])


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    targets = [
        {"class_name": "liver", "clicks": [{"position": [500.0, 0, 0]}]},
        {"class_name": "spleen", "clicks": [{"position": [1, 1, 1], "positive": False}]},
    ]
    path = _write(tmp_path, {"frame": "RAS", "targets": targets})
    with pytest.raises(ArtefactError) as error:
        read_prompts(path, _image(AFFINES["RAS"]))
    message = str(error.value)
    assert str(path) in message
    assert "liver: click [500.0, 0.0, 0.0] (RAS) lies outside the image. Check the frame" in message
    assert "spleen: it has no positive click" in message


def test_outermost_voxels_are_inside_up_to_their_faces(tmp_path: Path) -> None:
    image, wrong = _image(AFFINES["RAS"]), [11.6, 0.0, 0.0]
    read_prompts(
        _write(tmp_path, {"frame": "voxel", "targets": [{"clicks": [{"position": [11.4, -0.4, 0.0]}]}]}), image
    )
    with pytest.raises(ArtefactError, match="outside"):
        read_prompts(_write(tmp_path, {"frame": "voxel", "targets": [{"clicks": [{"position": wrong}]}]}), image)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("case.json", "{", "cannot be read as JSON"),
        ("case.json", {"frame": "IJK", "targets": [{"clicks": [{"position": [1, 1, 1]}]}]}, "frame"),
        ("case.json", {"targets": [{"clicks": [{"position": [1, 1, 1]}]}]}, "frame"),
        ("case.json", {"frame": "RAS", "targets": []}, "targets"),
        ("case.json", {"frame": "RAS", "targets": [{"clicks": []}]}, "clicks"),
        ("case.json", {"frame": "RAS", "targets": [{"clicks": [{"position": [1, 1]}]}]}, "position"),
        ("case.json", {"frame": "RAS", "targets": [{"clicks": [{"position": [1, 1, 1]}], "klass": "a"}]}, "klass"),
        ("case.mrk.json", {"points": []}, "markups"),
        ("case.mrk.json", {"markups": []}, "frames"),
        ("case.mrk.json", _slicer("a-1", coordinateSystem="IJK"), "IJK"),
        ("case.mrk.json", {"markups": [{"controlPoints": [{"label": "F-1"}]}]}, "position"),
        ("case.mrk.json", {"markups": [{"controlPoints": [{"position": ["a", "b", "c"]}]}]}, "is not a prompt file"),
        ("case.mrk.json", [], "is not a prompt file"),
    ],
)
def test_file_that_breaks_the_format_is_refused_by_name(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = _write(tmp_path, content, name)
    with pytest.raises(ArtefactError, match=message) as error:
        read_prompts(path, _image(AFFINES["RAS"]))
    assert str(path) in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"absent\.json cannot be read"):
        read_prompts(tmp_path / "absent.json", _image(AFFINES["RAS"]))


def _corners(frame: str, affine: NDArray[np.float64]) -> list[list[float]]:
    """The box of voxels 2 to 5, 3 to 4 and 1 to 3, of the file, in a frame along whose axes it runs."""
    if frame == "voxel":
        return [[2, 3, 1], [5, 4, 3]]
    faces = np.array([[1.5, 2.5, 0.5, 1.0], [5.5, 4.5, 3.5, 1.0]]) @ affine.T
    signs = [-1, -1, 1] if frame == "LPS" else [1, 1, 1]
    return (faces[:, :3] * signs).tolist()


def _inside(target: Target, image: CaseImage) -> NDArray[np.bool_]:
    assert target.prompt.region is not None
    answer = Answer(logits=torch.ones(image.shape), start=(0, 0, 0), grid=image.shape, windows=())
    return image.orientation.from_canonical(target.prompt.region.limit(answer).mask())


@pytest.mark.parametrize("frame", ["RAS", "LPS", "voxel"])
@pytest.mark.parametrize("grid", ["RAS", "LPS", "permuted"])
def test_box_limits_the_answer_and_its_middle_is_clicked_on(tmp_path: Path, grid: str, frame: str) -> None:
    image = _image(AFFINES[grid])
    content = {"frame": frame, "targets": [{"box": {"corners": _corners(frame, AFFINES[grid])}}]}
    (target,) = read_prompts(_write(tmp_path, content), image)
    expected = np.zeros(image.channels[0].data.shape, dtype=np.bool_)
    expected[2:6, 3:5, 1:4] = True
    np.testing.assert_array_equal(_inside(target, image), expected)
    x, y, z, _ = AFFINES[grid] @ (3.5, 3.5, 2.0, 1.0)
    np.testing.assert_allclose(target.prompt.clicks[0].position, image.click_from_mm((x, y, z)).position, atol=1e-6)


def test_box_with_a_click_limits_what_is_clicked_on(tmp_path: Path) -> None:
    image = _image(AFFINES["RAS"])
    box = {"corners": [[2, 3, 1], [5, 4, 3]]}
    target = {"box": box, "clicks": [{"position": [4, 4, 1]}, {"position": [2, 3, 1], "positive": False}]}
    (found,) = read_prompts(_write(tmp_path, {"frame": "voxel", "targets": [target]}), image)
    assert [click.positive for click in found.prompt.clicks] == [True, False]
    assert _inside(found, image).sum() == 4 * 2 * 3


@pytest.mark.parametrize("frame", ["RAS", "LPS"])
def test_slicers_box_lies_where_it_was_drawn_whichever_way_it_is_turned(tmp_path: Path, frame: str) -> None:
    affine = AFFINES["oblique"]
    image = _image(affine)
    signs = np.diag([-1.0, -1.0, 1.0]) if frame == "LPS" else np.eye(3)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    markup = {
        "type": "ROI",
        "coordinateSystem": frame,
        "roiType": "Box",
        "center": (signs @ (affine @ (3.5, 3.5, 2.0, 1.0))[:3]).tolist(),
        "orientation": (signs @ axes).ravel().tolist(),
        "size": (np.linalg.norm(affine[:3, :3], axis=0) * (4, 2, 3)).tolist(),
        "insideOut": False,
        "controlPoints": [{"label": "liver-1", "position": [0.0, 0.0, 0.0]}],
    }
    (target,) = read_prompts(_write(tmp_path, {"markups": [markup]}, "case.mrk.json"), image)
    expected = np.zeros(image.channels[0].data.shape, dtype=np.bool_)
    expected[2:6, 3:5, 1:4] = True
    assert target.class_name == "liver"
    np.testing.assert_array_equal(_inside(target, image), expected)


def test_slicers_points_and_box_of_one_name_are_one_target(tmp_path: Path) -> None:
    roi = {"type": "ROI", "coordinateSystem": "RAS", "center": [5, 6, 6], "size": [4, 4, 4], "name": "liver"}
    content = {"markups": [*_slicer("liver-1")["markups"], roi, {**roi, "name": "R"}]}
    liver, other = read_prompts(_write(tmp_path, content, "case.mrk.json"), _image(AFFINES["RAS"]))
    assert (liver.class_name, other.class_name) == ("liver", None)
    assert liver.prompt.region is not None and len(liver.prompt.clicks) == 1


def test_mask_is_clicked_on_well_inside_and_keeps_the_answer_near(tmp_path: Path) -> None:
    image = _image(AFFINES["RAS"])
    labels = np.zeros(image.channels[0].data.shape, dtype=np.uint8)
    labels[3:6, 3:6, 3:6] = 2
    labels[0, 0, 0] = 1
    write_volume(tmp_path / "masks" / "coarse.nii.gz", Volume(data=labels, affine=AFFINES["RAS"]))
    content = {"frame": "RAS", "targets": [{"mask": {"file": "masks/coarse.nii.gz", "value": 2}}]}
    (target,) = read_prompts(_write(tmp_path, content), image)
    (click,) = target.prompt.clicks
    assert click.positive and all(3 <= value <= 5 for value in click.position)
    inside = _inside(target, image)
    assert inside[labels == 2].all() and not inside[0, 0, 0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"box": {"corners": [[1, 1, 1], [3, 3, 1]]}}, "box from .* is flat"),
        ({"box": {"corners": [[500, 1, 1], [503, 3, 4]]}}, "lies outside the image. Check the frame"),
        ({"box": {"corners": [[1, 1, 1], [3, 3, 3]], "axes": [[1, 0, 0], [1, 1, 0], [0, 0, 1]]}}, "right angles"),
        ({}, "needs clicks, a box or a mask"),
        ({"box": {"corners": [[1, 1, 1], [3, 3, 3]]}, "mask": {"file": "a.nii.gz"}}, "a box or a mask, not both"),
        ({"mask": {"file": "../a.nii.gz"}}, "is not in its folder"),
        ({"mask": {"file": "empty.nii.gz"}}, "its mask empty.nii.gz is empty"),
        ({"mask": {"file": "away.nii.gz"}}, "its mask away.nii.gz lies outside the image"),
    ],
)
def test_box_or_mask_that_cannot_be_used_is_refused(tmp_path: Path, target: dict[str, Any], message: str) -> None:
    data = np.zeros((3, 3, 3), dtype=np.uint8)
    write_volume(tmp_path / "empty.nii.gz", Volume(data=data, affine=np.eye(4)))
    away = np.eye(4)
    away[:3, 3] = 900.0
    write_volume(tmp_path / "away.nii.gz", Volume(data=data + 1, affine=away))
    with pytest.raises(ArtefactError, match=message):
        read_prompts(_write(tmp_path, {"frame": "RAS", "targets": [target]}), _image(AFFINES["RAS"]))


def test_slicers_box_that_is_inside_out_is_refused(tmp_path: Path) -> None:
    roi = {"type": "ROI", "center": [5, 6, 6], "size": [4, 4, 4], "insideOut": True}
    with pytest.raises(ArtefactError, match="inside out"):
        read_prompts(_write(tmp_path, {"markups": [roi]}, "case.mrk.json"), _image(AFFINES["RAS"]))


@pytest.mark.parametrize(
    ("corners", "taken"),
    [
        ([[3, 4, 0.5], [9, 12, 2.4]], (slice(3, 10), slice(4, 13), 0)),
        ([[-12, 4, 2.6], [3, 12, 4.9]], (slice(0, 4), slice(4, 13), 1)),
        ([[3, 4, 7.4], [9, 12, 20]], (slice(3, 10), slice(4, 13), 1)),
    ],
    ids=["within", "middle beside the image", "within half a voxel at the end"],
)
def test_box_between_the_middles_of_two_slices_takes_the_nearest(
    tmp_path: Path, corners: list[list[float]], taken: tuple[slice, slice, int]
) -> None:
    image = CaseImage([Volume(data=np.zeros((20, 20, 2), dtype=np.float32), affine=np.diag([1.0, 1.0, 5.0, 1.0]))])
    content = {"frame": "RAS", "targets": [{"box": {"corners": corners}}]}
    (target,) = read_prompts(_write(tmp_path, content), image)
    expected = np.zeros(image.shape, dtype=np.bool_)
    expected[taken] = True
    np.testing.assert_array_equal(_inside(target, image), expected)


@pytest.mark.parametrize("z", [7.6, 500.0])
def test_box_beside_the_image_is_named_in_plain_numbers(tmp_path: Path, z: float) -> None:
    image = CaseImage([Volume(data=np.zeros((20, 20, 2), dtype=np.float32), affine=np.diag([1.0, 1.0, 5.0, 1.0]))])
    content = {"frame": "RAS", "targets": [{"box": {"corners": [[3, 4, z], [9, 12, z + 3]]}}]}
    with pytest.raises(ArtefactError, match=rf"its box from \[3\.0, 4\.0, {z}\] to \[9\.0, 12\.0, {z + 3}\]"):
        read_prompts(_write(tmp_path, content), image)
