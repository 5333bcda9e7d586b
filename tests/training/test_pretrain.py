import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import FoundationCard, sha256_of
from sammoe_pipeline.clicks import component_at
from sammoe_pipeline.commands.pretrain import main as sammoe_pretrain
from sammoe_pipeline.errors import TrainingError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.paths import CHECKPOINT, FOUNDATION_JSON, FOUNDATION_WEIGHTS, PreprocessedDataset
from sammoe_pipeline.preprocessing import prepare_dataset
from sammoe_pipeline.training import pretrain as module
from sammoe_pipeline.training import pretraining_views as views_module
from sammoe_pipeline.training.pretrain import pretrain, pretraining_configuration, require_known_classes
from sammoe_pipeline.training.pretraining_views import (
    PretrainSettings,
    TrainingSource,
    View,
    count_structures,
    draw_batch,
    draw_view,
    open_source,
)
from sammoe_pipeline.training.recognition import UNKNOWN
from tests.conftest import MakeWorkspace, Workspace

SETTINGS = PretrainSettings(
    name="small",
    builder="nano",
    spacing_mm=1.0,
    normalisation="equalised",
    iterations=2,
    batch_size=2,
    targets_per_view=2,
    learning_rate=1e-3,
    recolour_probability=0.4,
    excluded_classes=(),
    seed=0,
)
SIZE = 16


@pytest.fixture(scope="module")
def prepared(make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]) -> Workspace:
    """Eleven cases of boxes in the configuration of pretraining."""
    cases = {f"case_{index:02d}": boxes[f"case_{index % 4}"] for index in range(11)}
    made = make_workspace(cases, {"near": 1, "far": 2})
    prepare_dataset(made.raw, _paths(made), [pretraining_configuration(SETTINGS)], workers=1)
    return made


def _paths(workspace: Workspace) -> PreprocessedDataset:
    return PreprocessedDataset(workspace.folders.preprocessed, workspace.raw.name, SETTINGS.name)


def _source(workspace: Workspace, *excluded: str) -> TrainingSource:
    names = [case.name for case in workspace.raw.training_cases]
    return open_source(_paths(workspace), names, workspace.raw.labels, excluded)


@pytest.fixture(scope="module")
def source(prepared: Workspace) -> TrainingSource:
    return _source(prepared)


def test_arrays_are_finer_than_the_native_spacing(nano_foundation: Foundation) -> None:
    configuration = pretraining_configuration(SETTINGS)
    assert configuration.spacing_mm == pytest.approx(1 / 1.5)
    assert configuration.patch_size == SIZE


def test_every_tenth_case_is_held_out(source: TrainingSource) -> None:
    assert [case.properties.case for case in source.held_out] == ["case_09"]
    assert len(source.train) == 10


@pytest.mark.parametrize("name", ["far", "Dataset007_Boxes:far"])
def test_excluded_class_is_left_out(prepared: Workspace, name: str) -> None:
    assert _source(prepared, name, "Dataset008_Others:near").labels == {"near": (1,)}


def test_dataset_without_a_class_left_is_an_error(prepared: Workspace) -> None:
    with pytest.raises(TrainingError, match="every class is excluded"):
        _source(prepared, "near", "far")


def test_misspelt_exclusion_is_an_error() -> None:
    labels = {"Dataset001_A": ["liver", "spleen"], "Dataset002_B": ["liver"]}
    require_known_classes(["liver", "Dataset001_A:spleen"], labels)
    with pytest.raises(UsageError, match=r"lver: no dataset has such a class\. Did you mean 'liver'\?"):
        require_known_classes(["lver"], labels)
    with pytest.raises(UsageError, match="Dataset002_B:spleen"):
        require_known_classes(["Dataset002_B:spleen"], labels)


def test_command_refuses_a_misspelt_exclusion_before_it_prepares_anything(
    prepared: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [f"--raw={prepared.folders.raw}", f"--preprocessed={tmp_path}", f"--results={tmp_path}"]
    assert sammoe_pretrain(["-d", "7", "--name", "x", "--exclude_classes", "fat", "-device", "cpu", *folders]) == 1
    assert "Did you mean 'far'?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def _views(source: TrainingSource, count: int, **changes: Any) -> list[View]:
    settings = {"size": SIZE, "difficulty": 0.0}
    return [
        draw_view([source], SETTINGS, np.random.default_rng(seed), **{**settings, **changes}) for seed in range(count)
    ]


def test_every_view_shows_its_targets_each_a_component_with_its_click_inside(source: TrainingSource) -> None:
    for view in _views(source, 15, difficulty=1.0):
        assert view.image.shape == view.valid.shape == (SIZE,) * 3 and torch.isfinite(view.image).all()
        assert len(view.masks) == len(view.clicks) == SETTINGS.targets_per_view
        for mask, click in zip(view.masks, view.clicks, strict=True):
            assert click.positive and mask.sum() >= 64
            np.testing.assert_array_equal(component_at(mask.numpy(), click), mask.numpy())
            assert not (mask & ~view.valid).any()


def test_structures_of_several_datasets_are_numbered_apart_and_excluded_classes_teach_nothing(
    source: TrainingSource, prepared: Workspace
) -> None:
    without_near = _source(prepared, "near")
    rng = np.random.default_rng(0)
    shown = set()
    for _ in range(10):
        view = draw_view([source, without_near], SETTINGS, rng, size=SIZE, difficulty=0.0)
        shown |= set(view.structures.unique().tolist())
        far = next((m for m, c in zip(view.masks, view.clicks, strict=True) if m.any()), None)
        assert far is not None and len(view.structures[far].unique()) == 1
        assert (view.structures[~view.valid] == UNKNOWN).all()
    # Background, near and far of the first, far of the second.
    assert shown == {UNKNOWN, 0, 1, 2, 3}


def test_shapes_are_clicked_on_but_not_recognised(source: TrainingSource) -> None:
    shapes = replace(source, anatomy=False)
    assert count_structures([shapes, source]) == count_structures([source]) == 3
    view = draw_view([shapes], SETTINGS, np.random.default_rng(0), size=SIZE)
    assert all(mask.any() for mask in view.masks)
    assert (view.structures == UNKNOWN).all()


def test_excluded_classes_are_never_drawn(prepared: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, ...]] = []
    members = views_module.members

    def spy(labels: Tensor, values: tuple[int, ...]) -> NDArray[np.bool_]:
        shown.append(values)
        return members(labels, values)

    monkeypatch.setattr(views_module, "members", spy)
    _views(_source(prepared, "near"), 15)
    assert set(shown) == {(2,)}


def test_validation_looks_at_held_out_cases_alone_at_native_spacing(
    source: TrainingSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float]] = []
    cut = views_module.cut

    def spy(case: Any, placement: Any, size: int) -> Any:
        seen.append((case.properties.case, float(np.linalg.det(placement.matrix))))
        return cut(case, placement, size)

    monkeypatch.setattr(views_module, "cut", spy)
    _views(source, 5, held_out=True)
    assert {case for case, _ in seen} == {"case_09"}
    assert [volume for _, volume in seen] == pytest.approx([1.5**3] * len(seen))
    seen.clear()
    _views(source, 10)
    assert "case_09" not in {case for case, _ in seen}


def test_batch_depends_on_its_seed_alone(source: TrainingSource) -> None:
    first, again, other = (
        draw_batch([source], SETTINGS, seed, size=SIZE, difficulty=0.6) for seed in ([0, 3], [0, 3], [0, 4])
    )
    assert torch.equal(first.images, again.images) and first.clicks == again.clicks
    assert not torch.equal(first.images, other.images)
    assert first.images.shape == (2, 1, SIZE, SIZE, SIZE)
    assert first.targets.shape == first.valid.shape == (4, 1, SIZE, SIZE, SIZE)
    assert len(first.clicks) == 4


def test_training_begins_with_ellipsoids_and_one_dataset(
    source: TrainingSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []
    monkeypatch.setattr(
        views_module, "draw_batch", lambda sources, *_, difficulty, **__: asked.append((len(sources), difficulty))
    )
    batches = views_module.TrainingBatches([source] * 3, replace(SETTINGS, iterations=100), SIZE)
    for iteration in range(100):
        batches[iteration]
    assert asked[0] == (1, 0.0) and asked[-1] == (3, 1.0)
    assert all(before <= after for before, after in itertools.pairwise(asked))


def test_warm_up_needs_no_dataset() -> None:
    batch = draw_batch([], SETTINGS, [0], size=SIZE, difficulty=0.0)
    assert (batch.targets.flatten(1).sum(dim=1) > 0).all() and batch.valid.all()


def test_targets_too_small_to_show_are_an_error_and_no_endless_search(make_workspace: MakeWorkspace) -> None:
    label = np.zeros((12, 12, 12), dtype=np.uint8)
    label[5, 5, 5] = 1
    made = make_workspace({"a": label}, {"dot": 1, "absent": 2})
    prepare_dataset(made.raw, _paths(made), [pretraining_configuration(SETTINGS)], workers=1)
    for excluded in ("absent", "dot"):
        with pytest.raises(TrainingError, match="views of Dataset007_Boxes show no target of 64 voxels"):
            _views(_source(made, excluded), 1)


def test_class_of_several_values_is_one_structure_and_a_class_within_keeps_its_voxels(source: TrainingSource) -> None:
    regions = replace(source, labels={"inner": (2,), "whole": (1, 2)})
    labels = torch.tensor([[[0, 1, 2, -1]]], dtype=torch.int16)
    assert views_module._structures(labels, [regions], 0).flatten().tolist() == [0, 2, 1, UNKNOWN]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes batches one after another here, and few views to validate on."""
    monkeypatch.setattr(module, "prefetch", lambda batches, iterations, **_: (batches[i] for i in iterations))
    monkeypatch.setattr(module, "_VALIDATION_VIEWS", 2)


def _run(source: TrainingSource, folder: Path, **changes: Any) -> Path:
    return pretrain([source], replace(SETTINGS, **changes), folder, device="cpu", command="sammoe_pretrain -d 7")


def test_card_says_what_the_foundation_was_trained_on(
    prepared: Workspace, tmp_path: Path, in_this_process: None
) -> None:
    folder = _run(_source(prepared, "far"), tmp_path, excluded_classes=("far",))
    card = FoundationCard.load(folder / FOUNDATION_JSON)
    assert card.trained_on == ("Dataset007_Boxes: near",)
    assert (card.name, card.spacing_mm, card.patch_size, card.iterations) == ("small", 1.0, SIZE, 2)
    assert card.sha256 == sha256_of(folder / FOUNDATION_WEIGHTS)
    assert card.source == "sammoe_pretrain -d 7"
    Foundation(card=card, folder=folder).load_model()


def test_encoder_and_decoder_are_compiled_where_asked(
    source: TrainingSource, tmp_path: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(type(self).__name__))
    arguments = {"device": "cpu", "command": "", "compiled": True}
    folder = pretrain([source], replace(SETTINGS, iterations=1), tmp_path, **arguments)  # type: ignore[arg-type]
    assert compiled == ["ImageEncoder", "MaskDecoder"]
    Foundation(card=FoundationCard.load(folder / FOUNDATION_JSON), folder=folder).load_model()


class _Killed(BaseException):
    """Stands for a signal."""


def _stopping_at(last: int) -> Callable[[Any, Sequence[int]], Iterator[Any]]:
    def batches_until(batches: Any, iterations: Sequence[int], **_: int) -> Iterator[Any]:
        for iteration in iterations:
            if iteration == last:
                raise _Killed
            yield batches[iteration]

    return batches_until


@pytest.mark.slow
def test_stopped_run_ends_with_the_weights_of_one_that_was_not(
    source: TrainingSource, tmp_path: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = {"iterations": 103, "batch_size": 1, "targets_per_view": 1}
    whole = _run(source, tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(module, "prefetch", _stopping_at(102))
        with pytest.raises(_Killed):
            _run(source, tmp_path / "stopped", **settings)
    assert not (tmp_path / "stopped" / FOUNDATION_JSON).exists()
    stopped = _run(source, tmp_path / "stopped", **settings)
    torch.set_num_threads(threads)
    assert sha256_of(stopped / FOUNDATION_WEIGHTS) == sha256_of(whole / FOUNDATION_WEIGHTS)


def test_checkpoint_of_other_settings_is_refused(source: TrainingSource, tmp_path: Path, in_this_process: None) -> None:
    folder = _run(source, tmp_path)
    before = (folder / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match="was made with another excluded_classes, seed"):
        _run(source, tmp_path, seed=1, excluded_classes=("far",))
    with pytest.raises(TrainingError, match="was made with another datasets"):
        _run(replace(source, name="Dataset008_Others"), tmp_path)
    with pytest.raises(TrainingError, match="was made with another datasets"):
        _run(replace(source, anatomy=False), tmp_path)
    assert (folder / CHECKPOINT).read_bytes() == before


def test_loss_that_is_not_finite_ends_the_training(
    source: TrainingSource, tmp_path: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_step", lambda *_: (torch.tensor(float("nan")), torch.tensor(0.0)))
    with pytest.raises(TrainingError, match=r"The loss is nan at iteration 0\. Lower --learning_rate"):
        _run(source, tmp_path)
    assert not (tmp_path / FOUNDATION_JSON).exists()
