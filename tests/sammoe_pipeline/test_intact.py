from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.intact import require_length, require_sound_gzip

CONTENT = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()


def test_a_sound_file_tells_its_length(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    path.write_bytes(gzip.compress(CONTENT))
    assert require_sound_gzip(path) == 5000


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    raw = bytearray(gzip.compress(CONTENT))
    raw[2500] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(UnreadableFileError, match="is damaged"):
        require_sound_gzip(path)


def test_reading_a_volume_heeds_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    # Large enough that SimpleITK alone, which looks ahead a little, finds it in order.
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 120)).astype(np.uint8)
    write_volume(path, Volume(data=noise, affine=np.eye(4)))
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 0x10  # the checksum begins eight bytes before the end
    path.write_bytes(raw)
    with pytest.raises(UnreadableFileError, match=r"is damaged \(CRC check failed"):
        read_volume(path)


def test_a_file_that_is_no_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    path.write_bytes(CONTENT)
    with pytest.raises(UnreadableFileError, match=r"case\.nii\.gz is damaged \(Not a gzipped file"):
        require_sound_gzip(path)


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_missing_bytes_are_counted(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT)
    require_length(path, 5000)
    with pytest.raises(UnreadableFileError, match="should hold 5001 bytes and ends after 5000"):
        require_length(path, 5001)


def test_gzip_of_several_members_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    path.write_bytes(gzip.compress(CONTENT[:3000]) + gzip.compress(CONTENT[3000:]))
    require_length(path, 5000)
