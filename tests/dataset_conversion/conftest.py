"""A small dataset laid out like a task of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

MakeTask = Callable[..., Path]


@pytest.fixture(scope="module")
def nnunet_in_threads() -> Iterator[None]:
    """Lets nnU-Net's integrity check work in threads: the processes that it starts take seconds each time."""
    from multiprocessing.pool import ThreadPool
    from types import SimpleNamespace

    from nnunetv2.experiment_planning import verify_dataset_integrity

    with pytest.MonkeyPatch.context() as patch:
        in_threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
        patch.setattr(verify_dataset_integrity, "multiprocessing", in_threads)
        yield


AFFINE = np.array([[-0.8, 0, 0, 30], [0, 0.8, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Returns a function that writes `Task04_Boxes`: cases box_2, box_3, ... of 12 x 10 x 8 voxels, classes 1 and 2."""

    def make(cases: int = 3, channels: int = 1, tests: int = 1, label_type: str = "uint8", **description: Any) -> Path:
        folder = tmp_path / "download" / "Task04_Boxes"
        rng = np.random.default_rng(0)
        for name in ("imagesTr", "labelsTr", *(["imagesTs"] if tests else [])):
            (folder / name).mkdir(parents=True)
        shape = (12, 10, 8) if channels == 1 else (12, 10, 8, channels)
        for number in range(2, 2 + cases + tests):
            images = folder / ("imagesTr" if number < 2 + cases else "imagesTs")
            image = rng.normal(100, 10, shape).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(image, AFFINE), images / f"box_{number}.nii.gz")
            (images / f"._box_{number}.nii.gz").write_bytes(b"left by an archive")
        for number in range(2, 2 + cases):
            label = np.zeros((12, 10, 8), label_type)
            label[2:6, 3:7, 1:5] = 1
            label[7:10, 3:7, 1:5] = 2
            nibabel.save(nibabel.Nifti1Image(label, AFFINE), folder / "labelsTr" / f"box_{number}.nii.gz")
        content = {
            "modality": {str(channel): f"MR{channel}" for channel in range(channels)},
            "labels": {"0": "background", "1": "near", "2": "far"},
            "numTraining": cases,
            "licence": "CC0",
            "relase": "1.0",
            "training": [{"image": "./imagesTr/gone.nii.gz", "label": "./labelsTr/gone.nii.gz"}],
        }
        (folder / "dataset.json").write_text(json.dumps({**content, **description}))
        return folder

    return make
