"""Real public data, as downloaded, through the command, against the sources and nnU-Net's own check."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_conversion.cli import main
from dataset_conversion.tables import TOTALSEGMENTATOR_CT
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.raw_dataset import read_raw_dataset
from sammoe_pipeline.verify import verify_raw_dataset

SOURCES = {
    "msd": "Task04_Hippocampus",
    "paired": "mouse_brain",
    "case_folders": "fetal_brain",
    "totalsegmentator_ct": "totalsegmentator_v2",
}


@pytest.fixture(scope="module")
def raw(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one dataset a format, called after the format."""
    raw = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("sammoe_home", str(raw.parent))
        for index, (name, folder) in enumerate(SOURCES.items(), start=1):
            flags = ["-d", str(index), "-n", name, "--raw", str(raw), "-np", "1", "--link"]
            assert main([name, "-i", str(shared_data / folder), *flags]) == 0
    return raw


def dataset(raw: Path, name: str) -> Path:
    return next(raw.glob(f"*_{name}"))


@pytest.mark.parametrize("name", SOURCES)
def test_nnunet_finds_it_sound(
    raw: Path, name: str, nnunet_in_threads: None, capfd: pytest.CaptureFixture[str]
) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_raw_dataset(dataset(raw, name), voxels=False)
    verify_dataset_integrity(str(dataset(raw, name)), num_processes=1)
    words = capfd.readouterr().out
    assert "verify_dataset_integrity Done" in words
    assert "Warning" not in words


def test_all_hippocampi_arrive(raw: Path) -> None:
    found = read_raw_dataset(dataset(raw, "msd"))
    assert len(found.training_cases) == 100
    assert len(list(found.images_ts.iterdir())) == 10
    assert found.labels == {"Anterior": (1,), "Posterior": (2,)}
    assert found.channels == ("MRI",)


def test_every_hippocampus_is_stored_as_integers_and_means_the_same(raw: Path, shared_data: Path) -> None:
    changed = 0
    for path in (dataset(raw, "msd") / "labelsTr").iterdir():
        ours, theirs = read_volume(path), read_volume(shared_data / "Task04_Hippocampus" / "labelsTr" / path.name)
        assert ours.data.dtype == np.uint8
        np.testing.assert_array_equal(ours.data, theirs.data)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
        changed += theirs.data.dtype != np.uint8
    assert changed > 0, "the data no longer have a label map stored as float, so this test shows nothing"


def test_gaps_between_the_values_of_mice_are_closed(raw: Path, shared_data: Path) -> None:
    folder = dataset(raw, "paired")
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert list(labels.values()) == list(range(len(labels)))
    case = "tg4510_tp3_10_20130523_UT"
    ours = read_volume(folder / "labelsTr" / f"{case}.nii.gz").data
    theirs = read_volume(shared_data / "mouse_brain" / "labels" / f"{case}.nii.gz").data
    np.testing.assert_array_equal(ours == labels["Left Hippocampus"], theirs == 1)
    np.testing.assert_array_equal(ours == 0, theirs == 0)


def test_fetal_brains_are_told_by_their_folders(raw: Path) -> None:
    found = read_raw_dataset(dataset(raw, "case_folders"))
    assert len(found.training_cases) == 10
    assert "fetal_SB_atlas_GA25_notoperated" in [case.name for case in found.training_cases]
    assert list(found.labels) == [f"class_{value}" for value in range(1, 9)]


def test_every_structure_of_the_torso_is_where_its_mask_is(raw: Path, shared_data: Path) -> None:
    ours = read_volume(dataset(raw, "totalsegmentator_ct") / "labelsTr" / "s0001.nii.gz").data
    folder = shared_data / "totalsegmentator_v2" / "s0001" / "segmentations"
    masks = {name: read_volume(folder / f"{name}.nii.gz").data != 0 for name in TOTALSEGMENTATOR_CT[:40]}
    claimed = sum(mask.astype(int) for mask in masks.values())
    for number, mask in enumerate(masks.values(), start=1):
        assert (ours[mask] == number)[claimed[mask] == 1].mean() > 0.99 if mask.any() else not (ours == number).any()
