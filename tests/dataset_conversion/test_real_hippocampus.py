"""The real Task04_Hippocampus, through the command, against nnU-Net's own check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_conversion.cli import main
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.raw_dataset import read_raw_dataset
from sammoe_pipeline.verify import verify_raw_dataset


@pytest.fixture(scope="module")
def converted(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("raw")
    task = shared_data / "Task04_Hippocampus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("sammoe_home", str(raw.parent))
        assert main(["msd", "-i", str(task), "-d", "4", "--raw", str(raw), "-np", "1"]) == 0
    return raw / "Dataset004_Hippocampus"


def test_all_cases_arrive(converted: Path) -> None:
    raw = read_raw_dataset(converted)
    assert len(raw.training_cases) == 100
    assert len(list(raw.images_ts.iterdir())) == 10
    assert raw.labels == {"Anterior": (1,), "Posterior": (2,)}
    assert raw.channels == ("MRI",)
    verify_raw_dataset(converted, voxels=False)


def test_every_label_is_stored_as_integers_and_means_the_same(converted: Path, shared_data: Path) -> None:
    changed = 0
    for path in (converted / "labelsTr").iterdir():
        ours, theirs = read_volume(path), read_volume(shared_data / "Task04_Hippocampus" / "labelsTr" / path.name)
        assert ours.data.dtype == np.uint8
        np.testing.assert_array_equal(ours.data, theirs.data)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
        changed += theirs.data.dtype != np.uint8
    assert changed > 0, "the data no longer have a label map stored as float, so this test shows nothing"


def test_nnunet_finds_it_sound(converted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(converted), num_processes=1)
    words = capfd.readouterr().out
    assert "verify_dataset_integrity Done" in words
    assert "Warning" not in words
