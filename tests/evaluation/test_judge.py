from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.errors import ArtefactError, DatasetFaultsError, UsageError
from sammoe_pipeline.evaluation.judge import judge
from sammoe_pipeline.evaluation.judgement import Judgement
from sammoe_pipeline.image_io import Volume, write_volume

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])


def label_map(*, shift: int = 0, length: int = 6, second: int = 2) -> NDArray[np.uint8]:
    data = np.zeros((16, 15, 14), dtype=np.uint8)
    data[2 + shift : 2 + shift + length, 3:9, 4:9] = 1
    data[10:14, 10:14, 2:5] = second
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """References of three cases, and two tools; the second has no prediction of the last case."""
    for index in range(3):
        write(tmp_path / "references" / f"c{index}.nii.gz", label_map())
        write(tmp_path / "first" / f"c{index}.nii.gz", label_map(shift=index))
        if index < 2:
            write(tmp_path / "second" / f"c{index}.mha", label_map(shift=1))
    return tmp_path


def write(path: Path, data: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> None:
    write_volume(path, Volume(data=data, affine=affine))


RunJudge = Callable[..., Judgement]


@pytest.fixture
def run(folder: Path) -> RunJudge:
    """Judges both tools, with most of it filled in."""

    def judged(*tools: str, **changed: Any) -> Judgement:
        usual = {
            "output": folder / "out",
            "labels": None,
            "tolerance_mm": None,
            "class_tolerances_mm": {},
            "workers": 1,
        }
        return judge([folder / tool for tool in tools or ("first", "second")], folder / "references", **usual | changed)

    return judged


def test_tools_are_judged_side_by_side_whatever_their_format(folder: Path, run: RunJudge) -> None:
    found = run()
    assert list(found.predictions) == ["first", "second"]
    assert found.predictions["second"].missing == ("c2",)
    assert found.classes["1"].tools["second"].judged == 2
    assert found.classes["2"].tools["first"].means["dice"].mean == 1
    assert Judgement.load(folder / "out" / "summary.json") == found
    assert len((folder / "out" / "cases.csv").read_text().splitlines()) == 1 + 2 * (3 + 2)


def test_dice_and_iou_are_nnunet_s(folder: Path, run: RunJudge) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    found = run("first").classes["1"].tools["first"].means
    theirs = [
        compute_metrics(
            *(str(folder / part / f"c{index}.nii.gz") for part in ("references", "first")), SimpleITKIO(), [1]
        )
        for index in range(3)
    ]
    for metric, name in (("dice", "Dice"), ("iou", "IoU")):
        mean = np.mean([case["metrics"][1][name] for case in theirs])
        assert found[metric].mean == pytest.approx(mean)  # type: ignore[index]


def test_the_tolerance_is_a_voxel_s_edge_unless_given(run: RunJudge) -> None:
    assert run("first").classes["1"].tolerance_mm == pytest.approx((0.8 * 0.8 * 2.5) ** (1 / 3))
    given = run("first", tolerance_mm=2.0, class_tolerances_mm={"2": 3.0}).classes
    assert (given["1"].tolerance_mm, given["2"].tolerance_mm) == (2.0, 3.0)


def test_intervals_are_over_patients(folder: Path, run: RunJudge) -> None:
    alone = run("first")
    (folder / "patients.json").write_text(json.dumps({"c0": "anna", "c1": "anna"}))
    of_two = run("first")
    assert (alone.patients, of_two.patients) == (3, 2)
    dice = [found.classes["1"].tools["first"].means["dice"] for found in (alone, of_two)]
    assert dice[0].mean == dice[1].mean
    # The best case is never drawn without the other of its patient.
    assert [estimate.interval[1] for estimate in dice if estimate.interval] == pytest.approx([1, (1 + 5 / 6) / 2])


def test_a_named_table_of_patients_counts_in_place_of_the_one_beside_the_references(
    folder: Path, run: RunJudge
) -> None:
    (folder / "patients.json").write_text(json.dumps({"c0": "anna", "c1": "anna"}))
    (folder / "other.json").write_text(json.dumps(dict.fromkeys(["c0", "c1", "c2"], "anna")))
    found = run("first", patients=folder / "other.json")
    assert found.patients == 1
    assert found.classes["1"].tools["first"].means["dice"].interval is None


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), ("[1]", "no JSON object"), ("anna", "not valid JSON")]
)
def test_a_table_of_patients_that_cannot_be_read_is_refused(
    content: str | None, words: str, folder: Path, run: RunJudge
) -> None:
    if content is not None:
        (folder / "given.json").write_text(content)
    with pytest.raises(ArtefactError, match=words):
        run("first", patients=folder / "given.json")
    assert not (folder / "out").exists()


def labels(folder: Path, **names: Any) -> Path:
    path = folder / "dataset.json"
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **names}, "file_ending": ".nii.gz"}
    path.write_text(json.dumps(content))
    return path


def test_labels_name_the_classes(folder: Path, run: RunJudge) -> None:
    assert set(run("first", labels=labels(folder, near=1, far=2, absent=3)).classes) == {"near", "far", "absent"}


def test_every_value_without_a_name_is_reported(folder: Path, run: RunJudge) -> None:
    with pytest.raises(DatasetFaultsError, match=r"does not name: 2") as error:
        run(labels=labels(folder, near=1))
    assert len(error.value.faults) == 8


def test_every_file_off_its_grid_is_reported_and_nothing_written(folder: Path, run: RunJudge) -> None:
    write(folder / "first" / "c0.nii.gz", label_map()[:-1])
    write(folder / "second" / "c1.mha", label_map(), AFFINE * 1.1)
    with pytest.raises(DatasetFaultsError, match="Resample it onto that grid") as error:
        run()
    shape, spacing = error.value.faults
    assert str(folder / "first" / "c0.nii.gz") in shape
    assert "shape 15 x 15 x 14 instead of 16 x 15 x 14" in shape
    assert str(folder / "second" / "c1.mha") in spacing
    assert not (folder / "out").exists()


def test_predictions_without_a_reference_are_named(folder: Path, run: RunJudge) -> None:
    write(folder / "first" / "extra.nii.gz", label_map())
    assert run("first").predictions["first"].without_reference == ("extra",)


def test_folders_of_one_name_are_told_apart_by_their_paths(folder: Path, run: RunJudge) -> None:
    write(folder / "other" / "first" / "c0.nii.gz", label_map())
    assert list(run("first", "other/first").predictions) == [str(folder / "first"), str(folder / "other" / "first")]


def test_what_cannot_be_judged_is_refused_in_words(folder: Path, run: RunJudge) -> None:
    (folder / "empty").mkdir()
    write(folder / "strangers" / "x.nii.gz", label_map())
    write(folder / "first" / "c0.nrrd", label_map())
    for tools, changed, words in (
        (["nowhere"], {}, "is no folder"),
        (["empty"], {}, "holds no label map"),
        (["strangers"], {}, "Name predictions like their references"),
        (["first"], {}, "are of one case"),
        (["second", "second"], {}, "named twice"),
        (["second"], {"output": folder / "second"}, "label maps lie there"),
        (["second"], {"class_tolerances_mm": {"7": 1.0}}, "no class '7'"),
        (["second"], {"class_tolerances_mm": {"ner": 1.0}, "labels": labels(folder, near=1)}, "Did you mean 'near'"),
    ):
        with pytest.raises((UsageError, DatasetFaultsError), match=words):
            run(*tools, **changed)


def test_maps_without_any_label_have_nothing_to_judge(folder: Path, run: RunJudge) -> None:
    for part in ("references", "first"):
        for index in range(3):
            write(folder / part / f"c{index}.nii.gz", np.zeros((4, 4, 4), dtype=np.uint8))
    with pytest.raises(UsageError, match="Nothing can be judged"):
        run("first")
