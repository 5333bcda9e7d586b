"""Every folder and file name of the pipeline. No other module spells one."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.errors import DatasetNotFoundError, UsageError, did_you_mean

logger = logging.getLogger(__name__)

RAW, PREPROCESSED, RESULTS, HOME = "sammoe_raw", "sammoe_preprocessed", "sammoe_results", "sammoe_home"
NNUNET_RAW = "nnUNet_raw"

DATASET_JSON = "dataset.json"
PATIENTS_JSON = "patients.json"
CONVERSION_REPORT, CONVERSION_PROGRESS = "conversion_report.json", ".conversion"
IMAGES_TR, LABELS_TR, IMAGES_TS, LABELS_TS = "imagesTr", "labelsTr", "imagesTs", "labelsTs"
FINGERPRINT_JSON = "dataset_fingerprint.json"
SPLITS_JSON = "splits_final.json"
GT_SEGMENTATIONS = "gt_segmentations"
PLAN_JSON = "sammoe_plan.json"

FOUNDATIONS, DOWNLOADS = "foundations", ".downloads"
FOUNDATION_JSON, FOUNDATION_WEIGHTS = "foundation.json", "weights.safetensors"
EXPERT_JSON, EXPERT_WEIGHTS = "expert.json", "expert.safetensors"
LOCATOR, LOCATOR_JSON, LOCATOR_WEIGHTS = "locator", "locator.json", "locator.safetensors"
MIXTURES, MIXTURE_JSON, GATE_WEIGHTS = "mixtures", "mixture.json", "gate.safetensors"
CALIBRATION_PNG = "calibration.png"
ROUTING, ROUTING_SET = "routing", "routing.safetensors"
CHECKPOINT, TRAINING_LOG, PROGRESS_PNG = "checkpoint_latest.pt", "training_log.csv", "progress.png"
EXAMPLES_PNG, EMBEDDINGS, DESCRIBED_CLICKS = "examples.png", "embeddings", "described_clicks"
EVALUATION, SUMMARY_JSON, CASES_CSV, ROUTING_CSV = "evaluation", "summary.json", "cases.csv", "routing.csv"
EXPERTS_CSV, FINISHED_CASES = "experts.csv", "finished"
REPORT_HTML = "report.html"
PREDICTIONS_JSON, MASKS, PROBABILITIES, INSTANCES = "predictions.json", "masks", "probabilities", "instances"
MANIFEST_JSON = "manifest.json"
EXPERIMENT_JSON = "experiment.json"

_DATASET_NAME = re.compile(r"^Dataset(\d{3})_([A-Za-z0-9][A-Za-z0-9_\-]*)$")


@dataclass(frozen=True)
class Folders:
    """The three roots that every stage reads from and writes to."""

    raw: Path
    preprocessed: Path
    results: Path


def find_folders(
    *, raw: str | None = None, preprocessed: str | None = None, results: str | None = None, create: bool = True
) -> Folders:
    """Finds the three roots: a flag wins over its environment variable, and that over a folder under `sammoe_home`.

    Where none of these is set, `nnUNet_raw` serves for raw datasets, since the format is the same, and what is still
    missing falls back to `~/sammoe`. What nobody set is logged.

    Args:
        raw: value of the command's `--raw` flag, if given; likewise `preprocessed` and `results`.
        create: make folders that do not exist.

    Raises:
        UsageError: a root is an existing file.
    """
    return Folders(
        raw=_root(raw, RAW, create=create, instead=NNUNET_RAW),
        preprocessed=_root(preprocessed, PREPROCESSED, create=create),
        results=find_results(results, create=create),
    )


def find_results(results: str | None = None, *, create: bool = True) -> Path:
    """Finds the results root alone, as `find_folders` does.

    Raises:
        UsageError: it is an existing file.
    """
    return _root(results, RESULTS, create=create)


def _root(flag: str | None, variable: str, *, create: bool, instead: str = "") -> Path:
    folder = _folder(flag) or _folder(os.environ.get(variable))
    if folder is None and (home := _folder(os.environ.get(HOME))):
        folder = home / variable
    if folder is None and (folder := _folder(os.environ.get(instead))):
        logger.warning("%s is not set: using %s=%s", variable, instead, folder)
    if folder is None:
        folder = Path.home() / "sammoe" / variable
        logger.warning("%s is not set: using %s (set %s or %s to choose another)", variable, folder, variable, HOME)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{variable}={folder} is a file. Set {variable} to a folder.")
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(value: str | None) -> Path | None:
    """Returns the folder that a flag or variable names, without quotes that a shell left around it, or None."""
    name = (value or "").strip("'\" ")
    return Path(name).expanduser() if name else None


def dataset_folder_name(dataset_id: int, name: str) -> str:
    """Returns the folder name of a dataset, such as `Dataset004_Hippocampus`.

    Raises:
        UsageError: the ID is outside 1..999, or the name has characters that a folder name should not have.
    """
    if not 1 <= dataset_id <= 999:
        raise UsageError(f"-d {dataset_id}: dataset IDs go from 1 to 999.")
    folder = f"Dataset{dataset_id:03d}_{name}"
    if not is_dataset_folder(folder):
        raise UsageError(f"-n {name!r}: a dataset name has letters, digits, '_' and '-' only and begins with no sign.")
    return folder


def is_dataset_folder(name: str) -> bool:
    """Tells whether a folder's name is that of a dataset, such as `Dataset004_Hippocampus`."""
    return _DATASET_NAME.fullmatch(name) is not None


def find_dataset(root: Path, dataset: int | str) -> str:
    """Finds a dataset's folder name by ID (`4`, `"004"`) or name (`"Dataset004_Hippocampus"`, `"Hippocampus"`).

    Raises:
        DatasetNotFoundError: none matches; the message lists what is there and the nearest name.
        UsageError: two folders share the ID.
    """
    wanted = str(dataset).strip("'\" ")
    known = sorted(p.name for p in root.iterdir() if p.is_dir() and is_dataset_folder(p.name)) if root.is_dir() else []
    if wanted.isdigit():
        found = [name for name in known if name.startswith(f"Dataset{int(wanted):03d}_")]
    else:
        found = [name for name in known if wanted in (name, name.split("_", 1)[1])]
    if len(found) > 1:
        raise UsageError(f"{root} has several datasets for {wanted}: {', '.join(found)}. Rename or remove all but one.")
    if not found:
        there = f"There are: {', '.join(known)}." if known else "It holds no dataset at all."
        hint = did_you_mean(wanted, [*known, *(name.split("_", 1)[1] for name in known)])
        raise DatasetNotFoundError(
            f"No dataset '{wanted}' in {root}. {there}{hint} Convert one with sammoe_convert_dataset, or point the "
            f"folder's environment variable or flag elsewhere."
        )
    return found[0]


def predictions_json(num_parts: int, part_id: int) -> str:
    """Returns the name of the record of a prediction, or of one of its parts.

    >>> predictions_json(1, 0), predictions_json(4, 1)
    ('predictions.json', 'predictions_part_1_of_4.json')
    """
    plain = Path(PREDICTIONS_JSON)
    return plain.name if num_parts == 1 else f"{plain.stem}_part_{part_id}_of_{num_parts}{plain.suffix}"


def all_predictions_json(folder: Path) -> list[Path]:
    """Lists the records of predictions in a folder of label maps, those of parts included."""
    plain = Path(PREDICTIONS_JSON)
    return sorted([*folder.glob(plain.name), *folder.glob(f"{plain.stem}_part_*{plain.suffix}")])


def fold_name(fold: int) -> str:
    """Returns the name of a fold's folder."""
    return f"fold_{fold}"


def safe_name(words: str) -> str:
    """Makes a class or task name safe as a folder name: letters, digits, `_` and `-`; never empty, never hidden.

    >>> safe_name("left kidney (cyst)")
    'left_kidney_cyst'
    """
    return re.sub(r"[^A-Za-z0-9_\-]+", "_", words).strip("_-") or "unnamed"


@dataclass(frozen=True)
class PreprocessedDataset:
    """Where a preprocessed dataset keeps what it has.

    Args:
        root: `sammoe_preprocessed`.
        dataset: folder name, such as `Dataset004_Hippocampus`.
        foundation: name of the foundation that it was planned for.
    """

    root: Path
    dataset: str
    foundation: str

    @property
    def folder(self) -> Path:
        """The dataset's folder, shared by all foundations."""
        return self.root / self.dataset

    @property
    def dataset_json(self) -> Path:
        """Copy of the raw `dataset.json`."""
        return self.folder / DATASET_JSON

    @property
    def fingerprint(self) -> Path:
        """The `dataset_fingerprint.json`."""
        return self.folder / FINGERPRINT_JSON

    @property
    def splits(self) -> Path:
        """The `splits_final.json`."""
        return self.folder / SPLITS_JSON

    @property
    def plan(self) -> Path:
        """The `sammoe_plan.json` for this foundation."""
        return self.folder / self.foundation / PLAN_JSON

    @property
    def plan_page(self) -> Path:
        """The `sammoe_plan.html`, drawn from it."""
        return self.plan.with_suffix(".html")

    @property
    def embeddings(self) -> Path:
        """Cache of embedded training views; may be removed at any time."""
        return self.folder / self.foundation / EMBEDDINGS

    def described_clicks(self, case: str) -> Path:
        """Clicks on a case as gates read them; may be removed at any time."""
        return self.folder / self.foundation / DESCRIBED_CLICKS / f"{case}.safetensors"

    def ground_truth(self, case: str) -> Path:
        """Label map of a case on its original grid, always as `.nii.gz`."""
        return self.folder / GT_SEGMENTATIONS / f"{case}.nii.gz"

    def image(self, configuration: str, case: str) -> Path:
        """Preprocessed image of a case, a blosc2 array (x, y, z)."""
        return self.folder / self.foundation / configuration / f"{case}.b2nd"

    def segmentation(self, configuration: str, case: str) -> Path:
        """Preprocessed label map of a case, a blosc2 array (x, y, z)."""
        return self.folder / self.foundation / configuration / f"{case}_seg.b2nd"

    def properties(self, configuration: str, case: str) -> Path:
        """What is needed to undo the preprocessing of a case, and where its classes lie."""
        return self.folder / self.foundation / configuration / f"{case}.json"


@dataclass(frozen=True)
class Results:
    """Where trained things of one foundation lie.

    Args:
        root: `sammoe_results`.
        foundation: the foundation's name.
    """

    root: Path
    foundation: str

    @property
    def folder(self) -> Path:
        """Everything trained on this foundation."""
        return self.root / self.foundation

    @property
    def foundation_folder(self) -> Path:
        """Where the foundation itself lies if it was trained here."""
        return self.root / FOUNDATIONS / self.foundation

    def expert_fold(self, dataset: str, task: str, fold: int) -> Path:
        """Folder of one expert's fold."""
        return self.folder / dataset / safe_name(task) / fold_name(fold)

    def unfrozen_fold(self, dataset: str, task: str, unfrozen: str, fold: int) -> Path:
        """Folder of one fold of a network that was finetuned with a part of its encoder, "neck" or "all" of it."""
        return self.folder / dataset / safe_name(task) / f"unfrozen_{unfrozen}" / fold_name(fold)

    def locator_fold(self, dataset: str, fold: int) -> Path:
        """Folder of one locator's fold."""
        return self.folder / dataset / LOCATOR / fold_name(fold)

    def mixture(self, name: str) -> Path:
        """Folder of a mixture."""
        return self.folder / MIXTURES / safe_name(name)

    def routing_set(self, name: str, dataset: str) -> Path:
        """Clicks on a member dataset as a mixture's gate reads them."""
        return self.mixture(name) / ROUTING / dataset / ROUTING_SET

    def gate_fold(self, name: str, fold: int) -> Path:
        """Folder of one fold of a mixture's gate."""
        return self.mixture(name) / fold_name(fold)
