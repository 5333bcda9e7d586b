from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from planning.candidate_experts import Candidate, find_candidates, remarks_on
from planning.fingerprint import take_fingerprint
from planning.memory import Memory
from planning.plan_check import check_plan
from planning.planner import make_plan
from planning.table import plan_table
from sammoe_pipeline.artefacts import Configuration, ExpertCard, FoldSplit, Plan, Provenance, Splits, sha256_of
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.inference import segment as segment_module
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.model import MaskDecoder
from sammoe_pipeline.paths import EXPERT_JSON, EXPERT_WEIGHTS, SPLITS_JSON, Results
from sammoe_pipeline.raw_dataset import RawDataset, read_raw_dataset

MakeRaw = Callable[..., Path]
Finish = Callable[..., None]
SPLITS = Splits(folds=(FoldSplit(train=("case_0", "case_3"), calibration=("case_1",), val=("case_2",)),))
OTHER = "Dataset009_Others/lumps"


@pytest.fixture
def foundation(tiny_foundation: Path, tmp_path: Path) -> Foundation:
    return find_foundation(str(tiny_foundation), tmp_path)


@pytest.fixture
def raw(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> RawDataset:
    return read_raw_dataset(make_raw(blocks, {"one": 1}, name="Dataset007_Things"))


@pytest.fixture
def finish(foundation: Foundation, tmp_path: Path) -> Finish:
    """Returns a function that puts a finished expert under `results`: the general decoder by another name."""

    def put(key: str, *, fold: int = 0, configuration: Configuration | None = None, sha256: str | None = None) -> None:
        dataset, task = key.split("/")
        folder = Results(root=tmp_path / "results", foundation=foundation.card.name).expert_fold(dataset, task, fold)
        folder.mkdir(parents=True)
        save_file(foundation.load_model().mask_decoder.state_dict(), folder / EXPERT_WEIGHTS)
        ExpertCard(
            dataset=dataset,
            task=task,
            classes=("lump",),
            configuration=configuration or foundation.native,
            fold=fold,
            start_from="general",
            foundation=foundation.card.name,
            foundation_sha256=sha256 or foundation.card.sha256,
            recipe="",
            sha256=sha256_of(folder / EXPERT_WEIGHTS),
            iterations=1,
            best_iteration=1,
            calibration_dice={},
            general_calibration_dice={},
            seconds=1.0,
            provenance=Provenance(versions={}, commit=None, seed=0, device="cpu", threads=1),
        ).save(folder / EXPERT_JSON)

    return put


@pytest.fixture
def experts_are_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes experts segment whatever is bright, and the general expert the whole image."""

    def answer(encoded: EncodedImage, clicks: list[Click], decoders: list[MaskDecoder | None]) -> Answer:
        logits = torch.ones(encoded.shape) if decoders == [None] else encoded.image - 50
        return Answer(logits=logits, start=(0, 0, 0), grid=encoded.shape, windows=())

    monkeypatch.setattr(segment_module, "segment", answer)


def _candidates(foundation: Foundation, tmp_path: Path) -> list[Candidate]:
    return find_candidates(
        "Dataset007_Things", foundation, results=tmp_path / "results", preprocessed=tmp_path / "preprocessed"
    )


def _found(foundation: Foundation, tmp_path: Path) -> list[str]:
    return [f"{one.entry.expert}, fold {one.entry.fold}" for one in _candidates(foundation, tmp_path)]


def test_finished_experts_of_other_datasets_are_candidates(
    foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    assert _found(foundation, tmp_path) == []
    finish(OTHER, fold=1)
    finish(OTHER, fold=2)
    finish("Dataset007_Things/own")
    finish("Dataset008_Stale/old", sha256="0" * 64)
    assert _found(foundation, tmp_path) == [f"{OTHER}, fold 1"]


def test_a_card_that_cannot_be_read_is_left_out(
    foundation: Foundation, finish: Finish, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finish(OTHER)
    (card,) = tmp_path.glob(f"results/**/{EXPERT_JSON}")
    card.write_text("{}")
    assert _found(foundation, tmp_path) == []
    assert str(card) in caplog.text


def _plan(raw: RawDataset, foundation: Foundation, tmp_path: Path, threshold: float) -> Plan:
    candidates = _candidates(foundation, tmp_path)
    plan = make_plan(
        raw,
        take_fingerprint(raw, workers=1),
        SPLITS,
        foundation,
        expert_threshold=threshold,
        grouping="by_scale",
        effort=1.0,
        seed=0,
        device="cpu",
        workers=1,
        memory=Memory(foundation, 8.0, "cpu"),
        candidate_experts=candidates,
    )
    check_plan(plan, raw, foundation, SPLITS, raw_digest=plan.raw_digest)
    return plan


@pytest.mark.usefixtures("experts_are_better")
def test_a_class_that_another_expert_masters_is_served_by_it(
    raw: RawDataset, foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    finish(OTHER)
    plan = _plan(raw, foundation, tmp_path, threshold=0.8)
    one = plan.classes["one"]
    assert (one.task, plan.tasks) == (OTHER, ())
    assert one.experts[OTHER] > 0.8
    assert f"served by {OTHER}, which reaches" in one.reason
    assert [candidate.expert for candidate in plan.candidate_experts] == [OTHER]
    assert OTHER in plan_table(plan)


@pytest.mark.usefixtures("experts_are_better")
def test_a_new_expert_starts_from_the_best_decoder(
    raw: RawDataset, foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    finish(OTHER)
    plan = _plan(raw, foundation, tmp_path, threshold=1.0)
    assert [(task.classes, task.start_from) for task in plan.tasks] == [(("one",), OTHER)]
    assert f"from {OTHER}" in plan_table(plan)


@pytest.mark.usefixtures("experts_are_better")
def test_an_expert_that_sees_images_otherwise_is_not_tried(
    raw: RawDataset, foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    finish(OTHER, configuration=Configuration(name="0.3mm", spacing_mm=0.3, patch_size=48))
    plan = _plan(raw, foundation, tmp_path, threshold=0.8)
    assert plan.classes["one"].experts == {}
    assert [task.start_from for task in plan.tasks] == ["general"]


def test_who_may_have_seen_the_patients_is_said(
    raw: RawDataset, foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    finish(OTHER)
    folder = tmp_path / "preprocessed" / "Dataset009_Others"
    folder.mkdir(parents=True)
    SPLITS.save(folder / SPLITS_JSON)
    candidates = _candidates(foundation, tmp_path)
    card = foundation.card.model_copy(update={"trained_on": ("Dataset100_things: one, two",)})
    remarks = remarks_on(raw, Foundation(folder=foundation.folder, card=card), candidates)
    assert remarks == (
        "the general expert was trained on Dataset100_things, so it may have seen these patients",
        f"{OTHER} comes from a dataset with 4 cases of the same names, such as case_0, so it may have seen these "
        "patients",
    )
    assert remarks_on(raw, foundation, []) == ()


@pytest.mark.usefixtures("experts_are_better")
def test_a_plan_edited_to_an_unknown_expert_is_refused(
    raw: RawDataset, foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    finish(OTHER)
    plan = _plan(raw, foundation, tmp_path, threshold=0.8)
    misspelt = plan.classes["one"].model_copy(update={"task": "Dataset009_Others/lump"})
    edited = plan.model_copy(update={"classes": {"one": misspelt}})
    with pytest.raises(ArtefactError, match=rf"no candidate expert. Did you mean '{OTHER}'"):
        check_plan(edited, raw, foundation, SPLITS, raw_digest=plan.raw_digest)


def test_an_expert_whose_weights_were_changed_is_refused(
    raw: RawDataset, foundation: Foundation, finish: Finish, tmp_path: Path
) -> None:
    finish(OTHER)
    (weights,) = tmp_path.glob(f"results/**/{EXPERT_WEIGHTS}")
    weights.write_bytes(b"changed")
    with pytest.raises(ArtefactError, match="was changed or belongs to something else"):
        _plan(raw, foundation, tmp_path, threshold=1.0)
