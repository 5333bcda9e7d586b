import numpy as np
import torch

from sammoe_pipeline.training.warm_up import ellipsoids


def test_visible_parts_do_not_overlap_and_the_last_is_never_hidden() -> None:
    for seed in range(10):
        _, masks = ellipsoids(np.random.default_rng(seed), 24)
        assert 1 <= len(masks) <= 3
        assert np.sum(masks, axis=0).max() == 1
        assert masks[-1].any()


def test_ellipsoids_stand_out_from_the_ground() -> None:
    for seed in range(10):
        image, masks = ellipsoids(np.random.default_rng(seed), 24)
        ground = image.numpy()[~np.any(masks, axis=0)]
        assert abs(ground.mean()) < 0.05
        assert all(abs(image.numpy()[mask].mean()) > 0.4 for mask in masks if mask.sum() > 50)


def test_ellipsoids_depend_on_the_generator_alone() -> None:
    first, again = (ellipsoids(np.random.default_rng(4), 16) for _ in range(2))
    assert torch.equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
