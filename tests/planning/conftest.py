"""Small raw datasets to plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.image_io import Volume, write_volume

MakeRaw = Callable[..., Path]


@pytest.fixture
def make_raw(tmp_path: Path) -> MakeRaw:
    """Returns a function that writes a raw dataset under `raw` from label maps (x, y, z) by case name."""

    def make(
        cases: Mapping[str, NDArray[Any]],
        labels: Mapping[str, Any],
        *,
        spacing_mm: float = 3.0,
        channels: int = 1,
        name: str = "Dataset007_Things",
        patients: Mapping[str, str] | None = None,
        **description: Any,
    ) -> Path:
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
        rng = np.random.default_rng(0)
        for case, label in cases.items():
            for channel in range(channels):
                image = (100 * (label > 0) + rng.normal(0, 1, label.shape)).astype(np.float32)
                path = folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz"
                write_volume(path, Volume(data=image, affine=affine))
            volume = Volume(data=label.astype(np.uint8), affine=affine)
            write_volume(folder / "labelsTr" / f"{case}.nii.gz", volume)
        content = {
            "channel_names": {str(channel): f"MR{channel}" for channel in range(channels)},
            "labels": {"background": 0, **labels},
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
            **description,
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        if patients is not None:
            (folder / "patients.json").write_text(json.dumps(patients))
        return folder

    return make


@pytest.fixture
def blocks() -> dict[str, NDArray[np.uint8]]:
    """Label maps of four cases, 14 voxels a side: class 1 is one block, class 2 two small ones."""
    label = np.zeros((14, 14, 14), dtype=np.uint8)
    label[2:8, 3:9, 4:10] = 1
    label[10:12, 2:4, 2:4] = 2
    label[10:12, 8:11, 8:11] = 2
    return {f"case_{index}": label for index in range(4)}
