from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import Volume, read_channels, read_header, read_volume, write_volume
from sammoe_pipeline.sheared import square

AFFINE = np.array([[-1.5, 0.002, 0, 20], [0, 1.5, 0.001, -12], [0, 0, 1.5, 4], [0, 0, 0, 1.0]])


@pytest.fixture
def data() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-1000, 1000, (30, 20, 10)).astype(np.int16)


def save(path: Path, data: NDArray[np.generic], affine: NDArray[np.float64] = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path


def test_squared_axes_are_at_right_angles_and_as_long() -> None:
    squared = square(AFFINE, (30, 20, 10)).affine[:3, :3]
    lengths = np.linalg.norm(AFFINE[:3, :3], axis=0)
    np.testing.assert_allclose(squared.T @ squared, np.diag(lengths**2), atol=1e-12)


def test_the_centre_stays_where_it_is() -> None:
    centre = [14.5, 9.5, 4.5, 1]
    np.testing.assert_allclose(square(AFFINE, (30, 20, 10)).affine @ centre, AFFINE @ centre)


def test_axes_at_right_angles_do_not_move() -> None:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    grid = square(affine, (30, 20, 10))
    np.testing.assert_allclose(grid.affine, affine, atol=1e-12)
    assert grid.moved_voxels < 1e-12


def test_voxels_type_and_place_are_read(tmp_path: Path, data: NDArray[np.int16]) -> None:
    path = save(tmp_path / "ct.nii.gz", data)
    volume, header = read_volume(path), read_header(path)
    np.testing.assert_array_equal(volume.data, data)
    assert (header.shape, header.dtype) == ((30, 20, 10), "int16")
    np.testing.assert_allclose(volume.affine, AFFINE, atol=0.03)
    np.testing.assert_array_equal(header.affine, volume.affine)
    assert 0 < header.moved_voxels < 0.1


def test_what_was_squared_can_be_written(tmp_path: Path, data: NDArray[np.int16]) -> None:
    volume = read_volume(save(tmp_path / "ct.nii.gz", data))
    write_volume(tmp_path / "squared.nii.gz", volume)
    header = read_header(tmp_path / "squared.nii.gz")
    assert header.moved_voxels == 0
    np.testing.assert_allclose(header.affine, volume.affine, atol=1e-5)


def test_channels_are_read(tmp_path: Path, data: NDArray[np.int16]) -> None:
    path = save(tmp_path / "mr.nii.gz", np.stack([data, data + 1], axis=-1))
    np.testing.assert_array_equal(read_channels(path, 2)[1].data, data + 1)


def test_nan_is_read_as_zero(tmp_path: Path, data: NDArray[np.int16]) -> None:
    strange = data.astype(np.float32)
    strange[3, 4, 5] = np.nan
    volume = read_volume(save(tmp_path / "mr.nii.gz", strange))
    assert volume.data[3, 4, 5] == 0
    assert volume.data.dtype == np.float32


def test_a_damaged_file_is_noticed(tmp_path: Path, data: NDArray[np.int16]) -> None:
    path = save(tmp_path / "ct.nii.gz", data)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UnreadableFileError, match="is damaged"):
        read_volume(path)


def test_a_place_that_is_no_number_is_refused(tmp_path: Path, data: NDArray[np.int16]) -> None:
    image = nibabel.Nifti1Image(data, AFFINE)
    image.header["srow_x"] = [1.5, 0, 0, np.nan]
    image.header["sform_code"] = 1
    with (tmp_path / "ct.nii").open("wb") as file:
        file.write(image.header.binaryblock + b"\0" * 4 + data.tobytes(order="F"))
    with pytest.raises(UnreadableFileError, match=r"ct\.nii "):
        read_header(tmp_path / "ct.nii")


def test_written_volumes_of_simpleitk_are_not_touched(tmp_path: Path, data: NDArray[np.int16]) -> None:
    write_volume(tmp_path / "ct.nii.gz", Volume(data=data, affine=np.eye(4)))
    assert read_header(tmp_path / "ct.nii.gz").moved_voxels == 0
