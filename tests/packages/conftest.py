"""A dataset with everything trained and evaluated, whose cases and folders have names that are easy to find again."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import sha256_of
from sammoe_pipeline.commands.experts import main as sammoe_experts
from sammoe_pipeline.evaluation.evaluate import evaluate
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.packages.export import export_expert, export_mixture
from sammoe_pipeline.packages.inventory import find_expert, find_mixture
from sammoe_pipeline.paths import Results
from sammoe_pipeline.training.train_dataset import train_dataset
from sammoe_pipeline.training.train_gate import train_gate
from tests.conftest import MakeWorkspace, Workspace

PATIENT, MACHINE = "Mustermann", "secretfolder"
EXPERT, MIXTURE = "Dataset007_Boxes/boxes", "default"


@dataclass(frozen=True)
class Site:
    """The results of someone who has the foundation."""

    results: Path
    foundation: Foundation

    @property
    def places(self) -> Results:
        """Where results lie."""
        return Results(root=self.results, foundation=self.foundation.card.name)

    def run(self, *words: str) -> int:
        """Runs `sammoe_experts` as a user does."""
        folders = ["--results", str(self.results), "--foundation", str(self.foundation.folder)]
        return sammoe_experts([*words, *folders])

    def files(self) -> dict[str, str]:
        """Returns the SHA-256 of every file, by path."""
        return {str(p.relative_to(self.results)): sha256_of(p) for p in self.results.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def shared_workspace(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """Boxes trained in two folds, joined and evaluated; `far` is left to the general expert. Not to be changed."""
    cases = {f"{PATIENT}_{index}": label for index, label in enumerate(boxes.values())}
    a, b, c, d = cases
    made = make_workspace(
        cases,
        {"near": 1, "far": 2},
        root=tmp_path_factory.mktemp(MACHINE),
        folds=[((a, b), (c,), (d,)), ((c, d), (a,), (b,))],
        general=["far"],
    )
    common = {"foundation": made.foundation, "results": made.folders.results, "device": "cpu"}
    train_dataset(made.planned, folds=None, tasks=None, must_continue=False, **common)  # type: ignore[arg-type]
    together = {**common, "name": MIXTURE, "folds": None}
    train_gate([made.planned], [made.raw], max_general_loss=0.1, seed=0, **together)  # type: ignore[arg-type]
    evaluate([made.planned], [made.raw], clicks=[1], num_seeds=1, **together)  # type: ignore[arg-type]
    return made


@pytest.fixture
def ours(shared_workspace: Workspace, tmp_path: Path) -> Site:
    """A copy of the results of who shares."""
    shutil.copytree(shared_workspace.folders.results, tmp_path / MACHINE)
    return Site(results=tmp_path / MACHINE, foundation=shared_workspace.foundation)


@pytest.fixture
def theirs(nano_foundation: Foundation, tmp_path: Path) -> Site:
    """The results of who installs: none yet."""
    return Site(results=tmp_path / "theirs", foundation=nano_foundation)


@pytest.fixture
def expert_package(ours: Site, tmp_path: Path) -> Path:
    """The expert as a package."""
    path = tmp_path / "expert.zip"
    export_expert(
        find_expert(EXPERT, ours.places), path, foundation=ours.foundation, places=ours.places, licence="CC-BY-4.0"
    )
    return path


@pytest.fixture
def mixture_package(ours: Site, tmp_path: Path) -> Path:
    """The mixture as a package."""
    path = tmp_path / "mixture.zip"
    export_mixture(
        find_mixture(MIXTURE, ours.places), path, foundation=ours.foundation, places=ours.places, licence="CC-BY-4.0"
    )
    return path


def members(path: Path) -> dict[str, bytes]:
    """Returns the content of every member of a package."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
