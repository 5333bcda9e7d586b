import shutil
from pathlib import Path

import pytest

from sammoe_pipeline.artefacts import ExpertCard, Plan
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.paths import EXPERT_JSON, Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.start_from import start_from
from tests.conftest import Workspace

OTHER = "Dataset009_Others"


@pytest.fixture
def copied(trained: Workspace, tmp_path: Path) -> PlannedDataset:
    """A trained dataset whose plan may be written to."""
    shutil.copytree(trained.folders.preprocessed, tmp_path / "preprocessed")
    folders = type(trained.folders)(trained.folders.raw, tmp_path / "preprocessed", trained.folders.results)
    return PlannedDataset.load(folders, trained.planned.name, trained.foundation)


def _places(trained: Workspace) -> Results:
    return Results(root=trained.folders.results, foundation=trained.foundation.card.name)


@pytest.fixture
def places(trained: Workspace, tmp_path: Path) -> Results:
    """Results that hold the same expert as another dataset's too."""
    shutil.copytree(trained.folders.results, tmp_path / "results")
    places = Results(root=tmp_path / "results", foundation=trained.foundation.card.name)
    for fold in range(trained.planned.num_folds):
        own = places.expert_fold(trained.planned.name, "boxes", fold)
        other = places.expert_fold(OTHER, "boxes", fold)
        shutil.copytree(own, other)
        card = ExpertCard.load(own / EXPERT_JSON).model_copy(update={"dataset": OTHER})
        card.save(other / EXPERT_JSON)
    return places


@pytest.mark.parametrize("choice", ["scratch", "general", f"{OTHER}/boxes"])
def test_choice_is_written_into_the_plan(copied: PlannedDataset, places: Results, choice: str) -> None:
    changed = start_from(copied, choice, None, places)
    assert Plan.load(copied.paths.plan) == changed.plan
    assert [task.start_from for task in changed.plan.tasks] == [choice]
    changed.recipe(0, changed.plan.tasks[0])


def test_unknown_expert_is_an_error_and_the_plan_stays(trained: Workspace, copied: PlannedDataset) -> None:
    with pytest.raises(UsageError, match="there is no such expert"):
        start_from(copied, "Dataset007_Boxes/bxes", None, _places(trained))
    assert Plan.load(copied.paths.plan) == copied.plan


def test_expert_that_was_trained_again_is_taken_as_it_is_now(copied: PlannedDataset, places: Results) -> None:
    first = start_from(copied, f"{OTHER}/boxes", None, places)
    path = places.expert_fold(OTHER, "boxes", 0) / EXPERT_JSON
    ExpertCard.load(path).model_copy(update={"sha256": "0" * 64}).save(path)
    (candidate,) = start_from(first, f"{OTHER}/boxes", None, places).plan.candidate_experts
    assert candidate.sha256 == "0" * 64


def test_expert_of_the_dataset_itself_has_seen_what_other_folds_hold_out(
    copied: PlannedDataset, places: Results
) -> None:
    with pytest.raises(UsageError, match="cases that other folds hold out"):
        start_from(copied, "Dataset007_Boxes/boxes", None, places)
    assert Plan.load(copied.paths.plan) == copied.plan
