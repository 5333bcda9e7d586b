"""What an experiment is made of, as JSON that people write and read."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from sammoe_pipeline.artefacts import Artefact, Record
from sammoe_pipeline.errors import UsageError, did_you_mean


class ExperimentDataset(Record):
    """One dataset of an experiment."""

    id: int = Field(ge=1, le=999)
    """Of the converted dataset."""
    name: str
    """Of the converted dataset."""
    format: str
    """As `sammoe_convert_dataset` names it."""
    source: str | None = None
    """Folder of the download, within `--data`; null for phantoms, which are made up."""
    obtained_from: str = ""
    """Where it can be had, in words."""
    convert: tuple[str, ...] = ()
    """Further options of `sammoe_convert_dataset`; `{data}` stands for the folder that `--data` names."""
    plan: tuple[str, ...] = ()
    """Further options of `sammoe_plan_and_preprocess`."""


class Experiment(Artefact):
    """An experiment: foundation, datasets, folds and prompts, from which all commands follow."""

    title: str
    """What it is, in a sentence."""
    foundation: str
    """By name."""
    download: bool = False
    """Whether its weights are downloaded first."""
    folds: int = Field(ge=2)
    """Of each dataset."""
    seed: int = 0
    """Of folds, plans and gate."""
    clicks: tuple[int, ...]
    """Numbers of clicks to report; 0 is the locator's prompt."""
    seeds: int = Field(ge=1)
    """Draws of clicks."""
    forgetting_cases: int | None = Field(default=None, ge=1)
    """In how many held-out cases of each dataset and fold experts are asked about everybody's classes; null: all."""
    datasets: tuple[ExperimentDataset, ...] = Field(min_length=1)
    """Those whose classes the foundation does well stay general tasks; the others' tasks get experts, as planned."""

    def without(self, names: Sequence[str]) -> Experiment:
        """Returns the experiment without some datasets.

        Raises:
            UsageError: it has no such dataset, or none is left.
        """
        known = [dataset.name for dataset in self.datasets]
        for name in names:
            if name not in known:
                raise UsageError(
                    f"--leave_out {name}: there is no such dataset.{did_you_mean(name, known)} There are: "
                    f"{', '.join(known)}."
                )
        kept = tuple(dataset for dataset in self.datasets if dataset.name not in names)
        if not kept:
            raise UsageError("--leave_out: no dataset is left.")
        return self.model_copy(update={"datasets": kept})


class ExperimentRun(Artefact):
    """`experiment.json`: what was run in a folder, and how long it took."""

    experiment: Experiment
    """Without the datasets that were left out."""
    seconds: dict[str, float]
    """By command, all runs of it together."""
