import pytest

from sammoe_pipeline.artefacts import CalibrationPoint
from sammoe_pipeline.errors import TrainingError
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.training.thresholds import (
    NEVER,
    THRESHOLDS,
    Trial,
    calibration_curve,
    certifiable_loss,
    choose_threshold,
    choose_thresholds,
    general_loss,
)


def _trial(
    class_key: str,
    expert: float,
    *,
    general_dice: float,
    expert_dice: float,
    general_task: bool = False,
    key: str = "A/a",
) -> Trial:
    """A prompt that the expert answers from thresholds up to its confidence."""
    return Trial(
        class_key=class_key,
        patient=class_key,
        general_task=general_task,
        confidences={GENERAL: 1 - expert, key: expert},
        dice={(): general_dice, (key,): expert_dice},
    )


TRIALS = [
    _trial("A:served", 0.92, general_dice=0.2, expert_dice=0.8),
    _trial("A:served", 0.62, general_dice=0.4, expert_dice=0.6),
    _trial("A:general", 0.42, general_dice=0.9, expert_dice=0.1, general_task=True),
    _trial("B:general", 0.12, general_dice=0.7, expert_dice=0.0, general_task=True),
]


def test_curve_averages_classes_and_counts_what_general_tasks_lose() -> None:
    points = {point.threshold: point for point in calibration_curve(TRIALS)}
    assert tuple(points) == THRESHOLDS
    assert points[0.3].mean_dice == pytest.approx(((0.8 + 0.6) / 2 + 0.1 + 0.7) / 3)
    assert points[0.5].mean_dice == pytest.approx((0.7 + 0.9 + 0.7) / 3)
    assert points[0.8].mean_dice == pytest.approx((0.6 + 0.9 + 0.7) / 3)
    # Two classes are general tasks; one of them loses 0.8 where the expert answers it.
    assert [points[t].general_loss for t in (0.3, 0.4, 0.45)] == pytest.approx([0.4, 0.4, 0.0])
    assert [points[t].expert_share for t in (0.3, 0.5, 0.8, 0.95)] == [0.75, 0.5, 0.25, 0.0]


def test_few_patients_can_certify_little() -> None:
    assert certifiable_loss(0.0, 9) == pytest.approx(0.1)
    assert certifiable_loss(0.0, 999) == pytest.approx(0.001)
    assert certifiable_loss(0.02, 99) == pytest.approx(0.0298)


def test_general_tasks_that_gain_do_not_count_as_a_loss() -> None:
    trials = [_trial("A:general", 0.9, general_dice=0.2, expert_dice=0.8, general_task=True)]
    assert {point.general_loss for point in calibration_curve(trials)} == {0.0}


def test_nothing_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(TrainingError, match="threshold cannot be measured"):
        calibration_curve([])


def _points(*values: tuple[float, float, float]) -> list[CalibrationPoint]:
    return [CalibrationPoint(threshold=t, mean_dice=d, general_loss=g, expert_share=0.5) for t, d, g in values]


def test_threshold_is_the_middle_of_those_as_good_as_the_best() -> None:
    points = _points((0.3, 0.70, 0), (0.4, 0.8, 0), (0.5, 0.8003, 0), (0.6, 0.8, 0), (0.7, 0.79, 0))
    assert choose_threshold(points, 0.1) == 0.5


def test_better_dice_at_the_cost_of_general_tasks_is_not_taken() -> None:
    points = _points((0.3, 0.9, 0.0011), (0.5, 0.8, 0.001), (0.7, 0.7, 0.0))
    assert choose_threshold(points, 0.1) == 0.5
    assert choose_threshold(points, 0.2) == 0.3


def test_where_no_threshold_keeps_the_bound_the_general_expert_answers() -> None:
    points = _points((0.3, 0.9, 0.05), (0.5, 0.8, 0.02), (NEVER, 0.6, 0.0))
    assert choose_threshold(points, 0.1) == NEVER


def test_only_datasets_whose_experts_never_answer_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    trials = [
        _trial("A:served", 0.9, general_dice=0.2, expert_dice=0.8),
        _trial("B:served", 0.9, general_dice=0.2, expert_dice=0.8, key="B/b"),
    ]
    assert max(choose_thresholds(trials, calibration_curve(trials), 0.1).values()) <= 0.9
    assert caplog.text == ""
    trials.append(_trial("A:general", 1.0, general_dice=0.9, expert_dice=0.1, general_task=True))
    assert choose_thresholds(trials, calibration_curve(trials), 0.1)["A"] == NEVER
    assert "No threshold keeps general tasks within 0.10 points" in caplog.text
    assert "experts of A answer" in caplog.text


def test_what_one_dataset_may_lose_does_not_bind_the_experts_of_another() -> None:
    trials = [
        _trial("A:served", 0.92, general_dice=0.2, expert_dice=0.8),
        _trial("A:general", 0.82, general_dice=0.9, expert_dice=0.1, general_task=True),
        _trial("B:served", 0.41, general_dice=0.2, expert_dice=0.8, key="B/b"),
    ]
    thresholds = choose_thresholds(trials, calibration_curve(trials), 0.1)
    assert 0.82 < thresholds["A"] <= 0.92
    assert thresholds["B"] <= 0.41
    assert general_loss(trials, thresholds) == 0.0
    assert general_loss(trials, {"A": 0.5, "B": 0.5}) == pytest.approx(0.8)


def test_two_experts_together_are_worth_what_they_answer_together() -> None:
    trial = Trial(
        class_key="A:served",
        patient="one",
        general_task=False,
        confidences={GENERAL: 0.1, "A/a": 0.5, "A/b": 0.4},
        dice={(): 0.1, ("A/a",): 0.5, ("A/b",): 0.3, ("A/a", "A/b"): 0.7},
    )
    assert [trial.dice_at({"A/a": a, "A/b": b}) for a, b in ((0.4, 0.4), (0.4, 0.5), (0.6, 0.4), (0.6, 0.5))] == [
        0.7,
        0.5,
        0.3,
        0.1,
    ]
