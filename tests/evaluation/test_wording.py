from __future__ import annotations

import pytest

from sammoe_pipeline.evaluation.bootstrap import Estimate
from sammoe_pipeline.evaluation.wording import change, percent, prompt_words, signed

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@pytest.mark.parametrize(("dice", "words"), [(0.5321, "53.2"), (1.0, "100.0"), (0.0, "0.0"), (None, DASH)])
def test_dice_is_worded_in_per_cent(dice: float | None, words: str) -> None:
    assert percent(dice) == words


@pytest.mark.parametrize(
    ("difference", "words"), [(0.0321, "+3.2"), (-0.0321, f"{MINUS}3.2"), (-0.0001, "0.0"), (0.0, "0.0"), (None, DASH)]
)
def test_a_difference_has_a_sign_unless_it_is_nothing(difference: float | None, words: str) -> None:
    assert signed(difference) == words


def test_a_change_is_worded_with_its_interval_where_it_has_one() -> None:
    assert change(Estimate(mean=0.03, interval=(-0.01, 0.05), cases=9)) == f"+3.0 ({MINUS}1.0 to +5.0)"
    assert change(Estimate(mean=0.03, interval=None, cases=1)) == "+3.0"
    assert change(None) == DASH


def test_prompts_are_worded() -> None:
    assert [prompt_words("click", 1), prompt_words("click", 3)] == ["1 click", "3 clicks"]
    assert "locator" in prompt_words("automatic", 0)
