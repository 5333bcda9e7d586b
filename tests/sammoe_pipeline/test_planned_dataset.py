import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Splits
from sammoe_pipeline.errors import ArtefactError, DatasetNotFoundError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.planned_dataset import PlannedDataset
from tests.conftest import MakeWorkspace, Workspace


@pytest.fixture(scope="module")
def boxes_in_folds(make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]) -> Workspace:
    """Four cases whose parts share none."""
    a, b, c, d = boxes
    return make_workspace(boxes, {"near": 1, "far": 2}, folds=[((a, b), (c,), (d,)), ((c, d), (a,), (b,))])


@pytest.mark.parametrize("dataset", [7, "007", "Boxes", "Dataset007_Boxes"])
def test_dataset_is_loaded_by_id_or_name(workspace: Workspace, dataset: int | str) -> None:
    loaded = PlannedDataset.load(workspace.folders, dataset, workspace.foundation)
    assert (loaded.name, loaded.num_folds) == ("Dataset007_Boxes", 2)
    assert loaded.description.labels == {"near": (1,), "far": (2,)}


def test_unknown_dataset_is_named(workspace: Workspace) -> None:
    with pytest.raises(DatasetNotFoundError, match="Boxers"):
        PlannedDataset.load(workspace.folders, "Boxers", workspace.foundation)


def _other(foundation: Foundation, **changes: str) -> Foundation:
    return dataclasses.replace(foundation, card=foundation.card.model_copy(update=changes))


def test_dataset_planned_for_another_foundation_says_how_to_plan_it(workspace: Workspace) -> None:
    with pytest.raises(ArtefactError, match="sammoe_plan_and_preprocess -d 007 --foundation other"):
        PlannedDataset.load(workspace.folders, 7, _other(workspace.foundation, name="other"))


def test_plan_for_other_weights_of_the_same_name_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ArtefactError, match="--replan"):
        PlannedDataset.load(workspace.folders, 7, _other(workspace.foundation, sha256="0" * 64))


def test_plan_that_was_edited_into_a_contradiction_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    shutil.copytree(workspace.folders.preprocessed, tmp_path / "preprocessed")
    folders = dataclasses.replace(workspace.folders, preprocessed=tmp_path / "preprocessed")
    path = PlannedDataset.load(folders, 7, workspace.foundation).paths.plan
    workspace.planned.plan.model_copy(update={"locator_configuration": "natve"}).save(path)
    with pytest.raises(ArtefactError, match="no configuration 'natve'"):
        PlannedDataset.load(folders, 7, workspace.foundation)


def test_splits_that_name_a_case_that_there_is_not_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    shutil.copytree(workspace.folders.preprocessed, tmp_path / "preprocessed")
    folders = dataclasses.replace(workspace.folders, preprocessed=tmp_path / "preprocessed")
    path = PlannedDataset.load(folders, 7, workspace.foundation).paths.splits
    (first, *others) = workspace.planned.splits.folds
    Splits(folds=(first.model_copy(update={"train": ("case_9",)}), *others)).save(path)
    with pytest.raises(ArtefactError, match="names case_9, which the dataset does not have"):
        PlannedDataset.load(folders, 7, workspace.foundation)


@pytest.mark.parametrize("fold", [-1, 2])
def test_unknown_fold_is_named_with_those_there_are(workspace: Workspace, fold: int) -> None:
    with pytest.raises(UsageError, match=f"-f {fold}: Dataset007_Boxes has folds 0 to 1"):
        workspace.planned.fold(fold)


def test_unknown_task_is_named_with_those_there_are(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="Did you mean 'boxes'"):
        workspace.planned.task("boxs")


def test_what_learnt_from_other_files_is_not_finished(boxes_in_folds: Workspace) -> None:
    planned = boxes_in_folds.planned
    (task,), split = planned.plan.tasks, planned.fold(0)

    def recipes(changed: str) -> tuple[str, str]:
        found = dataclasses.replace(planned)
        changes = {case: "new" if case == changed else "old" for case in planned.cases}
        vars(found)["cases"] = {
            case: one.model_copy(update={"sha256": changes[case]}) for case, one in planned.cases.items()
        }
        return found.recipe(0, task), found.recipe(0)

    unchanged = recipes("nothing")
    assert recipes(split.val[0]) == unchanged
    for case in (split.train[0], split.calibration[0]):
        assert all(new != old for new, old in zip(recipes(case), unchanged, strict=True))


def test_configuration_of_a_class_is_the_plans(workspace: Workspace) -> None:
    assert workspace.planned.configuration_of("far") == workspace.foundation.native
