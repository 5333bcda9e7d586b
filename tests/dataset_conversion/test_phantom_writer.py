from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_conversion.phantoms import SHAPES_LABELS, shapes_case, write_phantoms, writer
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import Volume, read_volume


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "Dataset901_Shapes"
    write_phantoms("shapes", folder, num_cases=3, seed=5, num_test=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_layout_is_that_of_nnunet(dataset: Path) -> None:
    assert list(contents(dataset)) == [
        "dataset.json",
        "imagesTr/shapes_0000_0000.nii.gz",
        "imagesTr/shapes_0001_0000.nii.gz",
        "imagesTr/shapes_0002_0000.nii.gz",
        "imagesTs/shapes_test_0000_0000.nii.gz",
        "labelsTr/shapes_0000.nii.gz",
        "labelsTr/shapes_0001.nii.gz",
        "labelsTr/shapes_0002.nii.gz",
    ]


def test_dataset_json_names_classes_channel_and_recipe(dataset: Path) -> None:
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, **SHAPES_LABELS}
    assert description["channel_names"] == {"0": "MR"}
    assert description["numTraining"] == 3
    assert description["file_ending"] == ".nii.gz"
    assert description["phantoms"] == {"kind": "shapes", "seed": 5}


def test_writing_leaves_the_label_table_alone(dataset: Path) -> None:
    assert "background" not in SHAPES_LABELS


def test_files_hold_the_case_of_their_number(dataset: Path) -> None:
    case = shapes_case(np.random.default_rng([5, 0, 2]))
    image = read_volume(dataset / "imagesTr" / "shapes_0002_0000.nii.gz")
    labels = read_volume(dataset / "labelsTr" / "shapes_0002.nii.gz")
    np.testing.assert_array_equal(image.data, case.image)
    np.testing.assert_array_equal(labels.data, case.labels)
    assert labels.data.dtype == np.uint8
    np.testing.assert_allclose(image.affine, case.affine, atol=1e-4)  # NIfTI stores float32
    np.testing.assert_array_equal(image.affine, labels.affine)


def test_test_cases_are_no_training_cases(dataset: Path) -> None:
    test_image = read_volume(dataset / "imagesTs" / "shapes_test_0000_0000.nii.gz").data
    training_image = read_volume(dataset / "imagesTr" / "shapes_0000_0000.nii.gz").data
    assert test_image.shape != training_image.shape or not np.array_equal(test_image, training_image)


def test_workers_do_not_change_the_dataset(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / dataset.name
    write_phantoms("shapes", folder, num_cases=3, seed=5, workers=2, num_test=1)
    assert contents(folder) == contents(dataset)


def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the writing of two cases at the second label map."""
    real = writer.write_volume

    def stop_at_last(path: Path, volume: Volume) -> None:
        if path.name == "shapes_0001.nii.gz":
            raise KeyboardInterrupt
        real(path, volume)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_volume", stop_at_last)
        with pytest.raises(KeyboardInterrupt):
            write_phantoms("shapes", folder, num_cases=2, seed=5)


def test_interrupted_writing_resumes_and_more_cases_can_be_added(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / dataset.name
    interrupt(folder, monkeypatch)
    assert not (folder / "dataset.json").exists()
    kept = folder / "labelsTr" / "shapes_0000.nii.gz"
    written_at = kept.stat().st_mtime_ns
    write_phantoms("shapes", folder, num_cases=2, seed=5)
    write_phantoms("shapes", folder, num_cases=3, seed=5, num_test=1)
    assert kept.stat().st_mtime_ns == written_at
    assert contents(folder) == contents(dataset)


def test_interrupted_writing_does_not_go_on_with_another_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(tmp_path, monkeypatch)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"holds .*'seed': 5.*, not shapes of seed 6"):
        write_phantoms("shapes", tmp_path, num_cases=2, seed=6)
    assert contents(tmp_path) == before


def test_cases_of_an_unknown_seed_are_not_mixed_with_others(tmp_path: Path) -> None:
    write_phantoms("shapes", tmp_path, num_cases=1, seed=5)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(UsageError, match="holds files, and nothing says of which kind and seed"):
        write_phantoms("shapes", tmp_path, num_cases=2, seed=5)


def test_unknown_kind_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'torsos' is none of shapes, torso, head\. Did you mean 'torso'\?"):
        write_phantoms("torsos", tmp_path, num_cases=1, seed=0)


@pytest.mark.parametrize(("name", "value"), [("num_cases", 0), ("seed", -1), ("workers", 0), ("num_test", -1)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{name} is {value}; it must be at least"):
        write_phantoms("shapes", tmp_path, **{"num_cases": 1, "seed": 0, name: value})


def test_folder_of_another_seed_is_refused(dataset: Path) -> None:
    with pytest.raises(UsageError, match=r"holds .*'seed': 5.*, not shapes of seed 6"):
        write_phantoms("shapes", dataset, num_cases=3, seed=6, num_test=1)


def test_fewer_cases_than_there_are_is_refused(dataset: Path) -> None:
    with pytest.raises(UsageError, match=r"shapes_0002_0000\.nii\.gz is none of the 2 cases asked for"):
        write_phantoms("shapes", dataset, num_cases=2, seed=5)
