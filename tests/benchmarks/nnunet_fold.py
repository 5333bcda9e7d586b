"""nnU-Net on one of our folds, with its schedule shortened: what a network of its own reaches without a prompt.

    python -m tests.benchmarks.nnunet_fold -d 4 -f 0 --epochs 20 --out nnunet.json

nnunetv2 plans and preprocesses the raw dataset by itself (`3d_fullres`), learns from all cases of the fold that are not
held out, calibration cases included, and segments the held-out ones as it always does. Its schedule runs down over
`--epochs` in place of 1,000. Reported are Dice by class and case on the grid of the files, and the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.paths import LABELS_TR, find_folders
from sammoe_pipeline.planned_dataset import PlannedDataset

_CONFIGURATION = "3d_fullres"


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", required=True, metavar="ID", help="planned dataset: its splits are used")
    parser.add_argument("-f", type=int, default=0, metavar="FOLD", help="fold (default: 0)")
    parser.add_argument("--epochs", type=int, required=True, metavar="N", help="length of the schedule")
    parser.add_argument(
        "--steps", type=int, default=50, metavar="N", help="steps an epoch (default: 50, theirs is 250)"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu", help="default: cpu")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = find_folders()
    foundation = find_foundation("tiny", folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            (root / name).mkdir()
            os.environ[name] = str(root / name)
        os.environ.setdefault("nnUNet_n_proc_DA", "1")
        (root / "nnUNet_raw" / planned.name).symlink_to((folders.raw / planned.name).resolve())
        split = planned.fold(arguments.f)
        learnt = [*split.train, *split.calibration]
        result = run(root, planned.name, learnt, split.val, arguments.epochs, arguments.steps, arguments.device)
        masks = Path(result.pop("folder"))
        result |= {"foundation_sha256": foundation.card.sha256, "fold": arguments.f}
        result |= {"dice": dice(planned, folders.raw, masks, split.val)}
    result["mean_dice"] = {name: round(mean(values.values()), 4) for name, values in result["dice"].items()}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print({name: value for name, value in result.items() if name != "dice"})


def run(
    root: Path, name: str, learnt: Sequence[str], held_out: Sequence[str], epochs: int, steps: int, device: str
) -> dict[str, Any]:
    """Plans, preprocesses, trains and segments the held-out cases.

    Returns:
        What was done, how long it took, and the folder of the label maps.
    """
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    dataset_id, threads = int(name[7:10]), torch.get_num_threads()
    began = time.monotonic()
    extract_fingerprints([dataset_id], num_processes=1)
    plan_experiments([dataset_id])
    preprocess([dataset_id], configurations=[_CONFIGURATION], num_processes=[1])
    prepared = time.monotonic()
    place = root / "nnUNet_preprocessed" / name
    (place / "splits_final.json").write_text(json.dumps([{"train": list(learnt), "val": list(held_out)}]))
    plans = json.loads((place / "nnUNetPlans.json").read_text())
    description = json.loads((place / "dataset.json").read_text())
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    trainer = nnUNetTrainer(
        plans={**plans, "continue_training": False},
        configuration=_CONFIGURATION,
        fold=0,
        dataset_json=description,
        device=torch.device(device),
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, steps, 5
    trainer.run_training()
    trained = time.monotonic()
    trainer.perform_actual_validation()
    configuration = plans["configurations"][_CONFIGURATION]
    return {
        "dataset": name,
        "configuration": _CONFIGURATION,
        "patch_size": configuration["patch_size"],
        "batch_size": configuration["batch_size"],
        "cases": len(learnt),
        "epochs": epochs,
        "steps": epochs * steps,
        "threads": threads,
        "device": device,
        "preparing_seconds": round(prepared - began, 1),
        "learning_seconds": round(trained - prepared, 1),
        "predicting_seconds": round(time.monotonic() - trained, 1),
        "folder": str(Path(trainer.output_folder) / "validation"),
    }


def dice(planned: PlannedDataset, raw: Path, masks: Path, cases: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns Dice by class and case; cases without the class are left out."""
    found: dict[str, dict[str, float]] = {name: {} for name in planned.description.labels}
    for case in cases:
        predicted = read_volume(masks / f"{case}.nii.gz").data
        truth = read_volume(raw / planned.name / LABELS_TR / f"{case}.nii.gz").data
        for name, values in planned.description.labels.items():
            mask, target = np.isin(predicted, values), np.isin(truth, values)
            if target.any():
                found[name][case] = round(float(2 * (mask & target).sum() / (mask.sum() + target.sum())), 4)
    return found


if __name__ == "__main__":
    main()
