from __future__ import annotations

import numpy as np

from dataset_conversion.phantoms.fields import add_noise, box_mm, grid_mm, smooth_field, warp


def test_smooth_field_has_mean_zero_and_variance_one_everywhere() -> None:
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_field(rng, (12, 10, 8), 3.0) for _ in range(600)])
    assert np.abs(fields.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(fields.std(axis=0), 1, atol=0.15)


def test_smooth_field_is_smooth_on_its_scale_along_each_axis() -> None:
    field = smooth_field(np.random.default_rng(0), (80, 80, 80), (2.0, 6.0, 18.0))
    roughness = [np.diff(field, axis=axis).std() for axis in range(3)]
    # a Gaussian kernel of scale s gives slopes of standard deviation 1 / (s sqrt 2)
    np.testing.assert_allclose(roughness, [1 / (s * np.sqrt(2)) for s in (2.0, 6.0, 18.0)], rtol=0.25)


def test_warp_moves_by_the_amplitude() -> None:
    grid = grid_mm((40, 40, 40), np.ones(3))
    warped = warp(np.random.default_rng(0), grid, amplitude_mm=3.0, scale=4.0)
    for before, after in zip(grid, warped, strict=True):
        assert after.shape == (40, 40, 40)
        assert 2.4 < (after - before).std() < 3.6


def test_grid_is_centred_and_spaced_in_mm() -> None:
    x, _, z = grid_mm((3, 4, 2), np.array([2.0, 1.0, 5.0]))
    np.testing.assert_allclose(x.ravel(), [-2, 0, 2])
    np.testing.assert_allclose(z.ravel(), [-2.5, 2.5])


def test_box_takes_the_first_corner_and_leaves_the_last() -> None:
    grid = grid_mm((5, 5, 5), np.full(3, 2.0))
    assert box_mm(grid, (-2, -np.inf, 1), (2, np.inf, 100)) == (slice(1, 3), slice(0, 5), slice(3, 5))


def test_noise_has_the_wanted_deviation_with_and_without_grain() -> None:
    blank = np.zeros((30, 30, 30), dtype=np.float32)
    for grain in (0.0, 0.8):
        noisy = add_noise(np.random.default_rng(0), blank, sigma=7.0, grain=grain)
        assert 6.8 < noisy.std() < 7.2
