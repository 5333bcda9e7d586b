import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import ExpertCard, LabelEntry, MixtureCard
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.paths import EXPERT_JSON, EXPERT_WEIGHTS, LOCATOR_JSON, MIXTURE_JSON, Results
from sammoe_pipeline.training import train_gate as module
from sammoe_pipeline.training.described_clicks import DescribedClicks, describe_clicks
from sammoe_pipeline.training.gate_prompts import Member, prompts_in
from sammoe_pipeline.training.mixture_members import finished_datasets, output_labels
from sammoe_pipeline.training.thresholds import THRESHOLDS, Trial
from sammoe_pipeline.training.train_gate import STEPS, train_gate
from tests.conftest import MakeWorkspace, Workspace


def test_output_values_given_out_once_stay(card: MixtureCard, workspace: Workspace, tmp_path: Path) -> None:
    assert [(entry.value, entry.name) for entry in card.labels] == [(1, "near"), (2, "far")]
    gone = LabelEntry(value=1, dataset="Dataset001_Gone", name="gone")
    far = LabelEntry(value=2, dataset=workspace.planned.name, name="far")
    card.model_copy(update={"labels": (gone, far)}).save(tmp_path / MIXTURE_JSON)
    again = output_labels([workspace.planned], tmp_path / MIXTURE_JSON)
    assert [(entry.value, entry.dataset, entry.name) for entry in again] == [
        (1, "Dataset001_Gone", "gone"),
        (2, "Dataset007_Boxes", "far"),
        (3, "Dataset007_Boxes", "near"),
    ]


def test_output_values_outlive_the_form_of_the_card(card: MixtureCard, workspace: Workspace, tmp_path: Path) -> None:
    content = json.loads(card.model_dump_json()) | {"another": 1}
    del content["seconds"]
    path = tmp_path / MIXTURE_JSON
    path.write_text(json.dumps(content))
    assert output_labels([workspace.planned], path) == card.labels
    path.write_text("{}")
    with pytest.raises(ArtefactError, match="table of output values cannot be read"):
        output_labels([workspace.planned], path)


def _fit(workspace: Workspace, *, name: str = "default", folds: Sequence[int] | None = None) -> MixtureCard:
    return train_gate(
        [workspace.planned],
        [workspace.raw],
        name=name,
        folds=folds,
        foundation=workspace.foundation,
        results=workspace.folders.results,
        max_general_loss=0.1,
        seed=0,
        device="cpu",
    )


def _copy(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.folders.results, root / "results")
    return replace(workspace, folders=replace(workspace.folders, results=root / "results"))


@pytest.fixture
def copied(trained: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the trained dataset's results, to be spoilt."""
    return _copy(trained, tmp_path)


@pytest.fixture(scope="module")
def joined(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the trained dataset's results with a mixture of both folds."""
    workspace = _copy(trained, tmp_path_factory.mktemp("joined"))
    _fit(workspace)
    return workspace


@pytest.fixture(scope="module")
def card(joined: Workspace) -> MixtureCard:
    """The mixture's card, as it was saved."""
    return MixtureCard.load(_mixture(joined) / MIXTURE_JSON)


def _mixture(workspace: Workspace) -> Path:
    return Results(root=workspace.folders.results, foundation="nano").mixture("default")


def _expert(workspace: Workspace, fold: int) -> Path:
    places = Results(root=workspace.folders.results, foundation="nano")
    return places.expert_fold(workspace.planned.name, "boxes", fold)


def test_card_seals_experts_locators_and_gates_of_every_fold(joined: Workspace, card: MixtureCard) -> None:
    assert card.folds == (0, 1) and set(card.gate_sha256) == {"0", "1"}
    (expert,), (dataset,) = card.experts, card.datasets
    assert expert.classes == ("near",) and expert.expert_fold == {"0": 0, "1": 1}
    for fold in (0, 1):
        weights = (_expert(joined, fold) / EXPERT_WEIGHTS).read_bytes()
        assert expert.sha256[str(fold)] == hashlib.sha256(weights).hexdigest()
    assert dataset.values == {"near": 1, "far": 2} and not dataset.nested
    assert dataset.targets == {"near": "class", "far": "component"}
    assert dataset.held_out_folds == (0, 1)
    assert set(dataset.locator_sha256) == {"0", "1"} and dataset.thresholds.keys() == {"near", "far"}
    assert {expert.threshold for expert in card.experts} <= set(THRESHOLDS)
    assert len(card.calibration) == len(THRESHOLDS) and card.general_loss is not None


def test_the_card_tells_what_took_the_time(card: MixtureCard) -> None:
    assert tuple(card.seconds_by_step) == STEPS
    assert all(seconds > 0 for seconds in card.seconds_by_step.values())
    assert sum(card.seconds_by_step.values()) <= card.seconds


def test_calibration_curve_is_drawn(joined: Workspace, card: MixtureCard) -> None:
    assert (_mixture(joined) / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_fitted_mixture_can_be_loaded(joined: Workspace, card: MixtureCard) -> None:
    results = joined.folders.results
    mixture = Mixture.load("default", foundation=joined.foundation, results=results, device="cpu")
    assert mixture.card == card
    assert len(mixture.gates) == 2


def test_gate_is_taught_whose_task_a_prompt_is(joined: Workspace) -> None:
    results = joined.folders.results
    mixture = Mixture.load("default", foundation=joined.foundation, results=results, device="cpu", folds=[0])
    expert = Member(planned=joined.planned, raw=joined.raw, experts={"near": 0})
    confidences: dict[str, list[float]] = {"near": [], "far": []}
    for case in joined.planned.fold(0).train:
        settings = {"model": mixture.model, "foundation": joined.foundation, "seed": 0}
        for prompt in prompts_in(case, expert, **settings):
            routing = mixture.route(prompt.case, [prompt.click])
            confidences[prompt.class_name].append(1 - routing.confidences[GENERAL])
    assert min(confidences["near"]) > max(confidences["far"])


def test_more_folds_than_a_dataset_has_are_served_in_turn(copied: Workspace) -> None:
    card = _fit(copied, folds=[2])
    (expert,), (dataset,) = card.experts, card.datasets
    assert expert.expert_fold == {"2": 0}
    assert dataset.held_out_folds == ()


def test_unfinished_experts_and_locators_are_all_named(copied: Workspace) -> None:
    (_expert(copied, 1) / EXPERT_JSON).unlink()
    places = Results(root=copied.folders.results, foundation="nano")
    (places.locator_fold(copied.planned.name, 0) / LOCATOR_JSON).unlink()
    with pytest.raises(ArtefactError) as error:
        _fit(copied)
    message = str(error.value)
    assert "Dataset007_Boxes/boxes, fold 1" in message and "locator of Dataset007_Boxes, fold 0" in message
    assert "sammoe_train_expert" in message


def test_what_has_an_encoder_of_its_own_is_refused(copied: Workspace) -> None:
    folder = _expert(copied, 1)
    unfrozen = folder.parent / "unfrozen_all" / folder.name
    unfrozen.mkdir(parents=True)
    (folder / EXPERT_JSON).rename(unfrozen / EXPERT_JSON)
    with pytest.raises(ArtefactError, match="boxes, fold 1: what --unfreeze trained has an encoder of its own"):
        _fit(copied)
    card = ExpertCard.load(unfrozen / EXPERT_JSON).model_copy(update={"unfrozen": "all"})
    card.save(folder / EXPERT_JSON)
    with pytest.raises(ArtefactError, match="a mixture shares the frozen one"):
        _fit(copied)


def test_expert_of_another_split_is_refused(copied: Workspace) -> None:
    first, second = copied.planned.splits.folds
    planned = replace(copied.planned, splits=copied.planned.splits.model_copy(update={"folds": (second, first)}))
    with pytest.raises(ArtefactError, match=r"fold_0/expert\.json was trained by another plan, split or foundation"):
        _fit(replace(copied, planned=planned))


def test_changed_expert_is_refused(copied: Workspace) -> None:
    path = _expert(copied, 0) / EXPERT_WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtefactError, match="was changed or belongs to"):
        _fit(copied)


def test_expert_that_changes_meanwhile_spoils_the_mixture(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _expert(copied, 0) / EXPERT_WEIGHTS
    key = next(iter(copied.planned.experts.values()))

    def meddle(*_: object) -> list[Trial]:
        path.write_bytes(path.read_bytes() + b" ")
        return [Trial("A:served", "one", False, {GENERAL: 0.1, key: 0.9}, {(): 0.2, (key,): 0.8})]

    monkeypatch.setattr(module, "try_out", meddle)
    with pytest.raises(ArtefactError, match="changed while the gate was trained"):
        _fit(copied, folds=[0])
    assert not (_mixture(copied) / MIXTURE_JSON).exists()


def test_mixture_works_until_the_next_one_is_finished(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _fit(copied)
    before = {path: path.read_bytes() for path in _mixture(copied).rglob("*") if path.is_file()}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "try_out", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _fit(copied, folds=[1, 0])
    assert {path: path.read_bytes() for path in _mixture(copied).rglob("*") if path.is_file()} == before


def test_class_that_the_gate_sees_no_click_on_is_named(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def describe_all_but_near(*words: Any) -> DescribedClicks:
        clicks = describe_clicks(*words)
        kept = [index for index, name in enumerate(clicks.classes) if name != "near"]
        return replace(
            clicks,
            classes=tuple(clicks.classes[index] for index in kept),
            cases=tuple(clicks.cases[index] for index in kept),
            descriptions=clicks.descriptions[kept],
        )

    monkeypatch.setattr(module, "describe_clicks", describe_all_but_near)
    _fit(copied, folds=[0])
    assert "fold 0: no training case shows near to the gate" in caplog.text


def _served_by(workspace: Workspace, key: str) -> Workspace:
    """Plans that another dataset's expert serves all classes."""
    plan = workspace.planned.plan
    classes = {name: chosen.model_copy(update={"task": key}) for name, chosen in plan.classes.items()}
    plan = plan.model_copy(update={"classes": classes, "tasks": ()})
    return replace(workspace, planned=replace(workspace.planned, plan=plan))


def test_expert_of_another_dataset_joins_as_its_own_card_describes_it(copied: Workspace) -> None:
    source, other = _expert(copied, 1), "Dataset003_Shared"
    folder = Results(root=copied.folders.results, foundation="nano").expert_fold(other, "boxes", 1)
    shutil.copytree(source, folder)
    ExpertCard.load(source / EXPERT_JSON).model_copy(update={"dataset": other}).save(folder / EXPERT_JSON)
    card = _fit(_served_by(copied, f"{other}/boxes"))
    (expert,) = card.experts
    assert (expert.dataset, expert.task, expert.expert_fold) == (other, "boxes", {"0": 1, "1": 1})
    mixture = Mixture.load("default", foundation=copied.foundation, results=copied.folders.results, device="cpu")
    assert mixture.expert_of("Dataset007_Boxes", "near") == f"{other}/boxes"


def test_expert_of_another_dataset_that_is_gone_is_named(copied: Workspace) -> None:
    with pytest.raises(ArtefactError, match=r"Dataset003_Gone/boxes, which serves classes of Dataset007_Boxes"):
        _fit(_served_by(copied, "Dataset003_Gone/boxes"))


def test_mixture_without_experts_is_the_general_expert(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]
) -> None:
    made = make_workspace({"a": boxes["case_0"]}, {"near": 1, "far": 2}, general=["near", "far"])
    card = _fit(made)
    assert (card.experts, card.gate_sha256, card.calibration) == ((), {}, ())
    assert [entry.name for entry in card.labels] == ["near", "far"]
    mixture = Mixture.load("default", foundation=made.foundation, results=made.folders.results, device="cpu")
    assert mixture.gates == [] and mixture.locators == {made.planned.name: []}


def test_finished_datasets_are_found_and_the_others_named(
    trained: Workspace, copied: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    assert finished_datasets(trained.folders, trained.foundation, None) == ["Dataset007_Boxes"]
    (_expert(copied, 1) / EXPERT_JSON).unlink()
    assert finished_datasets(copied.folders, copied.foundation, [0]) == ["Dataset007_Boxes"]
    with pytest.raises(ArtefactError, match=r"no dataset whose experts .* are finished in all folds"):
        finished_datasets(copied.folders, copied.foundation, None)
    assert "Dataset007_Boxes is left out" in caplog.text


def test_dataset_whose_locator_is_not_finished_is_left_out(copied: Workspace) -> None:
    places = Results(root=copied.folders.results, foundation="nano")
    (places.locator_fold(copied.planned.name, 1) / LOCATOR_JSON).unlink()
    with pytest.raises(ArtefactError, match="Run sammoe_plan_and_preprocess and sammoe_train_expert"):
        finished_datasets(copied.folders, copied.foundation, None)


def test_dataset_of_the_general_expert_alone_needs_nothing_finished(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]
) -> None:
    made = make_workspace({"a": boxes["case_0"]}, {"near": 1, "far": 2}, general=["near", "far"])
    assert finished_datasets(made.folders, made.foundation, None) == ["Dataset007_Boxes"]
