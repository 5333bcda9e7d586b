import numpy as np
import pytest
import torch
from torch import Tensor

from sammoe_pipeline.normalisation import NORMALISATIONS, normalise_equalised, normalise_positive

NAN = float("nan")


@pytest.fixture
def window() -> Tensor:
    """Noise around two tissues, with an unknown rim."""
    torch.manual_seed(0)
    values = torch.randn(20, 20, 20) * 5 + 40
    values[:, :, 10:] += 60
    values[:3] = NAN
    return values


def test_positive_is_a_z_score_of_the_voxels_above_zero_applied_to_all() -> None:
    window = torch.tensor([-3.0, 0.0, 1.0, 2.0, 6.0]).reshape(5, 1, 1)
    expected = (window - 3.0) / torch.tensor([1.0, 2.0, 6.0]).std()
    torch.testing.assert_close(normalise_positive(window), expected)


def test_positive_counts_what_is_outside_as_zero() -> None:
    window = torch.tensor([NAN, 1.0, 2.0, 6.0]).reshape(4, 1, 1)
    torch.testing.assert_close(normalise_positive(window), normalise_positive(window.nan_to_num(nan=0.0)))


@pytest.mark.parametrize("value", [-1.0, 0.0, 5.0, NAN])
@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_flat_window_stays_finite(name: str, value: float) -> None:
    assert bool(NORMALISATIONS[name](torch.full((4, 4, 4), value)).isfinite().all())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_window_of_one_known_voxel_stays_finite(name: str) -> None:
    window = torch.full((4, 4, 4), NAN)
    window[0, 0, 0] = 7.0
    assert bool(NORMALISATIONS[name](window).isfinite().all())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_the_window_itself_is_not_changed(name: str, window: Tensor) -> None:
    before = window.clone()
    NORMALISATIONS[name](window)
    torch.testing.assert_close(window, before, equal_nan=True)


def test_equalised_is_a_z_score_over_what_is_known_and_zero_elsewhere(window: Tensor) -> None:
    result = normalise_equalised(window)
    known = ~window.isnan()
    assert float(result[known].mean()) == pytest.approx(0, abs=1e-5)
    assert float(result[known].std()) == pytest.approx(1, abs=1e-5)
    assert bool((result[~known] == 0).all())


def test_equalised_keeps_the_order_of_intensities(window: Tensor) -> None:
    known = ~window.isnan()
    order = window[known].argsort()
    assert bool((normalise_equalised(window)[known][order].diff() >= -1e-6).all())


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (0.01, 3.0), (1.0, -1024.0)])
def test_equalised_does_not_depend_on_the_scanners_units(window: Tensor, scale: float, offset: float) -> None:
    torch.testing.assert_close(
        normalise_equalised(window * scale + offset), normalise_equalised(window), atol=5e-3, rtol=0
    )


def test_equalised_gives_a_small_range_of_tissue_its_contrast_back() -> None:
    torch.manual_seed(0)
    window = torch.full((20, 20, 20), -1000.0) + torch.randn(20, 20, 20)
    window[5:10] = 40 + torch.randn(5, 20, 20)
    window[10:15] = 60 + torch.randn(5, 20, 20)
    window[15:16] = 2000 + torch.randn(1, 20, 20)
    result = normalise_equalised(window)
    plain = (window - window.mean()) / window.std()
    gap = float(result[10:15].mean() - result[5:10].mean())
    assert gap > 2 * float(plain[10:15].mean() - plain[5:10].mean())


def test_equalised_does_not_amplify_the_noise_of_a_large_background() -> None:
    torch.manual_seed(0)
    window = torch.randn(20, 20, 20) * 0.3
    tissue = window.new_zeros(window.shape, dtype=torch.bool)
    tissue[:2] = True
    window[tissue] = torch.linspace(100, 200, int(tissue.sum()))
    result = normalise_equalised(window)
    assert float(np.ptp(result[~tissue].numpy())) < float(np.ptp(result[tissue].numpy()))
