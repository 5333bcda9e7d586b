from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.intact import require_intact_voxels, require_length, require_sound_gzip

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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_voxels_of_every_type_and_byte_order_are_intact(tmp_path: Path, dtype: str, order: str) -> None:
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    data = np.arange(120).reshape(4, 5, 6).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4), header), tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "case.nii.gz").data, data)


def test_voxels_are_checked_without_decompressing_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "case.nii.gz"
    write_volume(path, Volume(data=np.arange(120, dtype=np.uint8).reshape(4, 5, 6), affine=np.eye(4)))
    monkeypatch.setattr("sammoe_pipeline.intact.require_sound_gzip", lambda _: pytest.fail("decompressed again"))
    read_volume(path)


def test_scaled_voxels_and_joined_members_are_intact(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    image.header.set_slope_inter(2, 1)
    content = image.to_bytes()
    (tmp_path / "case.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    assert read_volume(tmp_path / "case.nii.gz").data.shape == (4, 5, 6)


def test_voxels_that_differ_from_the_file_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    path.write_bytes(gzip.compress(CONTENT))
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(UnreadableFileError, match=r"is damaged \(CRC check failed"):
        require_intact_voxels(path, np.frombuffer(CONTENT[352:], np.uint8), 352)
