from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.training import described_clicks as module
from sammoe_pipeline.training.described_clicks import DescribedClicks, clicks_by_class, describe_clicks
from sammoe_pipeline.training.gate_prompts import OFF_TASK, Member
from tests.conftest import MakeWorkspace, Workspace


@pytest.fixture(scope="module")
def model(workspace: Workspace) -> SamMed3D:
    return workspace.foundation.load_model()


@pytest.fixture
def member(workspace: Workspace, tmp_path: Path) -> Member:
    """The dataset, with nothing described yet."""
    paths = workspace.planned.paths
    for name in ("dataset.json", "dataset_fingerprint.json", "splits_final.json", "gt_segmentations"):
        (tmp_path / paths.dataset).mkdir(exist_ok=True)
        (tmp_path / paths.dataset / name).symlink_to(paths.folder / name)
    planned = replace(workspace.planned, paths=replace(paths, root=tmp_path))
    return Member(planned=planned, raw=workspace.raw, experts={"near": 0})


def _describe(
    member: Member,
    workspace: Workspace,
    model: SamMed3D,
    *more: Configuration,
    folds: Sequence[int] = (0,),
    seed: int = 0,
) -> DescribedClicks:
    configurations = [workspace.foundation.native, *more]
    return describe_clicks(member, folds, configurations, model, workspace.foundation, seed, "cpu")


def _fine(workspace: Workspace) -> Configuration:
    native = workspace.foundation.native
    return native.model_copy(update={"name": "fine", "spacing_mm": native.spacing_mm / 2})


def test_classes_that_few_cases_have_are_clicked_on_more_often(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c, d = boxes
    without = {case: np.where(label == 2, 0, label) if case in (b, d) else label for case, label in boxes.items()}
    folds = [((a, b), (c,), (d,)), ((c, d), (a,), (b,))]
    planned = make_workspace(without, {"near": 1, "far": 2}, folds=folds).planned
    monkeypatch.setattr(module, "_CLICKS", 0)
    monkeypatch.setattr(module, "_FEWEST_CLICKS", 4)
    assert clicks_by_class(planned) == {"near": 2, "far": 4}
    monkeypatch.setattr(module, "_MOST_TIMES", 3)
    assert clicks_by_class(planned) == {"near": 2, "far": 3}


def test_every_training_case_is_clicked_on_and_no_other(member: Member, workspace: Workspace, model: SamMed3D) -> None:
    clicks = _describe(member, workspace, model, _fine(workspace))
    assert set(clicks.cases) == set(member.planned.fold(0).train)
    assert set(clicks.classes) == {"near", "far", OFF_TASK} and clicks.names == ("near", "far")
    assert clicks.descriptions.shape[:2] == (len(clicks.classes), 2)


def test_what_was_described_once_is_read_again(
    member: Member, workspace: Workspace, model: SamMed3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _describe(member, workspace, model, folds=(0, 1))
    monkeypatch.setattr(module, "prompts_in", None)
    again = _describe(member, workspace, model, folds=(1,))
    kept = first.of(set(member.planned.fold(1).train))
    assert (again.classes, again.cases) == (kept.classes, kept.cases)
    assert torch.equal(again.descriptions, kept.descriptions)


def test_new_configuration_alone_is_described(
    member: Member, workspace: Workspace, model: SamMed3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _describe(member, workspace, model)
    asked: list[str] = []
    describe = module.describe

    def watched(case: object, prompts: object, configurations: Sequence[Configuration], **options: bool) -> object:
        asked.extend(one.name for one in configurations)
        return describe(case, prompts, configurations, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "describe", watched)
    grown = _describe(member, workspace, model, _fine(workspace))
    assert set(asked) == {"fine"}
    assert torch.equal(grown.descriptions[:, :1], first.descriptions)


@pytest.mark.parametrize("change", ["seed", "labels"])
def test_other_clicks_are_described_anew(member: Member, workspace: Workspace, model: SamMed3D, change: str) -> None:
    first = _describe(member, workspace, model)
    if change == "labels":
        swapped = replace(member.planned.description, labels={"near": (2,), "far": (1,)})
        member = replace(member, planned=replace(member.planned, description=swapped))
    again = _describe(member, workspace, model, seed=1 if change == "seed" else 0)
    assert first.classes != again.classes or not torch.equal(first.descriptions, again.descriptions)


def test_broken_file_is_described_again(
    member: Member, workspace: Workspace, model: SamMed3D, caplog: pytest.LogCaptureFixture
) -> None:
    first = _describe(member, workspace, model)
    path = member.planned.paths.described_clicks(first.cases[0])
    path.write_bytes(path.read_bytes()[:-9])
    assert torch.equal(_describe(member, workspace, model).descriptions, first.descriptions)
    assert f"{path} cannot be read" in caplog.text
