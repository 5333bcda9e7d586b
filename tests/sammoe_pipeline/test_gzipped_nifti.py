from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from sammoe_pipeline import image_io
from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.gzipped_nifti import Scratch, read_plain_voxels
from sammoe_pipeline.image_io import read_channels, read_volume, read_voxels

DATA = np.random.default_rng(0).integers(0, 100, (4, 5, 6))


def save(path: Path, data: NDArray[Any], *, order: str = "<", scale: tuple[float, float] = (1, 0)) -> Path:
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(data.dtype)
    image = nibabel.Nifti1Image(data, np.eye(4), header)
    image.header.set_slope_inter(*scale)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_every_type_and_byte_order_is_read_as_simpleitk_does(tmp_path: Path, dtype: str, order: str) -> None:
    path = save(tmp_path / "case.nii.gz", DATA.astype(dtype), order=order)
    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    for voxels in (read_volume(path).data, read_voxels(path, Scratch())):
        np.testing.assert_array_equal(voxels, expected)
        assert voxels.dtype.name == dtype


@pytest.mark.parametrize("known", ["order", "scale"])
def test_what_is_not_stored_as_it_is_meant_is_left_to_others(tmp_path: Path, known: str) -> None:
    how: dict[str, Any] = {"order": ">"} if known == "order" else {"scale": (2, 1)}
    assert read_plain_voxels(save(tmp_path / "case.nii.gz", DATA.astype(np.int16), **how)) is None


def test_scaled_values_mean_what_they_should(tmp_path: Path) -> None:
    path = save(tmp_path / "case.nii.gz", DATA.astype(np.int16), scale=(2, 1))
    np.testing.assert_allclose(read_voxels(path, Scratch()), DATA * 2 + 1)


def test_files_that_simpleitk_reads_no_more_of_than_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "case.nii.gz", DATA.astype(np.int16))
    monkeypatch.setattr(image_io, "require_sound_gzip", lambda _: pytest.fail("decompressed again"))
    read_volume(path)


def test_nan_and_infinite_values_become_zero(tmp_path: Path) -> None:
    data = DATA.astype(np.float32)
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    path = save(tmp_path / "case.nii.gz", data)
    assert read_volume(path).data[0, 0].tolist() == [0, 0, 0, *data[0, 0, 3:]]


def test_a_scratch_is_used_again(tmp_path: Path) -> None:
    scratch = Scratch()
    first = read_voxels(save(tmp_path / "a.nii.gz", DATA.astype(np.uint8)), scratch)
    kept = first.copy()
    second = read_voxels(save(tmp_path / "b.nii.gz", (DATA[:2] + 1).astype(np.uint8)), scratch)
    assert np.shares_memory(first, second)
    np.testing.assert_array_equal(kept, DATA)
    np.testing.assert_array_equal(second, DATA[:2] + 1)


def test_volumes_have_memory_of_their_own(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", DATA.astype(np.uint8))
    assert not np.shares_memory(read_volume(path).data, read_volume(path).data)
    assert read_volume(path).data.flags.writeable


def test_channels_lie_along_the_fourth_axis(tmp_path: Path) -> None:
    data = np.stack([DATA, DATA + 1], axis=-1).astype(np.int16)
    for channel, volume in enumerate(read_channels(save(tmp_path / "a.nii.gz", data), 2)):
        np.testing.assert_array_equal(volume.data, DATA + channel)


def test_gzip_of_several_members_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", DATA.astype(np.uint8))
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    np.testing.assert_array_equal(read_voxels(path, Scratch()), DATA)


@pytest.mark.parametrize(
    ("start", "stop", "reason"), [(0, -9, "is damaged"), (0, 40, "is damaged"), (5, None, "Not a")]
)
def test_damage_is_named(tmp_path: Path, start: int, stop: int | None, reason: str) -> None:
    path = save(tmp_path / "a.nii.gz", DATA.astype(np.uint8))
    path.write_bytes(path.read_bytes()[start:stop])
    with pytest.raises(UnreadableFileError, match=reason):
        read_plain_voxels(path)


def test_a_flipped_checksum_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", DATA.astype(np.uint8))
    content = bytearray(path.read_bytes())
    content[-8] ^= 0x10  # the checksum begins eight bytes before the end
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"is damaged \(CRC check failed"):
        read_voxels(path, Scratch())


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", DATA.astype(np.uint8))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = b"\xff\x7f" * 3
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(UnreadableFileError, match="should hold 3518"):
        read_plain_voxels(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"gone\.nii\.gz does not exist"):
        read_voxels(tmp_path / "gone.nii.gz", Scratch())
