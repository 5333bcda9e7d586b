"""What passes between stages: frozen models, stored as JSON, checked on loading.

Every model is strict (no silent conversion), forbids unknown fields, and carries a schema version. Lengths are in mm
and counts in voxels where their name says so.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import ArtefactError, did_you_mean

A = TypeVar("A", bound="Artefact")


class Record(BaseModel):
    """A part of an artefact: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Artefact(Record):
    """A JSON file of its own."""

    schema_version: Literal[1] = 1

    def save(self, path: Path) -> None:
        """Writes the artefact atomically as indented JSON."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls: type[A], path: Path) -> A:
        """Reads and checks an artefact.

        Raises:
            ArtefactError: the file is missing or breaks the schema. All faults are named at once, with "did you mean"
                for misspelt fields.
        """
        if not path.is_file():
            raise ArtefactError(f"{path} does not exist. Run the stage that writes it first.")
        return cls.parse(path.read_bytes(), origin=str(path))

    @classmethod
    def parse(cls: type[A], content: bytes, *, origin: str) -> A:
        """Checks an artefact that has been read already.

        Args:
            content: the JSON.
            origin: where it comes from, for the message.

        Raises:
            ArtefactError: it breaks the schema, as in `load`.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            faults = "\n".join(f"  - {_explain(cls, fault['loc'], fault['msg'])}" for fault in error.errors())
            raise ArtefactError(f"{origin} is not a valid {cls.__name__}:\n{faults}") from error


def _explain(model: type[BaseModel], location: tuple[int | str, ...], message: str) -> str:
    if location == ("schema_version",):
        return f"schema_version: {message}. It was written by another version of this pipeline: update the older one."
    where = ".".join(str(part) for part in location) or "the file"
    hint = did_you_mean(str(location[-1]), model.model_fields) if location and "Extra inputs" in message else ""
    return f"{where}: {message}.{hint}"


class Provenance(Record):
    """How an artefact came to be."""

    versions: dict[str, str]
    """Installed versions of this pipeline and the packages that change numbers."""
    commit: str | None
    """Commit of the source tree, where it is one."""
    seed: int
    """Of everything random."""
    device: str
    """"cuda" or "cpu", and in which precision the image encoder computed where that is not float32."""
    threads: int
    """Threads of torch; results on a CPU are bit-identical at equal count."""


def provenance(*, seed: int, device: str, threads: int) -> Provenance:
    """Collects versions and the commit of the running code."""
    versions = {"python": platform.python_version()}
    for package in ("sammoe_pipeline", "torch", "numpy", "nnunetv2", "SimpleITK"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return Provenance(versions=versions, commit=_commit(), seed=seed, device=device, threads=threads)


def _commit() -> str | None:
    source = Path(__file__).resolve().parent
    if not (source.parent / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "-C", os.fspath(source), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class FoundationCard(Artefact):
    """`foundation.json`: what a foundation is and what it was trained on."""

    name: str
    """What it is called."""
    builder: str
    """Name in `sammoe_pipeline.model.BUILDERS`."""
    spacing_mm: float = Field(gt=0)
    """Native isotropic spacing."""
    patch_size: int = Field(gt=0)
    """Voxels a side of the input."""
    normalisation: Literal["positive", "equalised"]
    """Name in `sammoe_pipeline.normalisation.NORMALISATIONS`."""
    prompt_history: Literal["all"] = "all"
    """Which clicks each decoding gets beside the previous logits: all so far, as in the public inference. A card that
    wants another history is refused, since its foundation would be prompted in a way that it does not know."""
    trained_on: tuple[str, ...]
    """Datasets whose cases it has seen, as `DatasetXXX_Name: class, class, ...`."""
    sha256: str
    """Of the weights file."""
    licence: str
    """Of the weights, as an SPDX identifier where there is one."""
    source: str
    """Where it came from: an address, or the command that trained it."""
    iterations: int = 0
    """Optimiser steps that it was trained for; 0 where that is not known."""
    for_research_only: bool = True
    """Whether it is meant for learning and tests rather than for real scans."""
    provenance: Provenance | None = None
    """What trained it; None for weights from elsewhere."""


class CaseFingerprint(Record):
    """One case as its headers and labels show it."""

    case: str
    """Name of the case."""
    shape: tuple[int, int, int]
    """Voxels along the file's own axes."""
    spacing_mm: tuple[float, float, float]
    """Distance between voxels along the file's own axes."""
    orientation: str
    """Nearest anatomical code of the file's axes, such as "LPS"."""
    nonzero_shape: tuple[int, int, int] | None = None
    """Voxels along the file's own axes of the smallest box outside which every channel is 0."""
    classes: tuple[str, ...] = ()
    """Classes that the case contains."""


class ClassFingerprint(Record):
    """One class over all training cases that have it."""

    cases: int
    """Cases that contain the class."""
    components: float
    """Median number of connected components a case; specks below 1 % of the class are not counted."""
    volume_mm3: float
    """Median volume."""
    extent_mm: tuple[float, float, float]
    """Median size of the bounding box along RAS axes."""
    thickness_mm: float
    """Median over cases of the largest inscribed ball's diameter."""
    border_mm: float = 0.0
    """Median distance from the bounding box to the nearest face of the image; 0 where images cut the class off."""
    intensities: tuple[float, ...] = ()
    """By channel, median over cases of the mean within the class: 0 is the mean of all classes of the case together,
    1 their standard deviation above it."""
    contrasts: tuple[float, ...] = ()
    """By channel, median over cases of the distance between the means within the class and in the two voxels around
    it, in their common standard deviation (Cohen's d). Below about 1 the border is hard to see."""
    partner: str | None = None
    """Class of the other side, by name."""
    alike: tuple[str, ...] = ()
    """Classes with about the same intensity in every channel and the same thickness: only their place tells them
    apart."""


class ChannelFingerprint(Record):
    """Intensities of one channel within the foreground, sampled."""

    name: str
    """As `dataset.json` has it."""
    mean: float
    """Mean intensity."""
    std: float
    """Standard deviation."""
    median: float
    """Median intensity."""
    percentile_00_5: float
    """Intensity that 0.5 % of the voxels lie below."""
    percentile_99_5: float
    """Intensity that 99.5 % of the voxels lie below."""
    lowest: float | None = None
    """Lowest intensity of the sample."""
    highest: float | None = None
    """Highest intensity of the sample."""


class DatasetFingerprint(Artefact):
    """`dataset_fingerprint.json`: what a dataset is like, from a pass over its training cases."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    cases: tuple[CaseFingerprint, ...]
    """Every training case."""
    classes: dict[str, ClassFingerprint]
    """By class."""
    channels: tuple[ChannelFingerprint, ...]
    """In the order of `dataset.json`."""
    nonzero_share: float | None = None
    """Median over cases of the share of the image's voxels that lies in the box of `nonzero_shape`."""
    raw_digest: str
    """SHA-256 over names, sizes and modification times of the raw files: tells whether they changed."""


class Configuration(Record):
    """A way to show a case to the network."""

    name: str
    """`native` is the foundation's own spacing; others are named by their spacing."""
    spacing_mm: float = Field(gt=0)
    """Isotropic spacing that images are resampled to."""
    patch_size: int = Field(gt=0)
    """Voxels a side of the window; a multiple of the encoder's stride."""
    channel: int = Field(ge=0, default=0)
    """Which channel of the image is read."""


class CandidateEvidence(Record):
    """How one configuration did for one class."""

    ceiling: float
    """Mean Dice of the label drawn on the decoder's mask grid, and back: what the grid alone costs."""
    dice: float | None
    """Mean Dice of the general expert at one click; None where the ceiling alone ruled the candidate out."""
    dice_by_case: tuple[float, ...]
    """The same case by case, in the order of `measured_on`."""
    seconds: float | None = None
    """Median time of an answer of the general expert, embedding the image included where it was first looked at."""


class ClassPlan(Record):
    """What is to happen to one class."""

    configuration: str
    """Configuration in which it is segmented, by its expert or by the general one."""
    target: Literal["class", "component"]
    """What one click points at."""
    task: str | None
    """Task whose expert serves the class: one of this plan, or `DatasetXXX_Name/task` where another dataset's expert is
    good enough; None leaves it to the general expert."""
    reason: str
    """Why, in words."""
    evidence: dict[str, CandidateEvidence]
    """By configuration name."""
    measured_on: tuple[str, ...] = ()
    """Cases of fold 0's `train` that the evidence comes from."""
    experts: dict[str, float] = {}
    """Mean Dice at one click of each candidate expert in the chosen configuration, on the same cases."""


class Budget(Record):
    """How long something is trained."""

    views: int
    """Embedded views a fold."""
    iterations: int
    """Optimiser steps."""


class Task(Record):
    """The classes that one expert serves, in one configuration."""

    name: str
    """Of the task and its expert."""
    classes: tuple[str, ...]
    """Classes that the expert serves."""
    configuration: str
    """Configuration that the expert is finetuned in."""
    start_from: str
    """Decoder that finetuning starts from, the best of those that were tried: "general", or `DatasetXXX_Name/task`; or
    "scratch", for random weights, where that was asked for."""
    budget: Budget
    """Of its expert, by the number of its targets."""


Grouping = Literal["by_scale", "one_each", "one"]


class CandidateExpert(Record):
    """An expert of another dataset that planning tried."""

    expert: str
    """`DatasetXXX_Name/task`."""
    fold: int
    """Its fold that was tried, and that finetuning starts from."""
    sha256: str
    """Of that fold's weights."""


class Training(Record):
    """How all experts of a dataset are trained, and its locator."""

    batch_size: int
    """Views a step."""
    learning_rate: float
    """Highest; it rises at first and then falls along half a cosine."""
    interactions: int
    """Simulated clicks a training target gets, one after another."""
    mirror_axes: tuple[int, ...]
    """Canonical axes (0 = left-right) along which views are flipped."""
    negatives: float = Field(ge=0, lt=1, default=0.0)
    """Share of an expert's views whose click is beside the structure, or in a case without it: the answer is empty."""
    mask_prompts: float = Field(ge=0, le=1, default=0.0)
    """Share of an expert's prompts that begin with a coarse mask of the target."""
    box_prompts: float = Field(ge=0, le=1, default=0.0)
    """Share of an expert's prompts that begin with a box around the target. What is left begins with a click alone."""


class Plan(Artefact):
    """`sammoe_plan.json`: everything that changes results, and why. May be edited by hand; it is checked on loading."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    configurations: dict[str, Configuration]
    """By name; every one that a class, a task or the locator uses."""
    classes: dict[str, ClassPlan]
    """By class."""
    tasks: tuple[Task, ...]
    """One expert each."""
    grouping: Grouping = "by_scale"
    """Which classes share a new expert: those of one configuration and similar thickness, none, or all."""
    candidate_experts: tuple[CandidateExpert, ...] = ()
    """Experts that were finished when the plan was made, and tried."""
    remarks: tuple[str, ...] = ()
    """What to know before the evidence is believed."""
    locator_configuration: str
    """Configuration in which the locator looks for all classes."""
    locator_budget: Budget
    """Of the locator, by the number of cases."""
    training: Training
    """What all experts and the locator have in common."""
    memory_target_gb: float | None = None
    """Gigabytes that finetuning may take on the device that computes: it bounds windows and batches."""
    memory_gb: dict[str, float] = {}
    """By configuration, the gigabytes that finetuning an expert takes at most with this batch size, one copy of the
    network included: measured on the card where there was one, else counted from shapes in float32."""
    expert_threshold: float
    """A class with at least this Dice by the general expert, or else by a candidate expert, needs no new one."""
    num_folds: int
    """How many folds the cases are split into."""
    seed: int
    """Of splits, views and initial weights."""
    raw_digest: str
    """The fingerprint's, to notice raw data that changed after planning."""


class FoldSplit(Record):
    """One fold, by case name."""

    train: tuple[str, ...]
    """Cases to learn from."""
    calibration: tuple[str, ...]
    """Cases that choose among iterations and thresholds; never trained on."""
    val: tuple[str, ...]
    """Held out: read by evaluation alone."""


class Splits(Artefact):
    """`splits_final.json`: one entry a fold. May be replaced by hand; it is checked against the dataset."""

    folds: tuple[FoldSplit, ...]
    """Fold 0 first."""


class CaseProperties(Artefact):
    """`CASE.json`: what a preprocessed case was made from, and where its classes lie."""

    case: str
    """Name of the case."""
    source_digest: str
    """Digest of the raw files and the configuration: a case is made again when it differs."""
    file_shape: tuple[int, int, int]
    """Voxels along the file's own axes."""
    affine: tuple[tuple[float, ...], ...]
    """4 x 4, file voxel to RAS+ mm."""
    canonical_shape: tuple[int, int, int]
    """Voxels along RAS axes, before resampling."""
    shape: tuple[int, int, int]
    """Of the preprocessed arrays."""
    class_voxels: dict[str, int]
    """Voxels of each class in the preprocessed label map."""
    class_locations: dict[str, tuple[tuple[int, int, int], ...]]
    """Up to 64 voxels a class where views may be centred: most by the rule of clicks, some anywhere in the class."""


class ExpertCard(Artefact):
    """`expert.json` of one fold: what the expert serves and what it belongs to."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    task: str
    """Task of the plan."""
    classes: tuple[str, ...]
    """Classes that it serves."""
    configuration: Configuration
    """In which it sees images."""
    fold: int
    """Which fold it was trained on."""
    start_from: str
    """Decoder that finetuning started from."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    recipe: str
    """SHA-256 of what decided the training: foundation, task, configuration, budget and split."""
    sha256: str
    """Of `expert.safetensors`."""
    iterations: int
    """Optimiser steps."""
    best_iteration: int
    """Whose weights were kept: the best on the calibration cases."""
    calibration_dice: dict[str, float]
    """Mean Dice by class at one click on the fold's calibration cases, at the kept iteration."""
    general_calibration_dice: dict[str, float]
    """The same by the general expert in the same configuration."""
    calibration_by_clicks: dict[str, dict[str, float]] = {}
    """The same by number of clicks, then by class."""
    general_calibration_by_clicks: dict[str, dict[str, float]] = {}
    """The same by the general expert in the same configuration."""
    unfrozen: Literal["nothing", "neck", "all"] = "nothing"
    """Which part of the image encoder was trained too. Only what left it frozen can join a mixture."""
    stopped_early: bool = False
    """Whether training ended before its budget, since the calibration cases had long been no better."""
    memory_mb: float = 0.0
    """Most memory that training held, of the card where it was on one, else of the process; 0 where it is not known."""
    seconds: float
    """How long it took."""
    provenance: Provenance
    """What made it, with which versions."""


class LocatorCard(Artefact):
    """`locator.json` of one fold."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    classes: tuple[str, ...]
    """Classes that it looks for, in the order of its outputs."""
    configuration: Configuration
    """In which it sees images."""
    fold: int
    """Which fold it was trained on."""
    foundation: str
    """Name of the foundation."""
    foundation_sha256: str
    """Of the foundation's weights; an artefact of other weights is refused."""
    recipe: str
    """SHA-256 of what decided the training: foundation, classes, configuration, budget and split."""
    sha256: str
    """Of the weights file."""
    thresholds: dict[str, float]
    """By class: peak probability below which the class is taken to be absent, from the calibration cases."""
    calibration_hits: dict[str, float]
    """By class: share of the calibration cases with the class in which the locator's click falls into it."""
    longest_mm: float
    """Longest side of the images that it learnt from, in millimetres."""
    iterations: int
    """Optimiser steps."""
    seconds: float
    """How long it took."""
    provenance: Provenance
    """What made it, with which versions."""


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
    threshold: float
    """Confidence from which an expert answers."""
    top_k: int
    """At most this many experts answer together."""
    max_general_loss: float
    """Mean Dice that general tasks were allowed to lose on the calibration cases, in points of 100."""
    calibration: tuple[CalibrationPoint, ...]
    """What each threshold that was tried did."""
    calibration_patients: int
    """Patients on whom it was measured what general tasks lose."""
    seconds: float
    """How long it took."""
    provenance: Provenance
    """What made it, with which versions."""
