"""What prediction writes down beside the label maps."""

from __future__ import annotations

from sammoe_pipeline.artefacts import Artefact, Provenance, Record

RESEARCH_ONLY = "for research, not a medical device"


class PredictedTarget(Record):
    """What became of one class or target in one case."""

    name: str
    dataset: str | None
    value: int
    """In the label map."""
    prompt: str
    """"file" or "locator"."""
    clicks_voxel: tuple[tuple[float, float, float], ...]
    """In voxels of the input image."""
    chosen: str
    """Expert that answered, or "general"; "none" where nothing was written."""
    confidences: dict[str, float]
    windows: int
    volume_ml: float
    warnings: tuple[str, ...]


class PredictedCase(Record):
    """One image."""

    case: str
    seconds: float
    targets: tuple[PredictedTarget, ...]
    error: str | None = None


class Predictions(Artefact):
    """`predictions.json`."""

    note: str = RESEARCH_ONLY
    foundation: str
    foundation_sha256: str
    mixture: str | None
    labels: dict[str, int]
    """Values of the label maps by name."""
    not_attempted: tuple[str, ...]
    """Classes that have no locator and no prompt."""
    cases: tuple[PredictedCase, ...]
    provenance: Provenance
