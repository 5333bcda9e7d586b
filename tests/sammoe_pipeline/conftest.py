"""A small raw dataset to check, read and prepare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sammoe_pipeline.image_io import Volume, write_volume

MakeRaw = Callable[..., Path]


@pytest.fixture
def make_raw(tmp_path: Path) -> MakeRaw:
    """Returns a function that writes a sound raw dataset of 12 x 10 x 8 voxels a case, with classes 1 and 2."""

    def make(cases: int = 3, channels: int = 1, ending: str = ".nii.gz", **description: Any) -> Path:
        folder = tmp_path / "raw" / "Dataset007_Boxes"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        affine = np.diag([-1.0, -1.0, 2.0, 1.0])
        for index in range(cases):
            for channel in range(channels):
                image = rng.normal(100, 10, (12, 10, 8)).astype(np.float32)
                path = folder / "imagesTr" / f"case_{index}_{channel:04d}{ending}"
                write_volume(path, Volume(data=image, affine=affine))
            label = np.zeros((12, 10, 8), np.uint8)
            label[2:6, 3:7, 1:5] = 1
            label[7:10, 3:7, 1:5] = 2
            write_volume(folder / "labelsTr" / f"case_{index}{ending}", Volume(data=label, affine=affine))
        content = {
            "channel_names": {str(channel): f"MR{channel}" for channel in range(channels)},
            "labels": {"background": 0, "near": 1, "far": 2},
            "numTraining": cases,
            "file_ending": ending,
        }
        (folder / "dataset.json").write_text(json.dumps({**content, **description}))
        return folder

    return make
