from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import (
    FILE_ENDINGS,
    Volume,
    file_ending,
    read_channels,
    read_header,
    read_volume,
    write_volume,
)


def rotation(degrees: float, axis: int) -> NDArray[np.float64]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    others = [a for a in range(3) if a != axis]
    matrix[np.ix_(others, others)] = [[cosine, -sine], [sine, cosine]]
    return matrix


def make_affine(degrees: float = 0.0, signs: tuple[int, int, int] = (1, 1, 1)) -> NDArray[np.float64]:
    """An affine (4 x 4) with unequal spacing, an origin off zero, flipped axes and a rotation about two axes."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees, 0) @ rotation(degrees / 2, 2) @ np.diag(np.array([0.7, 1.1, 2.5]) * signs)
    affine[:3, 3] = [-31.5, 12.25, 7.0]
    return affine


AFFINES = {
    "straight": make_affine(),
    "flipped": make_affine(signs=(-1, -1, 1)),
    "left-handed": make_affine(signs=(-1, 1, 1)),
    "oblique": make_affine(degrees=17),
    "oblique and flipped": make_affine(degrees=-40, signs=(1, -1, -1)),
    "permuted": make_affine()[:, [1, 2, 0, 3]],
}


@pytest.fixture
def data() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)


@pytest.mark.parametrize("ending", FILE_ENDINGS)
def test_every_ending_keeps_voxels_type_and_grid(tmp_path: Path, data: NDArray[np.int16], ending: str) -> None:
    volume = Volume(data=data, affine=AFFINES["oblique"])
    write_volume(tmp_path / f"case{ending}", volume)
    back = read_volume(tmp_path / f"case{ending}")
    np.testing.assert_array_equal(back.data, data)
    assert back.data.dtype == np.int16
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)


@pytest.mark.parametrize("ending", FILE_ENDINGS)
def test_writing_again_replaces_and_leaves_nothing_else(tmp_path: Path, data: NDArray[np.int16], ending: str) -> None:
    path = tmp_path / f"case{ending}"
    write_volume(path, Volume(data=data, affine=np.eye(4)))
    files = sorted(tmp_path.iterdir())
    write_volume(path, Volume(data=data + 1, affine=np.eye(4)))
    assert sorted(tmp_path.iterdir()) == files
    np.testing.assert_array_equal(read_volume(path).data, data + 1)


@pytest.mark.parametrize("name", AFFINES)
def test_reading_agrees_with_nibabel(tmp_path: Path, data: NDArray[np.int16], name: str) -> None:
    path = tmp_path / "case.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, AFFINES[name]), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, AFFINES[name], atol=1e-5)


@pytest.mark.parametrize("name", AFFINES)
def test_nibabel_agrees_with_what_is_written(tmp_path: Path, data: NDArray[np.int16], name: str) -> None:
    path = tmp_path / "case.nii.gz"
    write_volume(path, Volume(data=data, affine=AFFINES[name]))
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
    np.testing.assert_allclose(image.affine, AFFINES[name], atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"])
def test_the_header_tells_what_reading_gives(tmp_path: Path, data: NDArray[np.int16], dtype: str) -> None:
    path = tmp_path / "case.nii.gz"
    write_volume(path, Volume(data=data.astype(dtype), affine=AFFINES["oblique"]))
    header, volume = read_header(path), read_volume(path)
    assert header.dtype == volume.data.dtype.name == dtype
    assert header.shape == volume.data.shape
    np.testing.assert_array_equal(header.affine, volume.affine)
    np.testing.assert_allclose(header.spacing_mm, (0.7, 1.1, 2.5), atol=1e-5)


def test_scaled_integers_are_read_as_the_numbers_they_mean(tmp_path: Path, data: NDArray[np.int16]) -> None:
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "case.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "case.nii.gz").data, data * 0.5 + 10)


def test_a_single_slice_is_a_volume(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 1), np.uint8), np.eye(4)), tmp_path / "slice.nii.gz")
    assert read_header(tmp_path / "slice.nii.gz").shape == (5, 6, 1)


@pytest.mark.parametrize("shape", [(5, 6, 7, 3), (5, 6)])
def test_what_is_not_3d_is_refused_with_its_size(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "case.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), path)
    for read in (read_header, read_volume):
        with pytest.raises(UnreadableFileError, match=r"case\.nii\.gz holds 5 x 6.* a single-channel 3D volume"):
            read(path)


@pytest.mark.parametrize("name", AFFINES)
def test_channels_of_a_4d_file_share_its_grid(tmp_path: Path, name: str) -> None:
    data = np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, AFFINES[name]), tmp_path / "case.nii.gz")
    header = read_header(tmp_path / "case.nii.gz", channels=3)
    assert header.shape == (5, 6, 7)
    np.testing.assert_allclose(header.affine, AFFINES[name], atol=1e-5)
    for channel, volume in enumerate(read_channels(tmp_path / "case.nii.gz", 3)):
        np.testing.assert_array_equal(volume.data, data[..., channel])
        np.testing.assert_allclose(volume.affine, AFFINES[name], atol=1e-5)


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 3), np.uint8), np.eye(4)), tmp_path / "case.nii.gz")
    with pytest.raises(UnreadableFileError, match=r"5 x 6 x 7 x 3 voxels .* 4 volumes along a fourth axis are needed"):
        read_channels(tmp_path / "case.nii.gz", 4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"gone\.nii\.gz does not exist"):
        read_header(tmp_path / "gone.nii.gz")


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.nii.gz").write_text("<html>please log in</html>")
    with pytest.raises(UnreadableFileError, match=r"page\.nii\.gz cannot be read as an image"):
        read_header(tmp_path / "page.nii.gz")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_truncated_nifti_is_noticed_by_its_header_alone(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"case{ending}"
    noise = np.random.default_rng(0).integers(-1000, 1000, (30, 30, 30)).astype(np.int16)
    write_volume(path, Volume(data=noise, affine=np.eye(4)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableFileError, match=r"case\.nii.* is damaged .*download the file again"):
        read_header(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_other_truncated_formats_are_noticed_on_reading(tmp_path: Path, data: NDArray[np.int16], ending: str) -> None:
    path = tmp_path / f"case{ending}"
    write_volume(path, Volume(data=data, affine=np.eye(4)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFileError, match="case"):
        read_volume(path)


def test_axes_that_are_not_at_right_angles_are_explained(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.uint8), sheared), tmp_path / "case.nii.gz")
    with pytest.raises(UnreadableFileError, match=r"not at right angles .* Resample"):
        read_header(tmp_path / "case.nii.gz")


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.complex64), np.eye(4)), tmp_path / "case.nii.gz")
    with pytest.raises(UnreadableFileError, match=r"2 value\(s\) each"):
        read_header(tmp_path / "case.nii.gz")


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.nii.gz", ".nii.gz"), ("a.nii", ".nii"), ("a.b.NRRD", ".nrrd"), ("a.gz", None), ("a", None)],
)
def test_file_ending(name: str, ending: str | None) -> None:
    assert file_ending(Path(name)) == ending


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_file_that_a_full_disk_cuts_off_is_an_error_and_leaves_nothing(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SimpleITK.WriteImage

    def cut_off(image: SimpleITK.Image, name: str, **options: bool) -> None:
        write(image, name, **options)
        os.truncate(name, 500)

    monkeypatch.setattr(SimpleITK, "WriteImage", cut_off)
    data = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    with pytest.raises(OSError, match="could not be written whole"):
        write_volume(tmp_path / f"a{ending}", Volume(data=data, affine=np.eye(4)))
    assert not list(tmp_path.iterdir())
