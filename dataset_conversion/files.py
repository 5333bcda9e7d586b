"""Volumes of a source, whatever they are made of: files of their own, or slices, contours and segments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from numpy.typing import NDArray

from dataset_conversion.source import Input
from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.gzipped_nifti import Scratch
from sammoe_pipeline.image_io import Header, Volume, read_channels, read_header, read_voxels

FILE_ENDING = ".nii.gz"
"""Of every file that is written."""


def is_ready(path: Input) -> TypeGuard[Path]:
    """Tells whether it is a file in the format that every dataset is written in."""
    return isinstance(path, Path) and path.name.endswith(FILE_ENDING)


def files_of(path: Input) -> tuple[Path, ...]:
    """Returns the files that a volume is made of."""
    return (path,) if isinstance(path, Path) else path.files


def size_of(path: Input) -> int:
    """Returns the bytes of these files."""
    return sum(file.stat().st_size for file in files_of(path))


def header_of(path: Input, *, channels: int = 1) -> Header:
    """Reads the header of a volume of the source.

    Args:
        path: the file, or what stands for one.
        channels: volumes that it must hold along a fourth axis.

    Raises:
        UnreadableFileError: it is missing, broken or not to be read by this user.
    """
    with _system_errors(path):
        return read_header(path, channels=channels) if isinstance(path, Path) else path.header()


def voxels_of(path: Input, scratch: Scratch | None = None) -> NDArray[Any]:
    """Reads the voxels (x, y, z) of a volume of the source.

    Args:
        path: the file, or what stands for one.
        scratch: memory to read one file after the other into, where only one is needed at a time.

    Raises:
        UnreadableFileError: it is missing, broken or not to be read by this user.
    """
    with _system_errors(path):
        return read_voxels(path, scratch or Scratch()) if isinstance(path, Path) else path.voxels()


def channels_of(path: Path, channels: int) -> list[Volume]:
    """Reads the volumes of a 4D file of the source.

    Raises:
        UnreadableFileError: it is missing, broken, not to be read by this user, or does not hold that many.
    """
    with _system_errors(path):
        return read_channels(path, channels)


@contextmanager
def _system_errors(path: Input) -> Iterator[None]:
    """Makes a fault of one file, beside which others are looked for, of what the system says."""
    try:
        yield
    except OSError as error:
        raise UnreadableFileError(
            f"{path} cannot be read ({error.strerror}). Check its permissions and disk."
        ) from error
