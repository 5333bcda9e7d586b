from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from dataset_conversion.headers import check_headers
from dataset_conversion.segment_nrrd import SegmentNrrd
from dataset_conversion.source import Case, LabelFile
from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.image_io import Volume, to_simpleitk
from tests.dataset_conversion.volumes import AFFINE, SHAPE, save, scan

FULL = np.zeros(SHAPE, np.uint8)
FULL[3:6, 2:8, 1:4] = 1


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return scan(tmp_path / "ct.nrrd")


def moved(voxels: tuple[float, ...]) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [*voxels, 1])[:3]
    return affine


def test_a_mask_of_the_whole_image_is_taken_as_it_is(tmp_path: Path, image: Path) -> None:
    mask = SegmentNrrd(save(tmp_path / "a.seg.nrrd", FULL), image)
    np.testing.assert_array_equal(mask.voxels(), FULL)
    assert mask.header().shape == SHAPE


def test_a_crop_is_put_back_to_its_place(tmp_path: Path, image: Path) -> None:
    mask = SegmentNrrd(save(tmp_path / "a.seg.nrrd", FULL[2:9, 1:9, 1:5], moved((2, 1, 1))), image)
    np.testing.assert_array_equal(mask.voxels(), FULL)
    np.testing.assert_allclose(mask.header().affine, AFFINE, atol=1e-5)


def test_layers_are_joined(tmp_path: Path, image: Path) -> None:
    layers = [FULL * (np.arange(SHAPE[2]) % 2 == layer) for layer in (0, 1)]
    path = tmp_path / "a.seg.nrrd"
    SimpleITK.WriteImage(
        SimpleITK.Compose([to_simpleitk(Volume(data=one, affine=AFFINE)) for one in layers]), str(path)
    )
    np.testing.assert_array_equal(SegmentNrrd(path, image).voxels(), FULL)


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_of_one_voxel_is_empty(tmp_path: Path, image: Path, value: int) -> None:
    path = save(tmp_path / "a.seg.nrrd", np.full((1, 1, 1), value, np.uint8), moved((500, 0, 0)))
    assert not SegmentNrrd(path, image).voxels().any()


@pytest.mark.parametrize("voxels", [(2.5, 1, 1), (8, 1, 1), (-1, 1, 1)])
def test_a_crop_beside_the_grid_is_a_fault(tmp_path: Path, image: Path, voxels: tuple[float, ...]) -> None:
    mask = SegmentNrrd(save(tmp_path / "a.seg.nrrd", FULL[2:9, 1:9, 1:5], moved(voxels)), image)
    found = check_headers((Case(name="a", images=(image,), labels=(LabelFile(mask, "a"),)), 1))
    assert "a.seg.nrrd is not on the grid of ct.nrrd: shape 7 x 8 x 4 instead of 12 x 10 x 8" in found.faults[0]


def test_a_crop_of_another_spacing_is_a_fault(tmp_path: Path, image: Path) -> None:
    path = save(tmp_path / "a.seg.nrrd", FULL[2:9, 1:9, 1:5], moved((2, 1, 1)) @ np.diag([1.2, 1, 1, 1]))
    found = check_headers((Case(name="a", images=(image,), labels=(LabelFile(SegmentNrrd(path, image), "a"),)), 1))
    assert "is not on the grid of ct.nrrd" in found.faults[0]


def test_a_broken_mask_is_named(tmp_path: Path, image: Path) -> None:
    (tmp_path / "a.seg.nrrd").write_text("NRRD0004\ntype: what")
    with pytest.raises(UnreadableFileError, match=r"a\.seg\.nrrd cannot be read"):
        SegmentNrrd(tmp_path / "a.seg.nrrd", image).header()
