import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import SammoeError
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.zoomed import Zoomed

COARSE = Configuration(name="coarse", spacing_mm=2.0, patch_size=16)


@pytest.fixture
def image() -> CaseImage:
    """Two channels of 12 x 10 x 8 voxels of 1 x 1 x 3 mm; the file's axes run to S, L and P."""
    affine = np.array([[0, -1.0, 0, 20], [0, 0, -3.0, 30], [1.0, 0, 0, -5], [0, 0, 0, 1]])
    data = np.random.default_rng(0).normal(size=(2, 12, 10, 8)).astype(np.float32)
    return CaseImage([Volume(data=channel, affine=affine) for channel in data])


def test_canonical_grid_runs_along_ras_and_lies_where_the_file_does(image: CaseImage) -> None:
    assert image.shape == (10, 8, 12)
    np.testing.assert_array_equal(image.affine[:3, :3], np.diag([1, 3, 1]))
    # The file's voxel (2, 3, 4) is the canonical one (9 - 3, 7 - 4, 2).
    np.testing.assert_allclose(image.affine @ (6, 3, 2, 1), image.channels[0].affine @ (2, 3, 4, 1))


def test_position_in_millimetres_becomes_a_canonical_voxel(image: CaseImage) -> None:
    millimetres = image.affine @ (6.25, 3.5, 2.0, 1.0)
    click = image.click_from_mm((millimetres[0], millimetres[1], millimetres[2]), positive=False)
    assert click.position == pytest.approx((6.25, 3.5, 2.0))
    assert not click.positive


def test_click_goes_into_a_configuration_and_back(image: CaseImage) -> None:
    click = Click(position=(6.0, 3.0, 2.0), positive=False)
    there = image.click_in_configuration(click, COARSE)
    # 10 x 8 x 12 voxels of 1 x 3 x 1 mm become 5 x 12 x 6 of 2 mm.
    assert tuple(image.in_configuration(COARSE).shape) == (5, 12, 6)
    assert there.position == pytest.approx((2.75, 4.75, 0.75))
    back = image.click_from_configuration(there, COARSE)
    assert back.position == pytest.approx(click.position)
    assert not back.positive


def test_configuration_reads_its_channel_and_resamples_once(image: CaseImage) -> None:
    second = COARSE.model_copy(update={"channel": 1})
    first = image.in_configuration(COARSE)
    assert image.in_configuration(COARSE.model_copy(update={"name": "other"})) is first
    assert not np.allclose(first, image.in_configuration(second))


def test_channel_that_the_image_lacks_is_named(image: CaseImage) -> None:
    with pytest.raises(SammoeError, match=r"'coarse' reads channel 2, but the image has 2 channel"):
        image.in_configuration(COARSE.model_copy(update={"channel": 2}))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((3, 4, 6), np.eye(4), "shape 3 x 4 x 6 instead of 3 x 4 x 5"),
        ((3, 4, 5), np.diag([1.0, 1.0, 2.0, 1.0]), "spacing 1 x 1 x 2 mm"),
        ((3, 4, 5), np.array([[1.0, 0, 0, 40], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "origin 40 mm away"),
        ((3, 4, 5), np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "axes turned by 180"),
    ],
)
def test_channels_on_different_grids_are_refused(
    shape: tuple[int, int, int], affine: NDArray[np.float64], message: str
) -> None:
    first = Volume(data=np.zeros((3, 4, 5), dtype=np.float32), affine=np.eye(4))
    with pytest.raises(SammoeError, match=f"Channel 1 .*{message}"):
        CaseImage([first, Volume(data=np.zeros(shape, dtype=np.float32), affine=affine)])


def test_infinite_voxels_count_as_0_coarse_and_fine() -> None:
    data = np.ones((6, 6, 6), dtype=np.float32)
    data[2, 2, 2], data[3, 3, 3] = np.inf, -np.inf
    for spacing_mm in (1.0, 0.5):
        seen = CaseImage([Volume(data=data, affine=np.eye(4))]).in_configuration(
            Configuration(name="any", spacing_mm=spacing_mm, patch_size=16)
        )
        window = seen.window((0, 0, 0), 16, 0.0) if isinstance(seen, Zoomed) else seen
        assert float(window.max()) == 1.0 and float(window.min()) == 0.0
