from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.gzipped_nifti import decompress, read_gzipped_voxels

TYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def save(path: Path, data: NDArray[np.generic], order: str = "<") -> Path:
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(data.dtype)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4), header), path)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", TYPES)
def test_voxels_are_those_that_simpleitk_reads(tmp_path: Path, dtype: str, order: str) -> None:
    data = np.random.default_rng(0).integers(0, 100, (4, 5, 6)).astype(dtype)
    path = save(tmp_path / "a.nii.gz", data, order)
    voxels = read_gzipped_voxels(path)
    assert voxels is not None
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    assert voxels.dtype == theirs.dtype
    np.testing.assert_array_equal(voxels, theirs)


def test_channels_are_the_last_axis(tmp_path: Path) -> None:
    data = np.arange(4 * 5 * 6 * 2, dtype=np.int16).reshape(4, 5, 6, 2)
    np.testing.assert_array_equal(read_gzipped_voxels(save(tmp_path / "a.nii.gz", data)), data)


def test_what_is_no_number_is_read_as_zero(tmp_path: Path) -> None:
    data = np.ones((4, 5, 6), np.float32)
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    voxels = read_gzipped_voxels(save(tmp_path / "a.nii.gz", data))
    assert voxels is not None
    assert voxels.sum() == 4 * 5 * 6 - 3


def test_voxels_may_be_changed(tmp_path: Path) -> None:
    voxels = read_gzipped_voxels(save(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.uint8)))
    assert voxels is not None
    voxels[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("field", "value"), [("scl_slope", 2.0), ("scl_inter", -1024.0), ("datatype", 128), ("magic", b"ni1")]
)
def test_what_needs_more_is_left_to_a_full_reader(tmp_path: Path, field: str, value: object) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    image.header["scl_slope"] = 1
    image.header[field] = value
    content = image.header.binaryblock + b"\0" * 4 + bytes(4 * 5 * 6 * 4)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    assert read_gzipped_voxels(tmp_path / "a.nii.gz") is None


def test_another_file_is_left_to_a_full_reader(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"x" * 1000))
    assert read_gzipped_voxels(tmp_path / "a.nii.gz") is None


def test_fewer_voxels_than_promised(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image.header.binaryblock + bytes(100)))
    with pytest.raises(UnreadableFileError, match="promises 120 voxels and it holds fewer"):
        read_gzipped_voxels(tmp_path / "a.nii.gz")


def test_several_members_and_padding_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 50)
    assert decompress(tmp_path / "a.gz") == b"one two"


@pytest.mark.parametrize("kept", [1, 15, 30, -1, -8])
def test_a_truncated_stream_is_noticed(tmp_path: Path, kept: int) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(range(256)))[:kept])
    with pytest.raises(UnreadableFileError, match=r"a\.gz is damaged \(the compressed stream ends too early"):
        decompress(tmp_path / "a.gz")


@pytest.mark.parametrize("position", [0, 60, -8, -1])
def test_a_corrupted_stream_is_noticed(tmp_path: Path, position: int) -> None:
    content = bytearray(gzip.compress(bytes(range(256))))
    content[position] ^= 0x55
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"a\.gz is damaged"):
        decompress(tmp_path / "a.gz")
