import itertools
from itertools import pairwise

import pytest
import torch
from torch import nn

from sammoe_pipeline.training.optimisation import autocast, learning_rate_at, make_optimiser, rate_after_extension


def test_learning_rate_rises_over_the_first_three_hundredths() -> None:
    rates = [learning_rate_at(iteration, 100, 1.0) for iteration in range(4)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])


def test_learning_rate_falls_along_half_a_cosine_to_a_hundredth() -> None:
    rates = [learning_rate_at(iteration, 1000, 2.0) for iteration in (30, 515, 1000)]
    assert rates == pytest.approx([2.0, 2 * (0.01 + 0.99 / 2), 0.02])
    after = [learning_rate_at(iteration, 1000, 2.0) for iteration in range(30, 1000)]
    assert all(earlier >= later for earlier, later in itertools.pairwise(after))


def test_training_of_one_iteration_has_a_learning_rate() -> None:
    assert learning_rate_at(0, 1, 0.5) == 0.5


def test_weight_decay_spares_vectors_and_what_is_frozen() -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.LayerNorm(2), nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    optimiser = make_optimiser(model, 1e-3)
    shapes = {
        group["weight_decay"] > 0: [tuple(parameter.shape) for parameter in group["params"]]
        for group in optimiser.param_groups
    }
    assert shapes == {True: [(2, 1, 3, 3, 3), (2, 2)], False: [(2,), (2,), (2,), (2,)]}
    assert {group["lr"] for group in optimiser.param_groups} == {1e-3}


@pytest.mark.parametrize(("has_kernels", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_matrix_products_are_rounded_to_bfloat16_where_there_are_kernels(
    has_kernels: bool, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_kernels, raising=False)
    with autocast("cpu"):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == precision


def test_another_budget_is_taken_up_without_a_jump() -> None:
    low = learning_rate_at(99, 100, 1.0)
    rates = [rate_after_extension(i, 400, learning_rate_at(i, 400, 1.0), 100, low) for i in range(100, 400)]
    assert rates[0] < 0.1
    assert max(abs(a - b) for a, b in pairwise([low, *rates])) < 0.1
    assert rates[50] == learning_rate_at(150, 400, 1.0)
    assert all(0 < rate <= 1 for rate in rates)


def test_smaller_budget_than_was_used_stays_at_the_end_of_the_curve() -> None:
    assert learning_rate_at(300, 200, 1.0) == pytest.approx(0.01)


def test_build_without_the_library_of_such_kernels_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> bool:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_is_mkldnn_bf16_supported'")

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", ask, raising=False)
    with autocast("cpu"):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
