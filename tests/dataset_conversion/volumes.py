"""Volumes of a few voxels, written as the files of public datasets are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.image_io import Volume, write_volume

SHAPE = (12, 10, 8)
AFFINE = np.array([[-0.8, 0, 0, 30], [0, 0.8, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])
SLICES_FIRST = np.array([[0, 0, -0.8, 30], [0, -0.8, 0, -20], [-2.5, 0, 0, 7], [0, 0, 0, 1.0]])
JUNK = b"left by an archive"


def scan(path: Path, *, channels: int = 1, affine: NDArray[np.float64] = AFFINE, dtype: str = "int16") -> Path:
    """Writes an image of noise, and beside it the hidden file that macOS archives bring."""
    shape = SHAPE if channels == 1 else (*SHAPE, channels)
    save(path, np.random.default_rng(len(path.name)).normal(100, 10, shape).astype(dtype), affine)
    if path.name.endswith(".nii.gz"):
        path.with_name(f"._{path.name}").write_bytes(JUNK)
    return path


def label_map(path: Path, values: Iterable[int], *, affine: NDArray[np.float64] = AFFINE, dtype: str = "uint8") -> Path:
    """Writes a label map with a few voxels of each value."""
    data = np.zeros(SHAPE, dtype)
    for index, value in enumerate(values):
        data.reshape(-1)[8 * index : 8 * index + 3] = value
    return save(path, data, affine)


def mask(path: Path, index: int, *, affine: NDArray[np.float64] = AFFINE, dtype: str = "uint8") -> Path:
    """Writes a mask that overlaps with no other of another index below 100; below 0 it is empty."""
    return label_map(path, [0] * index + [1] if index >= 0 else [], affine=affine, dtype=dtype)


def save(path: Path, data: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> Path:
    """Writes a volume in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".nii" in path.name:
        nibabel.save(nibabel.Nifti1Image(data, affine), path)
    else:
        write_volume(path, Volume(data=data, affine=affine))
    return path
