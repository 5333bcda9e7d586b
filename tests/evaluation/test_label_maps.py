from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.evaluation.label_maps import CaseJob, CaseResult, Classes, LabelMap, score_case
from sammoe_pipeline.evaluation.surface import BOTH_EMPTY, diagonal, score_masks
from sammoe_pipeline.image_io import Volume, write_volume

SPACING_MM = (0.5, 1.0, 3.0)
SHAPE = (20, 18, 16)


def write(path: Path, data: NDArray[np.generic]) -> Path:
    write_volume(path, Volume(data=data, affine=np.diag([*SPACING_MM, 1.0])))
    return path


def blocks(shift: int, *values: int) -> NDArray[np.uint8]:
    """A block for each value, side by side along x."""
    data = np.zeros(SHAPE, dtype=np.uint8)
    for index, value in enumerate(values):
        data[4 * index + 1 : 4 * index + 4, 3 + shift : 10 + shift, 4:9] = value
    return data


def judged(
    folder: Path,
    prediction: NDArray[np.generic],
    reference: NDArray[np.generic],
    classes: Classes,
    class_tolerances_mm: dict[str, float] | None = None,
) -> CaseResult:
    files = {"a": write(folder / "a.nii.gz", prediction)}
    return score_case(
        CaseJob(write(folder / "reference.nii.gz", reference), files, classes, 1.0, class_tolerances_mm or {})
    )


def test_boxes_change_no_score(tmp_path: Path) -> None:
    prediction, reference = blocks(0, 1, 2, 7), blocks(2, 1, 2, 7)
    classes = Classes(values={"one": (1,), "two": (2,), "both": (1, 7), "absent": (9,)})
    scores = judged(tmp_path, prediction, reference, classes).scores["a"]
    for name, values in (("one", [1]), ("both", [1, 7])):
        whole = score_masks(
            np.isin(prediction, values),
            np.isin(reference, values),
            spacing_mm=SPACING_MM,
            tolerance_mm=1.0,
            diagonal_mm=diagonal(SHAPE, SPACING_MM),
        )
        assert scores[name] == whole
    assert scores["absent"] == BOTH_EMPTY


def test_without_names_every_value_is_a_class(tmp_path: Path) -> None:
    scores = judged(tmp_path, blocks(0, 1, 44), blocks(0, 1, 5), Classes()).scores["a"]
    assert {name: found.empty for name, found in scores.items()} == {
        "1": "neither",
        "5": "prediction",
        "44": "reference",
    }


def test_ignored_voxels_are_judged_on_neither_side(tmp_path: Path) -> None:
    reference = blocks(0, 1, 9)
    prediction = blocks(0, 1, 1)
    scores = judged(tmp_path, prediction, reference, Classes(values={"one": (1,)}, ignore=9)).scores["a"]
    assert scores["one"].dice == 1
    assert scores["one"].hd95_mm == 0


def test_a_class_can_have_a_tolerance_of_its_own(tmp_path: Path) -> None:
    names = Classes(values={"strict": (1,), "lenient": (2,)})
    scores = judged(tmp_path, blocks(0, 1, 2), blocks(2, 1, 2), names, {"lenient": 2.0}).scores["a"]
    assert scores["lenient"].surface_dice == 1
    assert scores["strict"].surface_dice is not None
    assert scores["strict"].surface_dice < 1


def test_values_without_a_name_are_faults_of_their_file(tmp_path: Path) -> None:
    result = judged(tmp_path, blocks(0, 1, 4, 9), blocks(0, 1, 5, 9), Classes(values={"one": (1,)}, ignore=9))
    assert result.scores == {}
    assert [fault.split(" has values that --labels does not name: ")[1].split(".")[0] for fault in result.faults] == [
        "5",
        "4, 9",
    ]


def test_the_other_predictions_are_still_read_after_a_fault(tmp_path: Path) -> None:
    bad, worse = tmp_path / "bad.nii.gz", tmp_path / "worse.nii.gz"
    bad.write_bytes(b"nothing")
    write(worse, blocks(0, 1) / np.float32(2))
    job = CaseJob(write(tmp_path / "r.nii.gz", blocks(0, 1)), {"a": bad, "b": worse}, Classes(), 1.0, {})
    faults = score_case(job).faults
    assert [str(path) in fault for path, fault in zip((bad, worse), faults, strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "no whole numbers"), (-1.0, "from -1 to 0"), (70000.0, "from 0 to 70000")]
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, value: float, words: str) -> None:
    data = np.zeros(SHAPE, dtype=np.float32)
    data[3, 3, 3] = value
    with pytest.raises(UnreadableFileError, match=words):
        LabelMap.read(write(tmp_path / "map.nii.gz", data))


def test_floats_that_are_whole_numbers_are_labels(tmp_path: Path) -> None:
    label_map = LabelMap.read(write(tmp_path / "map.nii.gz", blocks(0, 1, 3).astype(np.float32)))
    assert set(label_map.boxes) == {1, 3}
    assert label_map.boxes[1] == np.s_[1:4, 3:10, 4:9]
