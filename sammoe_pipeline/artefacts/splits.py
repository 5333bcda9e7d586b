"""Which cases each fold learns from, and which it holds out."""

from __future__ import annotations

from sammoe_pipeline.artefacts.base import Artefact, Record


class FoldSplit(Record):
    """One fold, by case name."""

    train: tuple[str, ...]
    """Cases to learn from."""
    calibration: tuple[str, ...]
    """Cases that choose among iterations and thresholds; never trained on."""
    val: tuple[str, ...]
    """Held out: read by evaluation alone."""


class Splits(Artefact):
    """`splits_final.json`: one entry a fold. May be replaced by hand; `sammoe_plan_and_preprocess`, run again before
    anything is trained, then checks it against the dataset and its patients."""

    folds: tuple[FoldSplit, ...]
    """Fold 0 first."""
