"""What prediction writes down beside the label maps."""

from __future__ import annotations

from pydantic import Field

from sammoe_pipeline.artefacts import Artefact, Provenance, Record

RESEARCH_ONLY = "for research, not a medical device"


class PredictedTarget(Record):
    """What became of one class or target in one case."""

    name: str
    dataset: str | None
    value: int
    """In the label map."""
    prompt: str
    """"file", "mask" or "locator"."""
    clicks_voxel: tuple[tuple[float, float, float], ...]
    """In voxels of the input image."""
    chosen: str
    """Expert that answered, or "general"; "none" where nothing was written."""
    confidences: dict[str, float]
    """Of the gate, by expert; of the first thing where there are several."""
    spacing_mm: float | None = None
    """At which it was answered; None where nobody did."""
    windows: int
    """That were looked at."""
    volume_ml: float
    instances_ml: dict[str, float] = Field(default={})
    """With `--instances`, the volume of each thing by its value in `instances/CASE`."""
    agreement: dict[str, float] = Field(default={})
    """Dice of the answer with what clicks elsewhere in it give ("clicks"), with the general expert where an expert
    answered ("general"), and with the single folds where there are several ("folds"): in the window around the first
    click. Of several things, the lowest."""
    review: bool = False
    """Whether to look at the mask: the mean agreement is below 0.7."""
    warnings: tuple[str, ...]


class PredictedCase(Record):
    """One image."""

    case: str
    seconds: float
    device: str = ""
    """"cuda" or "cpu"; empty for a case that failed."""
    prompts_sha256: str | None = None
    """Of the file with its prompts."""
    files: tuple[str, ...] = ()
    """That were written, within the folder."""
    targets: tuple[PredictedTarget, ...]
    warnings: tuple[str, ...] = ()
    """Of the whole case."""
    error: str | None = None
    """Why it failed."""


class PredictionSettings(Record):
    """What decides label maps beside images and prompts; all parts of a prediction agree in it."""

    foundation_sha256: str
    """Of its weights."""
    mixture_sha256: str | None
    """Of the mixture's card, which names the weights of every expert and gate."""
    folds: tuple[int, ...]
    """Over which was averaged."""
    dataset: str | None
    """Whose classes were given out with its own values; None for all of the mixture's."""
    prompt: str
    """"file", "mask" or "locator"."""
    instances: bool = False
    """Whether each positive click was on a thing of its own."""
    precision: str
    """In which the image encoder computed."""
    save_probabilities: bool
    one_file_per_class: bool

    def contradictions(self, now: PredictionSettings) -> list[str]:
        """Returns a sentence for each setting that is another one now."""
        pairs = [(name, getattr(self, name), getattr(now, name)) for name in type(self).model_fields]
        return [f"{name} was {old}, and is {new} now" for name, old, new in pairs if old != new]


class Predictions(Artefact):
    """`predictions.json`, or `predictions_part_K_of_N.json` of one part."""

    note: str = RESEARCH_ONLY
    foundation: str
    foundation_sha256: str
    mixture: str | None
    settings: PredictionSettings
    labels: dict[str, int]
    """Values of the label maps by name."""
    not_attempted: tuple[str, ...]
    """Classes that have no locator and no prompt."""
    cases: tuple[PredictedCase, ...]
    provenance: Provenance
