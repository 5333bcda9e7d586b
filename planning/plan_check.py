"""Whether a plan, which may have been edited, belongs to the data."""

from __future__ import annotations

from sammoe_pipeline.artefacts import Plan, Splits
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.plan_check import contradictions_in
from sammoe_pipeline.raw_dataset import RawDataset


def check_plan(plan: Plan, raw: RawDataset, foundation: Foundation, splits: Splits, *, raw_digest: str) -> None:
    """Refuses a plan that does not belong to the data and the foundation, or that was edited into a contradiction.

    Raises:
        ArtefactError: all that is wrong, with what to do about it.
    """
    faults = []
    if plan.raw_digest != raw_digest:
        faults.append(f"the raw data of {raw.name} changed after planning. Add --replan to plan anew.")
    if plan.foundation_sha256 != foundation.card.sha256:
        faults.append(f"foundation '{foundation.card.name}' is not the one it was made for. Add --replan to plan anew.")
    if plan.num_folds != len(splits.folds):
        faults.append(f"num_folds is {plan.num_folds}, but there are {len(splits.folds)} folds. Add --replan.")
    faults += contradictions_in(plan, raw.labels)
    if faults:
        raise ArtefactError("\n".join([f"The plan for {raw.name} cannot be used:", *(f"  - {f}" for f in faults)]))
