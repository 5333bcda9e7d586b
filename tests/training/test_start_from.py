import shutil
from pathlib import Path

import pytest

from sammoe_pipeline.artefacts import Plan
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.paths import Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.start_from import start_from
from tests.conftest import Workspace


@pytest.fixture
def copied(trained: Workspace, tmp_path: Path) -> PlannedDataset:
    """A trained dataset whose plan may be written to."""
    shutil.copytree(trained.folders.preprocessed, tmp_path / "preprocessed")
    folders = type(trained.folders)(trained.folders.raw, tmp_path / "preprocessed", trained.folders.results)
    return PlannedDataset.load(folders, trained.planned.name, trained.foundation)


def _places(trained: Workspace) -> Results:
    return Results(root=trained.folders.results, foundation=trained.foundation.card.name)


@pytest.mark.parametrize("choice", ["scratch", "general", "Dataset007_Boxes/boxes"])
def test_choice_is_written_into_the_plan(trained: Workspace, copied: PlannedDataset, choice: str) -> None:
    changed = start_from(copied, choice, None, _places(trained))
    assert Plan.load(copied.paths.plan) == changed.plan
    assert [task.start_from for task in changed.plan.tasks] == [choice]
    changed.recipe(0, changed.plan.tasks[0])


def test_unknown_expert_is_an_error_and_the_plan_stays(trained: Workspace, copied: PlannedDataset) -> None:
    with pytest.raises(UsageError, match="there is no such expert"):
        start_from(copied, "Dataset007_Boxes/bxes", None, _places(trained))
    assert Plan.load(copied.paths.plan) == copied.plan
