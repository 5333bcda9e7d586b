from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from planning.expert_choice import Measurement, Score
from planning.fingerprint import take_fingerprint
from planning.memory import Memory
from planning.plan_check import check_plan
from planning.planner import make_plan
from planning.table import plan_table
from sammoe_pipeline.artefacts import FoldSplit, Plan, Splits
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.raw_dataset import RawDataset, read_raw_dataset

MakeRaw = Callable[..., Path]
BUDGET = {"views": 300, "iterations": 400}
SPLITS = Splits(folds=(FoldSplit(train=("case_0", "case_3"), calibration=("case_1",), val=("case_2",)),))


def cord_and_block() -> NDArray[np.uint8]:
    """A block of 12 mm, and a cord of 5 mm that crosses the image of 30 mm; 1 mm voxels."""
    label = np.zeros((30, 30, 30), dtype=np.uint8)
    label[4:16, 4:16, 4:16] = 1
    label[21:26, 21:26, :] = 2
    return label


@pytest.fixture
def foundation(tiny_foundation: Path, tmp_path: Path) -> Foundation:
    return find_foundation(str(tiny_foundation), tmp_path)


@pytest.fixture
def raw(make_raw: MakeRaw) -> RawDataset:
    cases = {f"case_{index}": cord_and_block() for index in range(4)}
    return read_raw_dataset(make_raw(cases, {"block_left": 1, "cord": 2, "nothing": 3}, spacing_mm=1.0))


def plan_for(
    raw: RawDataset,
    foundation: Foundation,
    threshold: float = 0.8,
    target_gb: float = 8.0,
    splits: Splits = SPLITS,
) -> Plan:
    fingerprint = take_fingerprint(raw, workers=1)
    return make_plan(
        raw,
        fingerprint,
        splits,
        foundation,
        expert_threshold=threshold,
        grouping="by_scale",
        effort=1.0,
        seed=0,
        device="cpu",
        workers=1,
        memory=Memory(foundation, target_gb, "cpu"),
    )


def test_each_class_gets_what_its_evidence_says(raw: RawDataset, foundation: Foundation) -> None:
    plan = plan_for(raw, foundation)
    cord, block, nothing = plan.classes["cord"], plan.classes["block_left"], plan.classes["nothing"]
    # Cells of 6 mm cannot draw a cord of 5 mm; cells of a third can.
    assert cord.evidence["native"].ceiling < 0.6 < 0.85 < cord.evidence["1mm"].ceiling
    assert cord.evidence["native"].dice is None
    assert plan.configurations[cord.configuration].spacing_mm < foundation.card.spacing_mm
    assert len(cord.evidence[cord.configuration].dice_by_case) == 2
    assert cord.task in {task.name for task in plan.tasks if "cord" in task.classes}
    assert block.task is not None
    assert (nothing.task, nothing.evidence) == (None, {})
    assert "no training case of fold 0 has it" in nothing.reason
    assert plan.training.mirror_axes == ()
    used = {plan.locator_configuration, *(chosen.configuration for chosen in plan.classes.values())}
    assert set(plan.configurations) == used
    check_plan(plan, raw, foundation, SPLITS, raw_digest=plan.raw_digest)
    assert len(cord.measured_on) == 2 and set(cord.measured_on) <= set(SPLITS.folds[0].train)
    assert without_times(plan) == without_times(plan_for(raw, foundation))


def without_times(plan: Plan) -> dict[str, Any]:
    """Returns a plan as it would be on any machine."""
    seconds = {name: {"evidence": {c: {"seconds"} for c in chosen.evidence}} for name, chosen in plan.classes.items()}
    return plan.model_dump(exclude={"classes": seconds})


def test_both_sides_of_an_organ_share_a_configuration(make_raw: MakeRaw, foundation: Foundation) -> None:
    label = np.zeros((30, 30, 30), dtype=np.uint8)
    label[2:13, 2:13, 2:13] = 1
    label[17:27, 17:27, 17:27] = 2
    cases = {f"case_{index}": label for index in range(4)}
    plan = plan_for(read_raw_dataset(make_raw(cases, {"ear_left": 1, "ear_right": 2}, spacing_mm=1.0)), foundation)
    left, right = plan.classes["ear_left"], plan.classes["ear_right"]
    assert (left.configuration, left.task) == (right.configuration, right.task)
    assert left.reason.replace("ear_right", "ear_left") == right.reason
    assert right.reason.endswith("(both sides together, with ear_left)")


def _measured(monkeypatch: pytest.MonkeyPatch, *classes: str, **dice: float) -> None:
    """Has the general expert reach a Dice in each configuration on two cases."""

    def measure(*_: object, **__: object) -> dict[str, dict[str, dict[str, list[Score]]]]:
        scores = {name.strip("_"): [Score(dice=value, seconds=0.1)] * 2 for name, value in dice.items()}
        return {"general": dict.fromkeys(classes, scores)}

    monkeypatch.setattr("planning.ground.measure_decoders", measure)


def test_a_class_that_the_general_expert_masters_needs_no_expert(
    raw: RawDataset, foundation: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measured(monkeypatch, "block_left", "cord", native=0.8, _1mm=0.9)
    plan = plan_for(raw, foundation)
    assert plan.tasks == ()
    assert plan.classes["cord"].task is None
    assert "no expert needed" in plan.classes["cord"].reason
    assert "general expert" in plan_table(plan)


def test_a_class_that_cannot_be_learnt_in_every_fold_gets_no_expert(make_raw: MakeRaw, foundation: Foundation) -> None:
    label = cord_and_block()
    cases = {f"case_{index}": label * (label == 1) for index in range(4)} | {"case_0": label}
    splits = Splits(
        folds=(*SPLITS.folds, FoldSplit(train=("case_1", "case_2"), calibration=("case_3",), val=("case_0",)))
    )
    raw = read_raw_dataset(make_raw(cases, {"block": 1, "cord": 2}, spacing_mm=1.0))
    plan = plan_for(raw, foundation, splits=splits)
    assert plan.classes["block"].task is not None and plan.classes["cord"].task is None
    assert "no training case of fold 1 has it" in plan.classes["cord"].reason


def test_a_class_that_is_mastered_only_where_it_has_to_be_named_needs_an_expert(
    raw: RawDataset, foundation: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measured(monkeypatch, "block_left", native=0.7, _1mm=0.95)
    block = plan_for(raw, foundation).classes["block_left"]
    assert block.task is not None and "reaches 0.70 of 0.80 in native" in block.reason
    assert plan_for(raw, foundation, threshold=0.7).classes["block_left"].task is None


def _task(configuration: str) -> dict[str, object]:
    return {
        "name": "task",
        "classes": ["block_left"],
        "configuration": configuration,
        "start_from": "general",
        "budget": BUDGET,
    }


def small_plan(**changes: Any) -> Plan:
    content: dict[str, Any] = {
        "dataset": "Dataset007_Things",
        "foundation": "random",
        "foundation_sha256": "abc",
        "configurations": {"native": {"name": "native", "spacing_mm": 3.0, "patch_size": 48}},
        "classes": {
            name: {"configuration": "native", "target": "class", "task": task, "reason": "", "evidence": {}}
            for name, task in (("block_left", "task"), ("cord", None), ("nothing", None))
        },
        "tasks": [_task("native")],
        "locator_configuration": "native",
        "locator_budget": BUDGET,
        "training": {"batch_size": 8, "learning_rate": 1e-3, "interactions": 2, "mirror_axes": []},
        "expert_threshold": 0.8,
        "num_folds": 1,
        "seed": 0,
        "raw_digest": "digest",
        **changes,
    }
    return Plan.model_validate(content, strict=False)


def test_an_edited_plan_is_checked_and_all_faults_named(raw: RawDataset, foundation: Foundation) -> None:
    classes = {name: chosen.model_dump() for name, chosen in small_plan().classes.items()}
    classes["cords"] = {**classes.pop("cord"), "configuration": "natve"}
    classes["nothing"]["task"] = "task"
    plan = small_plan(classes=classes, num_folds=5, raw_digest="old")
    with pytest.raises(ArtefactError) as caught:
        check_plan(plan, raw, foundation, SPLITS, raw_digest="digest")
    message = str(caught.value)
    for fault in (
        "the raw data of Dataset007_Things changed after planning. Add --replan",
        "foundation 'random' is not the one it was made for. Add --replan",
        "num_folds is 5, but there are 1 folds",
        "class 'cord' is missing. Did you mean 'cords'?",
        "there is no class 'cords' in the dataset. Did you mean 'cord'?",
        "classes.cords: there is no configuration 'natve'. Did you mean 'native'?",
        "classes.nothing.task is 'task', but the task that lists it is None",
    ):
        assert fault in message


def test_a_plan_may_start_from_scratch(raw: RawDataset, foundation: Foundation) -> None:
    tasks = [{**_task("native"), "start_from": "scratch"}]
    digest = foundation.card.sha256
    plan = small_plan(tasks=tasks, foundation_sha256=digest, num_folds=1)
    check_plan(plan, raw, foundation, SPLITS, raw_digest=plan.raw_digest)


def test_a_class_must_share_its_tasks_configuration(raw: RawDataset, foundation: Foundation) -> None:
    configuration = {"name": "1mm", "spacing_mm": 1.0, "patch_size": 48}
    plan = small_plan(
        foundation_sha256=foundation.card.sha256,
        configurations={"native": {"name": "native", "spacing_mm": 3.0, "patch_size": 48}, "1mm": configuration},
        tasks=[_task("1mm")],
    )
    with pytest.raises(ArtefactError, match=r"classes.block_left.configuration is native, that of its task 1mm"):
        check_plan(plan, raw, foundation, SPLITS, raw_digest="digest")


def bone() -> NDArray[np.uint8]:
    """A bar of 18 by 18 by 270 mm in voxels of 3 mm."""
    label = np.zeros((16, 16, 100), dtype=np.uint8)
    label[5:11, 5:11, 5:95] = 1
    return label


@pytest.fixture
def better_in_larger_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the general expert do the better the more of a class its window shows."""

    def measure(
        raw: RawDataset,
        foundation: Foundation,
        decoders: Mapping[str, Path | None],
        measurements: Mapping[str, Measurement],
        **settings: Any,
    ) -> dict[str, dict[str, dict[str, list[Score]]]]:
        scores = {
            name: {
                one.name: [Score(dice=one.patch_size / 200, seconds=0.1)] * len(wanted.cases)
                for one in wanted.candidates
            }
            for name, wanted in measurements.items()
        }
        return dict.fromkeys(decoders, scores)

    monkeypatch.setattr("planning.ground.measure_decoders", measure)


@pytest.fixture
def raw_bone(make_raw: MakeRaw) -> RawDataset:
    return read_raw_dataset(make_raw({f"case_{index}": bone() for index in range(4)}, {"femur": 1}))


@pytest.mark.usefixtures("better_in_larger_windows")
def test_a_long_bone_gets_the_larger_window_that_does_better(raw_bone: RawDataset, foundation: Foundation) -> None:
    plan = plan_for(raw_bone, foundation)
    native = foundation.card.patch_size
    chosen = plan.configurations[plan.classes["femur"].configuration]
    assert (chosen.patch_size, chosen.spacing_mm) == (2 * native, foundation.card.spacing_mm)
    assert plan.tasks[0].configuration == chosen.name
    assert plan.memory_gb[chosen.name] > Memory(foundation, 8.0, "cpu").needed_gb(native, plan.training.batch_size)


@pytest.mark.usefixtures("better_in_larger_windows")
def test_a_window_that_memory_does_not_hold_is_not_chosen_and_remarked(
    raw_bone: RawDataset, foundation: Foundation
) -> None:
    memory = Memory(foundation, 8.0, "cpu")
    native = foundation.card.patch_size
    plan = plan_for(raw_bone, foundation, target_gb=(memory.needed_gb(native, 1) + memory.needed_gb(2 * native, 1)) / 2)
    assert plan.configurations[plan.classes["femur"].configuration].patch_size < 2 * native
    assert any(f"native_patch{2 * native} was not tried" in remark for remark in plan.remarks)
