"""How many views, and how many iterations, an expert needs: its calibration Dice after several budgets.

    python -m tests.benchmarks.expert_budget -d 901 --task stomach --views 100 400 --iterations 400 --out result.json

A task of a dataset that is planned and preprocessed for `tiny` is trained anew for every pair of views and iterations,
in a folder that is thrown away. Reported are the mean Dice at one click over classes and folds on calibration cases,
where the general expert begins, and the seconds that embedding the views and learning from them took.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from sammoe_pipeline.artefacts import Budget
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.paths import Results, find_folders
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.expert_job import ExpertJob
from sammoe_pipeline.training.train_expert import train_expert


def main() -> None:
    """Measures and writes the result, which grows line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", required=True, metavar="ID", help="planned and preprocessed dataset")
    parser.add_argument("--task", required=True, metavar="NAME", help="of its plan")
    parser.add_argument("-f", nargs="+", type=int, default=[0], metavar="FOLD", help="folds (default: 0)")
    parser.add_argument("--views", nargs="+", type=int, required=True, metavar="N", help="embedded views a fold")
    parser.add_argument("--iterations", nargs="+", type=int, required=True, metavar="N", help="optimiser steps")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu", help="default: cpu")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = find_folders()
    foundation = find_foundation("tiny", folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    rows = []
    for views in arguments.views:
        for iterations in arguments.iterations:
            budget = Budget(views=views, iterations=iterations)
            row = measure(planned, arguments.task, arguments.f, budget, foundation, arguments.device)
            rows.append({"views": views, "iterations": iterations, **row})
            result = {
                "foundation_sha256": foundation.card.sha256,
                "dataset": planned.name,
                "task": arguments.task,
                "folds": arguments.f,
                "budgets": rows,
            }
            arguments.out.write_text(json.dumps(result, indent=2) + "\n")
            print(rows[-1], flush=True)


def measure(
    planned: PlannedDataset, name: str, folds: Sequence[int], budget: Budget, foundation: Foundation, device: str
) -> dict[str, float]:
    """Trains a task's expert with a budget on some folds, and tells how good it became and what that cost."""
    task = planned.task(name).model_copy(update={"budget": budget})
    tasks = tuple(task if other.name == task.name else other for other in planned.plan.tasks)
    changed = replace(planned, plan=planned.plan.model_copy(update={"tasks": tasks}))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        places = Results(root=Path(folder), foundation=foundation.card.name)
        cards = [train_expert(ExpertJob(changed, task, fold, foundation, places, device)) for fold in folds]
    seconds = (time.monotonic() - began) / len(folds)
    learning = mean(card.seconds for card in cards)
    return {
        "dice": round(mean(mean(card.calibration_dice.values()) for card in cards), 4),
        "general_dice": round(mean(mean(card.general_calibration_dice.values()) for card in cards), 4),
        "embedding_seconds": round(seconds - learning, 1),
        "learning_seconds": round(learning, 1),
    }


if __name__ == "__main__":
    main()
