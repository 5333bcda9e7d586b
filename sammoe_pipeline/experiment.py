"""The command `sammoe_experiment`: the paper's experiment from nothing to the report, on the data that there is."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.commands.command import positive_int, run_command
from sammoe_pipeline.errors import UsageError, did_you_mean
from sammoe_pipeline.paths import (
    DATASET_JSON,
    EVALUATION,
    EXPERIMENT_JSON,
    FOUNDATION_JSON,
    PREPROCESSED,
    RAW,
    REPORT_HTML,
    RESULTS,
    Results,
    dataset_folder_name,
)
from sammoe_pipeline.run_stages import duration, run_stage, say

if TYPE_CHECKING:
    from sammoe_pipeline.experiment_card import Experiment

MIXTURE = "default"
DATA = "{data}"
"""Stands in options for the folder of downloads."""
_BUNDLED = Path(__file__).resolve().parent / "experiments"


def main(argv: list[str] | None = None) -> int:
    """`sammoe_experiment`: converts, plans, trains, joins and evaluates several datasets.

    Returns:
        The exit code: 0 when done, 1 when a stage failed.
    """
    names = sorted(path.stem for path in _BUNDLED.glob("*.json"))
    parser = argparse.ArgumentParser(
        prog="sammoe_experiment",
        description="Run the paper's experiment from nothing to the report: convert and plan several datasets, train "
        "an expert for each task in every fold, join them, and evaluate general expert, experts and mixture on what "
        "each fold held out. Each command is printed before it runs. Run again, it goes on where it stopped.",
        epilog="example: sammoe_experiment bundled --data downloads --folder experiment",
    )
    parser.add_argument(
        "experiment", metavar="NAME", help=f"{', '.join(names)}, or a JSON file of your own (copy one: see --show)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where the datasets lie as they were downloaded, a folder each"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work (default: ./sammoe_experiment_NAME)")
    parser.add_argument("--leave_out", nargs="+", default=[], metavar="DATASET", help="names of datasets to go without")
    parser.add_argument(
        "-f",
        nargs="+",
        metavar="FOLD",
        help="only train and evaluate these folds; the same command without it does the others later (default: all)",
    )
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=positive_int,
        default=1,
        metavar="N",
        help="experts to train at a time, each on a card or on a share of the processor of its own (default: 1)",
    )
    parser.add_argument("-device", choices=("cuda", "cpu"), help="default: cuda where there is one, else cpu")
    parser.add_argument("--show", action="store_true", help="only print the experiment and its commands")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _run(arguments, names))


def _run(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    from sammoe_pipeline.experiment_card import Experiment, ExperimentRun

    experiment = Experiment.load(_file(arguments.experiment, names)).without(arguments.leave_out)
    folder = arguments.folder or Path(f"sammoe_experiment_{Path(arguments.experiment).stem}")
    stages = _stages(experiment, folder, arguments)
    if arguments.show:
        say(experiment.model_dump_json(indent=2))
        for stage in stages:
            say(f"$ {shlex.join(stage)}")
        return
    _require_sources(experiment, arguments.data)
    record = folder / EXPERIMENT_JSON
    before = ExperimentRun.load(record) if record.is_file() else None
    if before is not None and before.experiment != experiment:
        raise UsageError(
            f"--folder {folder}: another experiment lies there (see {record}). Give it a folder of its own."
        )
    seconds = dict(before.seconds) if before is not None else {}
    for name, value in _settings(experiment, folder).items():
        say(f"export {name}={shlex.quote(value)}")
    for stage in stages:
        if _is_done(stage, experiment, folder):
            continue
        took = run_stage(stage, _settings(experiment, folder), whole="experiment")
        # A stage that went on where it had stopped took both times.
        seconds[shlex.join(stage)] = seconds.get(shlex.join(stage), 0.0) + took
        ExperimentRun(experiment=experiment, seconds=seconds).save(record)
    evaluation = Results(root=folder / RESULTS, foundation=experiment.foundation).mixture(MIXTURE) / EVALUATION
    say(f"\nThe table above with pictures: {evaluation / REPORT_HTML}")
    say(f"What was run, and how long it took: {record}")
    say(f"Everything took {duration(sum(seconds.values()))}.")


def _file(given: str, names: Sequence[str]) -> Path:
    """Returns the description of an experiment."""
    if given in names:
        return _BUNDLED / f"{given}.json"
    if Path(given).is_file():
        return Path(given)
    raise UsageError(
        f"{given} is neither a file nor an experiment.{did_you_mean(given, names)} There are: {', '.join(names)}."
    )


def _settings(experiment: Experiment, folder: Path) -> dict[str, str]:
    from sammoe_pipeline.foundations import DEFAULT_VARIABLE

    folders = {name: str(folder / name) for name in (RAW, PREPROCESSED, RESULTS)}
    return folders | {DEFAULT_VARIABLE: experiment.foundation}


def _stages(experiment: Experiment, folder: Path, arguments: argparse.Namespace) -> list[list[str]]:
    """Returns the commands, in order."""
    device = ["-device", arguments.device] if arguments.device else []
    some = ["-f", *arguments.f] if arguments.f else []
    numbers = [str(dataset.id) for dataset in experiment.datasets]
    data = arguments.data or Path("DATA")
    stages = [["sammoe_foundation", "download", experiment.foundation]] if experiment.download else []
    for dataset in experiment.datasets:
        source = ["-i", str(data / dataset.source)] if dataset.source else []
        further = [option.replace(DATA, str(data)) for option in dataset.convert]
        options = [*source, "-d", str(dataset.id), "-n", dataset.name, *further]
        stages.append(["sammoe_convert_dataset", dataset.format, *options])
    for dataset in experiment.datasets:
        folds = ["--num_folds", str(experiment.folds), "--seed", str(experiment.seed)]
        stages.append(["sammoe_plan_and_preprocess", "-d", str(dataset.id), *folds, *dataset.plan, *device])
        workers = ["-np", str(arguments.num_processes)]
        stages.append(["sammoe_train_expert", "-d", str(dataset.id), *some, *workers, *device])
    stages.append(["sammoe_train_gate", "-d", *numbers, *some, "-m", MIXTURE, "--seed", str(experiment.seed), *device])
    some_cases = [] if experiment.forgetting_cases is None else [str(experiment.forgetting_cases)]
    asked = ["--clicks", *map(str, experiment.clicks), "--seeds", str(experiment.seeds), "--forgetting", *some_cases]
    stages.append(["sammoe_evaluate", "-m", MIXTURE, *asked, *device])
    return stages


def _is_done(stage: Sequence[str], experiment: Experiment, folder: Path) -> bool:
    """Tells of the stages that refuse to run twice whether they have run; all others do only what is missing."""
    if stage[0] == "sammoe_foundation":
        places = Results(root=folder / RESULTS, foundation=experiment.foundation)
        return (places.foundation_folder / FOUNDATION_JSON).is_file()
    if stage[0] == "sammoe_convert_dataset":
        name = dataset_folder_name(int(stage[stage.index("-d") + 1]), stage[stage.index("-n") + 1])
        return (folder / RAW / name / DATASET_JSON).is_file()
    return False


def _require_sources(experiment: Experiment, data: Path | None) -> None:
    """Looks for all datasets before anything is begun.

    Raises:
        UsageError: some are not there.
    """
    wanted = [dataset for dataset in experiment.datasets if dataset.source]
    if not wanted:
        return
    listed = "".join(f"\n  - {dataset.source}: {dataset.obtained_from}" for dataset in wanted)
    if data is None:
        raise UsageError(f"--data is missing: the folder in which these datasets lie as they were downloaded.{listed}")
    missing = [dataset for dataset in wanted if dataset.source and not (data / dataset.source).is_dir()]
    if missing:
        listed = "".join(f"\n  - {dataset.source}: {dataset.obtained_from}" for dataset in missing)
        names = " ".join(dataset.name for dataset in missing)
        raise UsageError(
            f"--data {data}: these folders are not there. Put them there, or go without (--leave_out {names}).{listed}"
        )
