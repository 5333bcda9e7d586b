"""Files of a source, whatever they are: volumes, or folders that hold the slices of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.gzipped_nifti import Scratch
from sammoe_pipeline.image_io import Header, Volume, read_channels, read_header, read_voxels

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
        UnreadableFileError: it is missing, broken or not to be read by this user.
    """
    with _system_errors(path):
        return read_header(path, channels=channels)


def voxels_of(path: Path, scratch: Scratch | None = None) -> NDArray[Any]:
    """Reads the voxels (x, y, z) of a file of the source.

    Args:
        path: the file.
        scratch: memory to read one file after the other into, where only one is needed at a time.

    Raises:
        UnreadableFileError: it is missing, broken or not to be read by this user.
    """
    with _system_errors(path):
        return read_voxels(path, scratch or Scratch())


def channels_of(path: Path, channels: int) -> list[Volume]:
    """Reads the volumes of a 4D file of the source.

    Raises:
        UnreadableFileError: it is missing, broken, not to be read by this user, or does not hold that many.
    """
    with _system_errors(path):
        return read_channels(path, channels)


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Makes a fault of one file, beside which others are looked for, of what the system says."""
    try:
        yield
    except OSError as error:
        raise UnreadableFileError(
            f"{path} cannot be read ({error.strerror}). Check its permissions and disk."
        ) from error
