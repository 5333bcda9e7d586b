"""Files of a source, whatever they are: volumes, or folders that hold the slices of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sammoe_pipeline.image_io import Header, read_header, read_volume

FILE_ENDING = ".nii.gz"
"""Of every file that is written."""


def is_ready(path: Path) -> bool:
    """Tells whether a file has the format that every dataset is written in."""
    return path.name.endswith(FILE_ENDING)


def header_of(path: Path, *, channels: int = 1) -> Header:
    """Reads the header of a file of the source.

    Args:
        path: the file.
        channels: volumes that it must hold along a fourth axis.

    Raises:
        UnreadableFileError: it is missing or broken.
    """
    return read_header(path, channels=channels)


def voxels_of(path: Path) -> NDArray[Any]:
    """Reads the voxels (x, y, z) of a file of the source.

    Raises:
        UnreadableFileError: it is missing or broken.
    """
    return read_volume(path).data
