import numpy as np
import pytest
import torch
from torch import Tensor

from sammoe_pipeline.training.augmentation import augment, low_resolution, noise, recolour, shading


@pytest.fixture
def image() -> Tensor:
    """A random image of 12 voxels a side, unknown in a corner."""
    values = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(0))
    values[:4, :5, :6] = torch.nan
    return values


def _same(first: Tensor, second: Tensor) -> bool:
    return torch.equal(first.nan_to_num(nan=1e6), second.nan_to_num(nan=1e6))


def test_unknown_voxels_stay_the_unknown_ones(image: Tensor) -> None:
    for seed in range(20):
        changed = augment(image, np.random.default_rng(seed))
        assert torch.equal(torch.isnan(changed), torch.isnan(image))


def test_strength_zero_changes_nothing(image: Tensor) -> None:
    for seed in range(20):
        assert _same(augment(image, np.random.default_rng(seed), strength=0.0), image)


def test_result_depends_on_the_generator_alone(image: Tensor) -> None:
    results = [augment(image, np.random.default_rng(seed)) for seed in range(20)]
    again = [augment(image, np.random.default_rng(seed)) for seed in range(20)]
    assert all(_same(first, second) for first, second in zip(results, again, strict=True))
    assert sum(not _same(result, image) for result in results) > 10


def test_image_given_is_left_as_it_was(image: Tensor) -> None:
    before = image.clone()
    for seed in range(20):
        augment(image, np.random.default_rng(seed))
    assert _same(image, before)


@pytest.mark.parametrize("value", [3.0, float("nan")])
def test_image_without_contrast_is_left_alone(value: float) -> None:
    flat = torch.full((6, 6, 6), value)
    for seed in range(20):
        assert _same(augment(flat, np.random.default_rng(seed)), flat)


def test_recoloured_labels_get_intensities_of_their_own() -> None:
    labels = torch.zeros(16, 16, 16, dtype=torch.int16)
    labels[:8], labels[8:, 8:] = 1, 5
    image = torch.randn(16, 16, 16)
    for seed in range(5):
        out = recolour(image, labels, np.random.default_rng(seed))
        # Away from borders, which blurring mixes.
        means = [out[2:6].mean(), out[10:14, 2:6].mean(), out[10:14, 10:14].mean()]
        colours = np.random.default_rng(seed).uniform(0, 1, size=3)[[1, 0, 2]]
        np.testing.assert_allclose(means, colours, atol=0.05)


def test_recoloured_image_keeps_unknown_voxels(image: Tensor) -> None:
    labels = torch.where(torch.isnan(image), -1, 2).to(torch.int16)
    labels[8:] = 4
    out = recolour(image, labels, np.random.default_rng(0))
    assert torch.equal(torch.isnan(out), torch.isnan(image))


def test_low_resolution_keeps_what_is_smooth_and_removes_what_is_fine() -> None:
    x = torch.arange(24.0)
    ramp, checks = x[:, None, None].expand(24, 24, 24), ((x[:, None, None] + x[:, None] + x) % 2) * 2 - 1
    inside = (slice(4, 20),) * 3
    torch.testing.assert_close(low_resolution(ramp, 2.0)[inside], ramp[inside])
    assert low_resolution(checks, 2.0).abs().max() < 0.1


def test_unknown_voxels_do_not_spread_by_low_resolution(image: Tensor) -> None:
    assert torch.equal(torch.isnan(low_resolution(image, 2.5)), torch.isnan(image))


def test_noise_has_unit_deviation() -> None:
    drawn = noise((20, 20, 20), np.random.default_rng(0))
    assert drawn.mean().abs() < 0.05
    assert drawn.std().item() == pytest.approx(1.0, abs=0.05)


def test_shading_is_smooth_beside_its_size() -> None:
    field = shading((20, 20, 20), np.random.default_rng(0))
    assert field.shape == (20, 20, 20)
    assert field.diff(dim=0).abs().max() < 0.25 * (field.max() - field.min())
