from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.training.prefetch import prefetch


@dataclass(frozen=True)
class _Numbers:
    """Batches that tell their iteration; the one numbered `broken` cannot be made."""

    broken: int = -1

    def __getitem__(self, iteration: int) -> tuple[int, Tensor]:
        if iteration == self.broken:
            raise TrainingError("nothing to learn")
        return iteration, torch.full((2, 3), float(iteration))


@pytest.mark.parametrize(("start", "workers"), [(0, 1), (4, 1), (0, 2)])
def test_batches_come_in_order_as_they_are_made_directly(start: int, workers: int) -> None:
    batches = list(prefetch(_Numbers(), range(start, 7), workers=workers, ahead=2))
    assert [iteration for iteration, _ in batches] == list(range(start, 7))
    torch.testing.assert_close(batches, [_Numbers()[iteration] for iteration in range(start, 7)])


def test_error_of_a_batch_arrives_as_it_was_raised() -> None:
    batches = iter(prefetch(_Numbers(broken=1), range(3)))
    assert next(batches)[0] == 0
    with pytest.raises(TrainingError, match="nothing to learn"):
        next(batches)
