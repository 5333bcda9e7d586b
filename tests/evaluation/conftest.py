"""A small evaluation, by hand: two datasets, three classes, one expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sammoe_pipeline.artefacts import Configuration, FoundationCard, MixtureCard, MixtureExpert, Provenance
from sammoe_pipeline.evaluation.oracles import oracle_records
from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord, Method, RoutingRecord
from sammoe_pipeline.evaluation.summary import EvaluationSummary, summarise
from sammoe_pipeline.evaluation.surface import MaskScores

PROVENANCE = Provenance(versions={"torch": "2.13"}, commit=None, seed=0, device="cpu", threads=1)
HEAD, TRUNK = "Dataset001_Head", "Dataset002_Trunk"


def scores(dice: float | None, **changed: Any) -> MaskScores:
    """Returns the scores of a mask with this Dice, with the rest filled in."""
    usual = {
        "dice": dice,
        "iou": None if dice is None else dice / (2 - dice),
        "surface_dice": dice,
        "hd95_mm": None if dice is None else 10 * (1 - dice),
        "volume_error_ml": 0.0 if dice is None else 1 - dice,
        "reference_ml": 1.0,
        "prediction_ml": 1.0,
        "empty": "both" if dice is None else "neither",
    }
    return MaskScores(**(usual | changed))


MakeRecord = Callable[..., CaseRecord]
MakeRouting = Callable[..., RoutingRecord]
Summarise = Callable[..., EvaluationSummary]


@pytest.fixture
def record() -> MakeRecord:
    """Returns a function that makes a record, with most of it filled in."""

    def make(method: Method, dice: float | None, *, empty: str | None = None, **fields: Any) -> CaseRecord:
        usual = {
            "dataset": HEAD,
            "case": "a",
            "fold": 0,
            "class_name": "nerve",
            "task": "nerve",
            "configuration": "native" if method == "general_native" else "fine",
            "prompt": "click",
            "clicks": 1,
            "seed": 0,
            "seen_by_foundation": False,
            "seconds": 0.5,
        }
        found = scores(dice) if empty is None else scores(dice, empty=empty)
        return CaseRecord(method=method, scores=found, **(usual | fields))

    return make


@pytest.fixture
def routed() -> MakeRouting:
    """Returns a function that makes a routing record, with most of it filled in."""

    def make(chosen: str, **fields: Any) -> RoutingRecord:
        usual = {
            "dataset": HEAD,
            "case": "a",
            "fold": 0,
            "class_name": "nerve",
            "task": "nerve",
            "clicks": 1,
            "seed": 0,
            "confidences": {"general": 1.0} if chosen == "general" else {"general": 0.3, chosen: 0.7},
        }
        return RoutingRecord(chosen=chosen, **(usual | fields))

    return make


@pytest.fixture
def summarised() -> Summarise:
    """Summarises records of a mixture with one expert."""

    def run(
        cases: list[CaseRecord],
        routing: list[RoutingRecord] | None = None,
        *,
        held_out: dict[str, list[str]] | None = None,
        experts: tuple[str, ...] = ("nerve",),
        by_experts: list[ExpertRecord] | None = None,
        patients: dict[tuple[str, str], str] | None = None,
        absent: dict[tuple[str, str], int] | None = None,
    ) -> EvaluationSummary:
        configuration = Configuration(name="fine", spacing_mm=1.0, patch_size=48)
        mixture = MixtureCard(
            name="default",
            foundation="tiny",
            foundation_sha256="f0" * 32,
            folds=(0,),
            datasets=(),
            experts=tuple(
                MixtureExpert(
                    dataset=HEAD,
                    task=task,
                    classes=(task,),
                    configuration=configuration,
                    sha256={},
                    expert_fold={},
                    threshold=0.5,
                )
                for task in experts
            ),
            labels=(),
            gate_sha256={},
            top_k=1,
            max_general_loss=0.1,
            calibration_patients=0,
            calibration=(),
            seconds=1.0,
            provenance=PROVENANCE,
        )
        foundation = FoundationCard(
            name="tiny",
            builder="tiny",
            spacing_mm=3.0,
            patch_size=48,
            normalisation="equalised",
            trained_on=(),
            sha256="f0" * 32,
            licence="Apache-2.0",
            source="made up",
        )
        return summarise(
            [*cases, *oracle_records(cases, by_experts or [])],
            routing or [],
            by_experts or [],
            mixture=mixture,
            foundation=foundation,
            held_out=held_out or {},
            provenance=PROVENANCE,
            patients=patients,
            absent=absent,
        )

    return run


@pytest.fixture
def cases(record: MakeRecord) -> list[CaseRecord]:
    """Four cases with an expert's class, two with two classes that have none and that the foundation has seen."""
    found = []
    for case, native, general, expert, mixture in [
        ("a", 0.1, 0.2, 0.8, 0.8),
        ("b", 0.2, 0.3, 0.7, 0.7),
        ("c", 0.3, 0.4, 0.6, 0.4),
        ("d", 0.2, 0.3, 0.7, 0.7),
    ]:
        found += [
            record("general_native", native, case=case),
            record("general", general, case=case),
            record("expert", expert, case=case),
            record("mixture", mixture, case=case),
        ]
    for class_name, values in {"liver": (0.9, 0.8), "vein": (0.5, 0.7)}.items():
        for case, dice in zip("ef", values, strict=True):
            lost = 0.1 if class_name == "vein" and case == "e" else 0.0
            rest = {"dataset": TRUNK, "class_name": class_name, "task": None, "case": case, "seen_by_foundation": True}
            found += [
                record("general_native", dice, **rest),
                record("general", dice, **rest),
                record("mixture", dice - lost, **rest),
            ]
    return found


@pytest.fixture
def routing(routed: MakeRouting) -> list[RoutingRecord]:
    """The decisions that go with `cases`."""
    expert = f"{HEAD}/nerve"
    return [
        *(routed(chosen) for chosen in (expert, expert, "general", expert)),
        *(routed(chosen, dataset=TRUNK, task=None) for chosen in ("general", "general", expert, "general")),
    ]
