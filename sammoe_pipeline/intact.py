"""Whether a NIfTI file is whole. SimpleITK reads a truncated or corrupted one without complaint, as zeros or noise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from sammoe_pipeline.errors import UnreadableFileError

_READ_BYTES = 1 << 20


def require_length(path: Path, length: int) -> None:
    """Checks that a file holds at least `length` bytes once uncompressed, without decompressing it where possible.

    Raises:
        UnreadableFileError: it is shorter.
    """
    if path.name.lower().endswith(".gz"):
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            recorded = int.from_bytes(file.read(), "little")
        # Gzip ends with the length modulo 2^32. A file joined of several members records only its last one's.
        stored = length if recorded == length % (1 << 32) else require_sound_gzip(path)
    else:
        stored = path.stat().st_size
    if stored < length:
        raise _damaged(path, f"it should hold {length} bytes and ends after {stored}")


def require_sound_gzip(path: Path) -> int:
    """Reads a gzip file through, against its checksum.

    Returns:
        Its uncompressed length in bytes.

    Raises:
        UnreadableFileError: it is truncated or corrupted.
    """
    length = 0
    with open_gzip(path) as file:
        while chunk := file.read(_READ_BYTES):
            length += len(chunk)
    return length


@contextmanager
def open_gzip(path: Path) -> Iterator[BufferedIOBase]:
    """Opens a gzip file for reading, and names it in what reading raises.

    Raises:
        UnreadableFileError: it is truncated or corrupted.
    """
    from gzip import BadGzipFile

    from zlib_ng import gzip_ng, zlib_ng

    try:
        with gzip_ng.open(path) as file:  # type: ignore[no-untyped-call]
            yield file
    except (EOFError, BadGzipFile, zlib_ng.error) as error:  # type: ignore[misc]  # its stub has no exception
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> UnreadableFileError:
    return UnreadableFileError(f"{path} is damaged ({reason}). Copy or download the file again.")
