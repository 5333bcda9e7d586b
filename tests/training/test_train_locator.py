from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from sammoe_pipeline.artefacts import LocatorCard, sha256_of
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.paths import LOCATOR_JSON, LOCATOR_WEIGHTS, Results
from sammoe_pipeline.training import train_locator as module
from sammoe_pipeline.training.presence import presence_threshold
from sammoe_pipeline.training.train_locator import map_loss, train_locator
from sammoe_pipeline.training.views import PreparedCase
from tests.conftest import MakeWorkspace, Workspace


def _folder(trained: Workspace) -> Path:
    return Results(root=trained.folders.results, foundation="nano").locator_fold(trained.planned.name, 0)


def _load(folder: Path, classes: int) -> Locator:
    locator = Locator(channels=24, num_classes=classes)
    locator.load_state_dict(load_file(folder / LOCATOR_WEIGHTS))
    return locator.eval()


def _maps(workspace: Workspace, case: str, locator: Locator) -> Tensor:
    prepared = PreparedCase.of(workspace.planned.paths, "native", case)
    image = torch.from_numpy(np.asarray(prepared.image[:]))
    model = workspace.foundation.load_model()
    return probability_maps(EncodedImage(image, model=model, normalisation="equalised"), [locator])


def test_card_says_what_the_locator_finds_and_belongs_to(trained: Workspace) -> None:
    folder = _folder(trained)
    card = LocatorCard.load(folder / LOCATOR_JSON)
    # All classes, whoever segments them.
    assert card.classes == ("near", "far")
    assert (card.fold, card.configuration) == (0, trained.foundation.native)
    assert card.foundation_sha256 == trained.foundation.card.sha256
    assert card.recipe == trained.planned.recipe(0)
    shapes = [
        PreparedCase.of(trained.planned.paths, "native", case).properties.shape
        for case in trained.planned.fold(0).train
    ]
    assert card.longest_mm == max(map(max, shapes)) * card.configuration.spacing_mm
    assert card.sha256 == sha256_of(folder / LOCATOR_WEIGHTS)


@pytest.mark.parametrize(
    ("peaks", "threshold"),
    [
        ([(0.5, True), (0.8, True)], 0.25),
        ([(0.5, True), (0.8, True), (0.02, False)], 0.1),
        ([(0.02, True), (0.8, True), (0.9, True), (0.1, False), (0.2, False)], 0.4),
        ([(0.9, False)], 0.5),
    ],
)
def test_class_counts_as_present_from_where_the_fewest_are_wrong(
    peaks: list[tuple[float, bool]], threshold: float
) -> None:
    assert presence_threshold(peaks) == pytest.approx(threshold)


def test_thresholds_and_hits_are_those_of_the_calibration_cases(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]], tmp_path: Path
) -> None:
    far_only = np.where(boxes["case_3"] == 1, 0, boxes["case_3"])
    made = make_workspace({**boxes, "far_only": far_only}, {"near": 1, "far": 2})
    card = _train(made, tmp_path, iterations=20)
    locator = _load(tmp_path, 2)
    for index, name in enumerate(("near", "far")):
        peaks = []
        for case in made.planned.fold(0).calibration:
            seen = sight(_maps(made, case, locator)[index], cell=1, components=False)
            x, y, z = (round(place) for place in seen.clicks[0].position)
            labels = np.asarray(PreparedCase.of(made.planned.paths, "native", case).segmentation[:])
            peaks.append((seen.peak, bool(labels[x, y, z] == index + 1)))
        assert card.thresholds[name] == pytest.approx(presence_threshold(peaks), rel=1e-4)
        with_it = peaks if name == "far" else peaks[: len(boxes)]
        assert card.calibration_hits[name] == pytest.approx(np.mean([hit for _, hit in with_it]))


def test_only_classes_that_the_batch_holds_have_a_dice() -> None:
    logits = torch.full((2, 2, 4, 4, 4), -9.0)
    target, valid = torch.zeros(2, 2, 4, 4, 4), torch.ones(2, 1, 4, 4, 4, dtype=torch.bool)
    assert float(map_loss(logits, target, valid)) < 0.01
    target[0, 1, :2] = 1
    logits[0, 1, :2] = 9.0
    assert float(map_loss(logits, target, valid)) < 0.01
    logits[0, 1, :2] = -9.0
    assert float(map_loss(logits, target, valid)) > 1
    valid[0, :, :2] = False
    assert float(map_loss(logits, target, valid)) < 0.01


def _train(workspace: Workspace, folder: Path, *, batch_size: int = 2, **budget: int) -> LocatorCard:
    plan = workspace.planned.plan
    changed = {
        "locator_budget": plan.locator_budget.model_copy(update=budget),
        "training": plan.training.model_copy(update={"batch_size": batch_size}),
    }
    plan = plan.model_copy(update=changed)
    return train_locator(
        replace(workspace.planned, plan=plan), 0, foundation=workspace.foundation, folder=folder, device="cpu"
    )


def test_locator_learns_where_a_class_lies(workspace: Workspace, tmp_path: Path) -> None:
    _train(workspace, tmp_path, iterations=200, views=24, batch_size=4)
    maps = _maps(workspace, "case_2", _load(tmp_path, 2))
    # A mask cell of this network is a voxel.
    labels = np.asarray(PreparedCase.of(workspace.planned.paths, "native", "case_2").segmentation[:])
    for index, value in enumerate((1, 2)):
        likely = maps[index].numpy()
        assert likely[labels == value].mean() > 2 * likely[labels != value].mean()


def test_held_out_cases_are_never_read(
    make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]], tmp_path: Path
) -> None:
    a, b, c, d = boxes
    made = make_workspace(boxes, {"near": 1, "far": 2}, folds=[((a, b), (c,), (d,))])
    paths = made.planned.paths
    for file in (paths.image("native", d), paths.segmentation("native", d), paths.properties("native", d)):
        file.unlink()
    _train(made, tmp_path, iterations=1)


def test_class_without_calibration_cases_gets_a_threshold_and_is_named(
    make_workspace: MakeWorkspace,
    boxes: dict[str, NDArray[np.uint8]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = make_workspace({"a": boxes["case_0"]}, {"near": 1, "far": 2, "absent": 3})
    card = _train(made, tmp_path, iterations=1)
    assert card.thresholds["absent"] == 0.5
    assert "no calibration case has absent" in caplog.text


def test_loss_that_is_not_finite_ends_the_training(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "map_loss", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="loss is inf at iteration 0"):
        _train(workspace, tmp_path)
