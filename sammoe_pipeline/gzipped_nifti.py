"""Voxels of gzipped NIfTI files, decompressed once and checked on the way.

SimpleITK does not notice damage in the compressed stream, so that a file would otherwise be decompressed twice: once
for its checksum, once for its voxels. Most of the time that a mask takes to be read is decompression.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.intact import damaged

_HEADER_BYTES = 348
_NUMBER_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}


def read_gzipped_voxels(path: Path) -> NDArray[Any] | None:
    """Reads the voxels of a `.nii.gz` file in its own number type, NaN and infinite ones as 0.

    Returns:
        (x, y, z) or (x, y, z, channel); None for what this cannot read: values to be scaled, and forms of NIfTI other
        than one file of version 1 with plain numbers.

    Raises:
        UnreadableFileError: the compressed stream is damaged, or shorter than the header says.
    """
    content = decompress(path)
    if len(content) < _HEADER_BYTES or content[344:348] != b"n+1\0":
        return None
    order = next((sign for sign in "<>" if struct.unpack_from(f"{sign}i", content)[0] == _HEADER_BYTES), None)
    if order is None:
        return None
    dimensions = struct.unpack_from(f"{order}8h", content, 40)
    datatype = struct.unpack_from(f"{order}h", content, 70)[0]
    offset, slope, intercept = struct.unpack_from(f"{order}3f", content, 108)
    shape = dimensions[1 : 1 + dimensions[0]]
    scaled = (slope not in (0, 1) and np.isfinite(slope)) or (slope != 0 and intercept != 0 and np.isfinite(intercept))
    if datatype not in _NUMBER_TYPES or scaled or len(shape) not in (3, 4) or min(shape) < 1 or offset < _HEADER_BYTES:
        return None
    dtype = np.dtype(order + _NUMBER_TYPES[datatype])
    count = int(np.prod(shape, dtype=np.int64))
    if int(offset) + count * dtype.itemsize > len(content):
        raise damaged(path, f"its header promises {count} voxels and it holds fewer")
    stored = np.frombuffer(content, dtype, count, int(offset)).astype(dtype.newbyteorder("="))
    if dtype.kind == "f":
        np.nan_to_num(stored, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return stored.reshape(shape, order="F")


def decompress(path: Path) -> bytes:
    """Decompresses a gzip file of one or several members, against its checksums.

    Raises:
        UnreadableFileError: it is truncated or corrupted.
    """
    compressed = path.read_bytes()
    parts = []
    try:
        while compressed:
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(compressed))
            if not member.eof:
                raise damaged(path, "the compressed stream ends too early")
            # Some writers fill a block of the disk with zeros.
            compressed = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise damaged(path, str(error)) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)
