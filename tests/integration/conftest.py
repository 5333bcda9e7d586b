"""A small planned dataset with a plan short enough to train in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from planning.cli import main as plan_and_preprocess
from sammoe_pipeline.artefacts import Budget, Plan
from sammoe_pipeline.image_io import Volume, write_volume

DATASET = "Dataset007_Things"


@dataclass(frozen=True)
class Workspace:
    """The folders of a user who has planned one dataset."""

    root: Path
    foundation: Path

    @property
    def flags(self) -> list[str]:
        """The three folders, as flags."""
        return [f"--{name}={self.root / name}" for name in ("raw", "preprocessed", "results")]

    @property
    def results(self) -> Path:
        """Everything trained on the foundation."""
        return self.root / "results" / "random"

    @property
    def model_flags(self) -> list[str]:
        """Foundation and device, as flags."""
        return ["--foundation", str(self.foundation), "-device", "cpu"]


def write_raw(folder: Path, cases: int = 6) -> None:
    """Writes cases with a ball and a bar of different brightness, LPS, 3 mm, no two alike."""
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (40, 36, 30)], indexing="ij"), axis=-1)
    for index in range(cases):
        rng = np.random.default_rng(index)
        labels = np.zeros((40, 36, 30), dtype=np.uint8)
        ball = np.linalg.norm(grid - rng.uniform(12, 16, size=3), axis=-1) < 6
        labels[ball] = 1
        x = int(rng.integers(26, 30))
        labels[x : x + 4, 8:30, 12:16] = 2
        image = (100 * labels + rng.normal(0, 5, labels.shape)).astype(np.float32)
        write_volume(folder / "imagesTr" / f"case_{index}_0000.nii.gz", Volume(data=image, affine=affine))
        write_volume(folder / "labelsTr" / f"case_{index}.nii.gz", Volume(data=labels, affine=affine))
        if index == 0:
            write_volume(folder / "imagesTs" / "new_0000.nii.gz", Volume(data=image, affine=affine))
    description = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "ball": 1, "bar": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def shorten(path: Path) -> None:
    """Edits a plan as a user may: native configuration, few views and iterations, one task of both classes."""
    plan = Plan.load(path)
    budget = Budget(views=16, iterations=4)
    changed = {
        "tasks": tuple(task.model_copy(update={"budget": budget}) for task in plan.tasks),
        "locator_budget": budget,
        "training": plan.training.model_copy(update={"batch_size": 2, "interactions": 2}),
    }
    plan.model_copy(update=changed).save(path)


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory, tiny_foundation: Path) -> Iterator[Workspace]:
    """A workspace after planning; not to be changed (copy it)."""
    root = tmp_path_factory.mktemp("workspace")
    write_raw(root / "raw" / DATASET)
    workspace = Workspace(root=root, foundation=tiny_foundation)
    flags = [*workspace.flags, *workspace.model_flags, "-np", "1"]
    assert plan_and_preprocess(["-d", "7", "--num_folds", "2", *flags]) == 0
    shorten(root / "preprocessed" / DATASET / "random" / "sammoe_plan.json")
    yield workspace
