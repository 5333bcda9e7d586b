from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray

from planning.expert_choice import (
    Measurement,
    Score,
    TargetKind,
    choose_configuration,
    evidence_of,
    measure_decoders,
    pool_evidence,
    worth_measuring,
)
from sammoe_pipeline.artefacts import CandidateEvidence
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.geometry import Shape
from sammoe_pipeline.inference import segment as segment_module
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.model import MaskDecoder
from sammoe_pipeline.raw_dataset import read_raw_dataset

MakeRaw = Callable[..., Path]
Blocks = Mapping[str, NDArray[Any]]


def evidence(**candidates: tuple[float, tuple[float, ...]]) -> dict[str, CandidateEvidence]:
    scores = {name: [Score(dice=value, seconds=0.1) for value in dice] for name, (_, dice) in candidates.items()}
    return evidence_of({name: ceiling for name, (ceiling, _) in candidates.items()}, scores)


def test_candidates_far_below_the_best_ceiling_are_not_measured() -> None:
    assert worth_measuring({"native": 0.6, "fine": 0.81, "finer": 0.9}) == ["fine", "finer"]


def test_a_clear_lead_in_dice_decides() -> None:
    name, why = choose_configuration(evidence(native=(0.85, (0.8, 0.6)), fine=(0.92, (0.7, 0.5))), 0.9)
    assert name == "native"
    assert why == "native has the clearly best Dice of the general expert: 0.70, next 0.60"


def test_the_ceiling_decides_where_dice_does_not() -> None:
    name, why = choose_configuration(evidence(native=(0.85, (0.62, 0.62)), fine=(0.92, (0.6, 0.6))), 0.9)
    assert name == "fine"
    assert "highest ceiling (0.92)" in why


@pytest.mark.parametrize("native", [(0.9, 0.3), (0.6,)])
def test_a_lead_that_chance_may_have_made_does_not_decide_for_an_expert(native: tuple[float, ...]) -> None:
    found = evidence(native=(0.85, native), fine=(0.92, (0.5, 0.5)[: len(native)]))
    assert choose_configuration(found, 0.9)[0] == "fine"


def test_where_the_general_expert_answers_itself_any_lead_decides() -> None:
    found = evidence(native=(0.85, (0.9, 0.3)), fine=(0.92, (0.5, 0.5)))
    assert choose_configuration(found, 0.6)[0] == "native"


def test_native_wins_where_nothing_differs() -> None:
    assert choose_configuration(evidence(native=(0.91, (0.6,)), fine=(0.92, (0.61,))), 0.9)[0] == "native"


def test_the_coarser_of_two_equal_ones_wins() -> None:
    found = evidence(native=(0.7, ()), fine=(0.91, (0.6,)), finer=(0.92, (0.61,)))
    assert choose_configuration(found, 0.9)[0] == "fine"


def test_the_only_one_that_can_draw_a_class_wins() -> None:
    name, why = choose_configuration(evidence(native=(0.4, ()), fine=(0.9, (0.1,))), 0.9)
    assert (name, why) == ("fine", "only fine can draw it: ceiling 0.90, next 0.40")


def test_a_class_that_was_never_seen_stays_native() -> None:
    assert choose_configuration({}, 0.9)[0] == "native"


def test_evidence_is_the_mean_over_targets() -> None:
    scores = [Score(dice=0.2, seconds=5.0), Score(dice=0.4, seconds=1.0), Score(dice=0.6, seconds=2.0)]
    found = evidence_of({"native": 0.9, "fine": 0.95}, {"native": scores})
    assert found["native"] == CandidateEvidence(ceiling=0.9, dice=0.4, dice_by_case=(0.2, 0.4, 0.6), seconds=2.0)
    assert found["fine"] == CandidateEvidence(ceiling=0.95, dice=None, dice_by_case=())


def test_pooled_evidence_holds_the_cases_of_both_where_both_were_measured() -> None:
    left = evidence(native=(0.9, (0.2, 0.4)), fine=(0.95, ()), finer=(1.0, (0.5, 0.7)))
    right = evidence(native=(0.8, (0.6, 0.8)), fine=(0.85, (0.9,)))
    pooled = pool_evidence(left, right)
    assert list(pooled) == ["native", "fine"]
    assert pooled["native"] == CandidateEvidence(ceiling=0.85, dice=0.5, dice_by_case=(0.2, 0.4, 0.6, 0.8))
    assert pooled["fine"] == CandidateEvidence(ceiling=0.9, dice=None, dice_by_case=())


@pytest.fixture
def shapes_answered(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """Makes every answer cover the whole image, and lists the shapes of the images that were segmented."""
    shapes: list[Shape] = []

    def everything(encoded: EncodedImage, clicks: list[Click], decoders: list[MaskDecoder | None]) -> Answer:
        shapes.append(encoded.shape)
        return Answer(logits=torch.ones(encoded.shape), start=(0, 0, 0), grid=encoded.shape, windows=())

    monkeypatch.setattr(segment_module, "segment", everything)
    return shapes


@pytest.fixture
def foundation(tiny_foundation: Path, tmp_path: Path) -> Foundation:
    return find_foundation(str(tiny_foundation), tmp_path)


@pytest.mark.parametrize(("target", "clicks"), [("class", 1), ("component", 2)])
def test_dice_is_over_the_union_on_the_original_grid(
    target: TargetKind,
    clicks: int,
    make_raw: MakeRaw,
    blocks: Blocks,
    foundation: Foundation,
    shapes_answered: list[Shape],
) -> None:
    fine = foundation.native.model_copy(update={"name": "1.5mm", "spacing_mm": 1.5})
    wanted = Measurement(values=(2,), target=target, cases=("case_1", "case_3"), candidates=(foundation.native, fine))
    raw = read_raw_dataset(make_raw(blocks, {"one": 1, "two": 2}))
    found = measure_decoders(raw, foundation, {"general": None}, {"two": wanted}, seed=0, device="cpu")
    # The class has 26 of 14^3 voxels; the answer has all.
    dice = {name: [score.dice for score in scores] for name, scores in found["general"]["two"].items()}
    assert dice == dict.fromkeys(["native", "1.5mm"], [2 * 26 / (26 + 14**3)] * 2)
    assert sorted(shapes_answered) == sorted(([(14, 14, 14)] * clicks + [(28, 28, 28)] * clicks) * 2)


@pytest.mark.usefixtures("shapes_answered")
def test_ignored_voxels_are_not_scored(make_raw: MakeRaw, blocks: Blocks, foundation: Foundation) -> None:
    wanted = Measurement(values=(1,), target="class", cases=("case_1",), candidates=(foundation.native,))
    raw = read_raw_dataset(make_raw(blocks, {"one": 1, "ignore": 2}))
    found = measure_decoders(raw, foundation, {"general": None}, {"one": wanted}, seed=0, device="cpu")
    assert [score.dice for score in found["general"]["one"]["native"]] == [2 * 216 / (216 + 14**3 - 26)]
