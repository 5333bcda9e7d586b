import numpy as np
import pytest
import torch

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.geometry import Shape, crop, resample_image
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.zoomed import Zoomed

SOURCE = np.random.default_rng(0).normal(0, 100, (7, 9, 5)).astype(np.float32)


@pytest.mark.parametrize("shape", [(14, 18, 10), (23, 9, 31), (7, 40, 6)])
@pytest.mark.parametrize("start", [(0, 0, 0), (3, 2, 1), (-4, -2, -7), (9, 12, 3), (50, 0, 0)])
def test_windows_are_those_of_the_whole_image_resampled(shape: Shape, start: Shape) -> None:
    whole = resample_image(torch.from_numpy(SOURCE), shape)
    expected = crop(whole, start, 8, pad_value=torch.nan)
    found = Zoomed(SOURCE, shape).window(start, 8, torch.nan)
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-5, atol=1e-4)


def test_a_missing_value_counts_as_zero() -> None:
    holed = SOURCE.copy()
    holed[2, 2, 2] = np.nan
    filled = np.nan_to_num(holed)
    zoomed = [Zoomed(source, (14, 18, 10)).window((0, 0, 0), 10, 0.0) for source in (holed, filled)]
    assert torch.equal(*zoomed)


def test_a_torso_at_the_spacing_of_a_mouse_takes_no_memory() -> None:
    case = CaseImage([Volume(data=np.zeros((100, 100, 100), dtype=np.int16), affine=np.diag([-3.0, -3.0, 3.0, 1.0]))])
    image = case.in_configuration(Configuration(name="fine", spacing_mm=0.05, patch_size=16))
    assert isinstance(image, Zoomed) and image.shape == (6000, 6000, 6000)
    assert image.window((3000, 3000, 3000), 16, torch.nan).shape == (16, 16, 16)
