"""Voxels of gzipped NIfTI files, decompressed once, straight to where they shall lie, and checked on the way.

SimpleITK reads all that is read here, but allocates and copies a volume several times and never looks at the checksum.
Of a case with a hundred masks that is most of the work.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.intact import open_gzip, require_length

_HEADER_BYTES = 352
_DIMENSIONS, _NUMBER_TYPE, _PLACE = struct.Struct("<8h"), struct.Struct("<h"), struct.Struct("<3f")
_AT_DIMENSIONS, _AT_NUMBER_TYPE, _AT_PLACE, _AT_MAGIC = 40, 70, 108, 344
_SIZE = (348).to_bytes(4, "little")
_MAGIC = b"n+1\0"
_NUMBER_TYPES = {
    2: "uint8", 4: "int16", 8: "int32", 16: "float32", 64: "float64",
    256: "int8", 512: "uint16", 768: "uint32", 1024: "int64", 1280: "uint64",
}  # fmt: skip
"""Of NIfTI's header, which has more that nobody segments: complex numbers, colours, 128 bits."""
_REST_BYTES = 1 << 16


class Scratch:
    """Memory that one volume after the other is read into: handing out new memory takes longer than filling it."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        """Returns `size` bytes. What was handed out before must no longer be used."""
        if self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size]


def read_plain_voxels(path: Path, scratch: Scratch | None = None) -> NDArray[Any] | None:
    """Reads the voxels of a gzipped NIfTI file that are stored as they are meant; NaN and infinite ones become 0.

    Args:
        path: a file of the ending `.nii.gz`.
        scratch: to read into; new memory by default.

    Returns:
        Voxels (x, y, z) or (x, y, z, channel), or None for files that need a reader that knows more: scaled values,
        another byte order, a number type without a counterpart, voxels in another file.

    Raises:
        UnreadableFileError: the file is truncated or corrupted.
        OSError: the system refuses it.
    """
    with open_gzip(path) as file:
        layout = _plain_layout(file.read(_HEADER_BYTES))
        if layout is None:
            return None
        shape, dtype, offset = layout
        size = math.prod(shape) * dtype.itemsize
        require_length(path, offset + size)
        memory = (scratch or Scratch()).take(size)
        file.read(offset - _HEADER_BYTES)
        view, filled = memory.data, 0
        while filled < size:
            count = file.readinto(view[filled:])
            if not count:
                raise EOFError(f"it should hold {offset + size} bytes and ends after {offset + filled}")
            filled += count
        # The checksum lies at the end, which only reading on reaches.
        while file.read(_REST_BYTES):
            pass
    voxels: NDArray[Any] = memory.view(dtype).reshape(shape, order="F")
    if dtype.kind == "f":
        np.nan_to_num(voxels, copy=False, nan=0, posinf=0, neginf=0)
    return voxels


def _plain_layout(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int] | None:
    """Returns shape, number type and the place of the first voxel, where no more than these need be known."""
    if len(header) < _HEADER_BYTES or header[:4] != _SIZE or header[_AT_MAGIC : _AT_MAGIC + 4] != _MAGIC:
        return None
    count, *sizes = _DIMENSIONS.unpack_from(header, _AT_DIMENSIONS)
    dtype = _NUMBER_TYPES.get(_NUMBER_TYPE.unpack_from(header, _AT_NUMBER_TYPE)[0])
    offset, slope, shift = _PLACE.unpack_from(header, _AT_PLACE)
    is_plain = slope == 0 or (slope == 1 and shift == 0)
    if not (is_plain and dtype and 3 <= count <= 4 and min(sizes[:count]) > 0 and offset >= _HEADER_BYTES):
        return None
    return tuple(sizes[:count]), np.dtype(f"<{np.dtype(dtype).str[1:]}"), int(offset)
