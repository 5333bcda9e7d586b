"""What finetuning takes of memory."""

from __future__ import annotations

import pytest
import torch

from planning.memory import LiveBytes, Memory
from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation


def test_bytes_count_while_a_tensor_is_alive() -> None:
    with LiveBytes() as live, torch.device("meta"):
        kept = torch.zeros(1000)
        for _ in range(3):
            dropped = torch.zeros(500)
            del dropped
        views = kept.view(10, 100)[2:]
    assert live.most == 4 * 1500
    assert views.shape == (8, 100)


def test_what_is_kept_for_going_back_counts() -> None:
    weights = torch.zeros(100, 100, device="meta", requires_grad=True)
    with LiveBytes() as live:
        x = torch.zeros(100, device="meta")
        for _ in range(5):
            x = torch.tanh(weights @ x)
    assert live.most >= 4 * 100 * 6


def test_counting_on_shapes_and_on_numbers_gives_the_same(nano_foundation: Foundation) -> None:
    from planning.memory import _embed_and_step, _of_optimiser

    model = nano_foundation.load_model()
    with LiveBytes() as live:
        _embed_and_step(model, 2, "cpu")
    weights = sum(parameter.nbytes for parameter in model.parameters())
    counted = Memory(nano_foundation, 1.0, "cpu").needed_gb(model.patch_size, 2) * 1e9
    assert live.most + weights + _of_optimiser(model) == pytest.approx(counted, rel=0.1, abs=1e6)


def test_larger_windows_and_batches_need_more(nano_foundation: Foundation) -> None:
    memory = Memory(nano_foundation, 1.0, "cpu")
    assert memory.needed_gb(16, 1) <= memory.needed_gb(16, 4) < memory.needed_gb(32, 4) < memory.needed_gb(48, 4)


def test_a_window_that_does_not_fit_is_left_out_with_a_reason(nano_foundation: Foundation) -> None:
    memory = Memory(nano_foundation, 1.0, "cpu")
    small = Memory(nano_foundation, memory.needed_gb(16, 1), "cpu")
    assert small.fits(16) and not small.fits(48)
    remark = small.remark_on(Configuration(name="native_patch48", spacing_mm=1.0, patch_size=48))
    assert remark.startswith("native_patch48 was not tried: finetuning in windows of 48 voxels takes ")


def test_a_batch_is_as_large_as_fits_in_every_window(
    nano_foundation: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planning.memory._counted", lambda _, patch_size, batch_size: 1e7 * patch_size * batch_size)
    memory = Memory(nano_foundation, 1.0, "cpu")
    assert memory.largest_batch([16]) == 4  # more are not worth it
    assert memory.largest_batch([16, 48]) == 2


def test_too_little_memory_for_one_view_is_said_at_once(nano_foundation: Foundation) -> None:
    with pytest.raises(UsageError, match=r"-gpu_memory_target 1e-06: finetuning an expert of 'nano' takes .* at least"):
        Memory(nano_foundation, 1e-6, "cpu")


def test_what_a_card_cannot_hold_is_too_much_and_measured_once(
    nano_foundation: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(of: Foundation, patch_size: int, batch_size: int) -> int:
        asked.append((patch_size, batch_size))
        if patch_size > of.card.patch_size:
            raise torch.OutOfMemoryError
        return 10**9

    monkeypatch.setattr("planning.memory._measured", measured)
    memory, native = Memory(nano_foundation, 8.0, "cuda"), nano_foundation.card.patch_size
    assert [memory.fits(size) for size in (native, native, 2 * native, 2 * native)] == [True, True, False, False]
    assert asked == [(native, 1), (2 * native, 1)]
