"""Whether a NIfTI file is whole. SimpleITK reads a truncated or corrupted one without complaint, as zeros or noise."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError

_READ_BYTES = 1 << 20
_TRAILER = struct.Struct("<II")
_GZIP = 31
"""What zlib calls a stream in a gzip file, in its largest window."""


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
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_READ_BYTES):
                length += len(chunk)
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    return length


def require_intact_voxels(path: Path, voxels: NDArray[Any], offset: int) -> None:
    """Checks voxels that were read from a gzip file against its checksum, without decompressing it again if possible.

    Args:
        path: the file.
        voxels: as they were read, contiguous in the order of the file.
        offset: bytes of the uncompressed file before them.

    Raises:
        UnreadableFileError: the file is truncated or corrupted.
    """
    with path.open("rb") as file:
        start = file.read(_READ_BYTES)
        file.seek(-_TRAILER.size, os.SEEK_END)
        checksum, length = _TRAILER.unpack(file.read())
    try:
        header = zlib.decompressobj(wbits=_GZIP).decompress(start, offset)
    except zlib.error as error:
        raise _damaged(path, str(error)) from error
    whole = len(header) == offset and length == (offset + voxels.nbytes) % (1 << 32)
    if not whole or zlib.crc32(np.ascontiguousarray(voxels).data, zlib.crc32(header)) != checksum:
        # Also where the voxels are not as stored: other byte order, scaled values, NaN, a file of several members.
        require_sound_gzip(path)


def _damaged(path: Path, reason: str) -> UnreadableFileError:
    return UnreadableFileError(f"{path} is damaged ({reason}). Copy or download the file again.")
