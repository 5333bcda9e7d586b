"""The card of a mixture: its datasets, experts, gate and output values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from sammoe_pipeline.artefacts.base import Artefact, Record
from sammoe_pipeline.artefacts.configuration import Configuration
from sammoe_pipeline.artefacts.origin import Provenance


class LabelEntry(Record):
    """One row of a mixture's append-only table of output values."""

    value: int
    """Of its voxels in an output for the whole mixture."""
    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    name: str
    """Class name in its dataset."""


class MixtureExpert(Record):
    """An expert as a member of a mixture."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    task: str
    """Task of its plan."""
    classes: tuple[str, ...]
    """Classes that it serves."""
    configuration: Configuration
    """In which it sees images."""
    sha256: dict[str, str]
    """By mixture fold: of the expert weights that serve it."""
    expert_fold: dict[str, int]
    """By mixture fold: the expert's own fold."""
    threshold: float
    """Confidence from which it answers; experts of one dataset have one together."""


class MixtureDataset(Record):
    """A dataset as a member of a mixture."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    num_folds: int
    """How many folds it is split into."""
    held_out_folds: tuple[int, ...]
    """Mixture folds in which this dataset's `val` cases are held out."""
    configurations: dict[str, Configuration]
    """By class: the configuration in which it is segmented."""
    values: dict[str, int]
    """By class: the value that its voxels get in an output for this dataset alone."""
    nested: bool
    """Whether its classes are nested regions: later ones are written over earlier ones, instead of competing."""
    targets: dict[str, Literal["class", "component"]]
    """By class: what one click points at."""
    experts: dict[str, str]
    """By class: `DatasetXXX_Name/task` of the expert that serves it; without those of the general expert."""
    locator_configuration: Configuration | None
    """In which the locator looks; None without one."""
    thresholds: dict[str, float]
    """By class: peak of the locator's probability from which the class counts as present, averaged over folds."""
    locator_longest_mm: float | None = None
    """Longest side of the images that its locators learnt from, in millimetres; None without one."""
    locator_sha256: dict[str, str]
    """By mixture fold; empty where the dataset has no trained locator."""
    locator_fold: dict[str, int]
    """By mixture fold: the locator's own fold."""
    routing_sha256: str | None = None
    """Of its routing set, from which a gate can be fitted without the data; None where no gate was."""
    routing_clicks: int = 0
    """Clicks in its routing set."""


class CalibrationPoint(Record):
    """One threshold and what it did on the calibration cases."""

    threshold: float
    """Confidence from which experts answered."""
    mean_dice: float
    """Mean over classes of what the mixture reached."""
    general_loss: float
    """Mean Dice lost on targets of the general expert, at least 0."""
    expert_share: float
    """Share of targets that an expert answered."""


class MixtureCard(Artefact):
    """`mixture.json`: foundation, experts, gate and the rule that joins them."""

    name: str
    """What it is called."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    folds: tuple[int, ...]
    """Mixture folds that a gate was trained for."""
    datasets: tuple[MixtureDataset, ...]
    """Its members."""
    experts: tuple[MixtureExpert, ...]
    """In the gate's order."""
    labels: tuple[LabelEntry, ...]
    """Values of outputs for the whole mixture. A value given out once keeps its meaning when datasets join or leave."""
    gate_sha256: dict[str, str]
    """By fold."""
    top_k: int
    """At most this many experts answer together."""
    max_general_loss: float
    """Mean Dice that general tasks were allowed to lose on the calibration cases, in points of 100."""
    general_loss: float | None = None
    """Mean Dice that they lost there at the experts' thresholds, 0 to 1; None where it was not measured."""
    calibration: tuple[CalibrationPoint, ...]
    """What each threshold does that all experts have together."""
    calibration_patients: int
    """Patients on whom it was measured what general tasks lose."""
    seconds: float
    """How long it took."""
    seconds_by_step: dict[str, float] = Field(default_factory=dict)
    """The same for describing clicks, fitting gates and calibrating thresholds; empty where packages were joined."""
    provenance: Provenance
    """What made it, with which versions."""

    @property
    def thresholds(self) -> dict[str, float]:
        """Confidence from which the experts of each dataset answer."""
        return {expert.dataset: expert.threshold for expert in self.experts}


def thresholds_in_words(thresholds: Mapping[str, float]) -> str:
    """Returns the thresholds of datasets in a line.

    >>> thresholds_in_words({"Dataset004_Hippocampus": 0.35, "Dataset901_Torso": 0.7})
    'Dataset004_Hippocampus 0.35, Dataset901_Torso 0.7'
    """
    return ", ".join(f"{dataset} {threshold:g}" for dataset, threshold in thresholds.items()) or "none"
