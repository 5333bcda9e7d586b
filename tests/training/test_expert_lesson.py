from collections.abc import Sequence

import numpy as np
import pytest
import torch

from sammoe_pipeline.artefacts import Budget, Training
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.training.data_parallel import ALONE
from sammoe_pipeline.training.embedded_views import EmbeddedView
from sammoe_pipeline.training.expert_lesson import Lesson, Rounds
from sammoe_pipeline.training.pupil import Pupil
from tests.conftest import build_nano

SIZE, CELLS = 16, 16


def _view(number: int, *, empty: bool = False) -> EmbeddedView:
    target = torch.zeros(SIZE, SIZE, SIZE, dtype=torch.bool)
    if not empty:
        target[4:12, 4:12, 4:12] = True
    valid = torch.ones(SIZE, SIZE, SIZE, dtype=torch.bool)
    return EmbeddedView(torch.full((24, 4, 4, 4), float(number)).half(), target, valid, Click((8, 8, 8)), "thing")


class _Embedding:
    """Remembers which views were made."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[EmbeddedView]:
        self.made.append(list(numbers))
        return [_view(number) for number in numbers]


def _rounds(embed: _Embedding, *, positions: Sequence[int] = range(4), bytes_a_view: int = 1) -> Rounds:
    return Rounds(embed, Budget(views=20, iterations=10), batch_size=4, positions=positions, bytes_a_view=bytes_a_view)


def _number(view: EmbeddedView) -> int:
    return int(view.embedding.flatten()[0])


def test_small_budget_is_one_round() -> None:
    embed = _Embedding()
    rounds = _rounds(embed)
    drawn = {_number(rounds.draw(i, p, np.random.default_rng([i, p]))) for i in range(10) for p in range(4)}
    assert embed.made == [list(range(20))]
    assert len(drawn) > 12 and drawn <= set(range(20))


def test_large_views_come_in_rounds_of_their_own() -> None:
    embed = _Embedding()
    rounds = _rounds(embed, bytes_a_view=10**8)
    for iteration in range(10):
        rounds.draw(iteration, 0, np.random.default_rng(0))
    assert embed.made == [list(range(10)), list(range(10, 20))]


def test_process_embeds_its_own_positions_alone() -> None:
    embed = _Embedding()
    rounds = _rounds(embed, positions=(1, 3))
    drawn = {_number(rounds.draw(i, 3, np.random.default_rng(i))) for i in range(10)}
    assert embed.made == [[n for n in range(20) if n % 4 in (1, 3)]]
    assert all(number % 4 == 3 for number in drawn)


def _lesson(**settings: float) -> Lesson:
    training = Training.model_validate(
        {"batch_size": 4, "learning_rate": 1e-3, "interactions": 2, "mirror_axes": (), **settings}
    )
    pupil = Pupil(build_nano(), None)
    return Lesson(pupil, _rounds(_Embedding()), training, seed=(0,), team=ALONE, device="cpu")


def test_loss_depends_on_the_iteration_alone() -> None:
    lesson = _lesson(mask_prompts=0.3, box_prompts=0.3)
    first = [float(lesson.loss(iteration).detach()) for iteration in (3, 4)]
    assert [float(lesson.loss(iteration).detach()) for iteration in (4, 3)] == first[::-1]
    assert first[0] != first[1]


def test_prompts_begin_with_masks_and_boxes_as_often_as_the_plan_says() -> None:
    lesson = _lesson(mask_prompts=0.25, box_prompts=0.5)
    rng = np.random.default_rng(0)
    begun = [lesson._begin(_view(0), rng)[1] for _ in range(200)]
    with_mask = sum(bool(logits.any()) for logits in begun)
    assert with_mask == pytest.approx(150, abs=20)


def test_coarse_prompt_may_come_with_a_click_on_its_error() -> None:
    lesson = _lesson(mask_prompts=1.0)
    rng = np.random.default_rng(0)
    counts = [len(lesson._begin(_view(0), rng)[0]) for _ in range(60)]
    assert set(counts) == {1, 2}


def test_prompt_beside_the_structure_stays_a_click() -> None:
    clicks, logits = _lesson(mask_prompts=1.0)._begin(_view(0, empty=True), np.random.default_rng(0))
    assert clicks == [Click((8, 8, 8))] and not logits.any()
