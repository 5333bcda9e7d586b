"""Plans changed in memory, for measuring what else they might say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sammoe_pipeline.planned_dataset import PlannedDataset


def with_training(planned: PlannedDataset, **settings: Any) -> PlannedDataset:
    """Returns a dataset whose plan trains with other settings; the plan on disk stays."""
    training = planned.plan.training.model_copy(update=settings)
    return replace(planned, plan=planned.plan.model_copy(update={"training": training}))
