from typing import Any

import pytest

from sammoe_pipeline.evaluation.forgetting import forgetting_rows
from sammoe_pipeline.evaluation.oracles import oracle_records
from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord, Method
from tests.evaluation.conftest import scores

TASKS = {"cord": "thin", "liver": None, "spleen": None}


def _case(method: Method, class_name: str, dice: float | None, **others: Any) -> CaseRecord:
    settings: dict[str, Any] = {
        "dataset": "D", "case": "a", "fold": 0, "configuration": "native", "prompt": "click", "clicks": 1, "seed": 0,
        "seen_by_foundation": False, "seconds": 0.1,
    }  # fmt: skip
    fields = settings | others
    return CaseRecord(method=method, class_name=class_name, task=TASKS[class_name], scores=scores(dice), **fields)


def _expert(expert: str, class_name: str, dice: float | None, **others: Any) -> ExpertRecord:
    settings: dict[str, Any] = {
        "dataset": "D", "case": "a", "fold": 0, "seed": 0, "configuration": "fine", "seconds": 0.1
    }  # fmt: skip
    fields = settings | others
    return ExpertRecord(expert=expert, class_name=class_name, task=TASKS[class_name], scores=scores(dice), **fields)


def _answers(class_name: str, general: float, mixture: float, thin: float, wide: float, **others: Any) -> Any:
    cases = [_case("general_native", class_name, general, **others), _case("mixture", class_name, mixture, **others)]
    if TASKS[class_name]:
        cases.append(_case("expert", class_name, thin, **others))
    return cases, [_expert("D/thin", class_name, thin, **others), _expert("E/wide", class_name, wide, **others)]


def _rows(*answers: Any) -> Any:
    cases = [one for cases, _ in answers for one in cases]
    experts = [one for _, found in answers for one in found]
    return forgetting_rows([*cases, *oracle_records(cases, experts)], experts)


def test_each_task_has_a_row_and_classes_without_one_share_a_row() -> None:
    cord = _answers("cord", 0.2, 0.7, 0.8, 0.3)
    liver, spleen = _answers("liver", 0.9, 0.9, 0.1, 0.5), _answers("spleen", 0.7, 0.7, 0.3, 0.9)
    thin, rest = _rows(liver, spleen, cord)
    assert (thin.task, thin.classes, thin.general, thin.mixture) == ("thin", 1, 0.2, 0.7)
    assert thin.experts == {"D/thin": 0.8, "E/wide": 0.3}
    assert (rest.task, rest.classes) == (None, 2)
    assert rest.general == pytest.approx(0.8)
    assert rest.experts == pytest.approx({"D/thin": 0.2, "E/wide": 0.7})


def test_the_oracle_by_task_takes_the_own_expert_or_the_general_one() -> None:
    thin, rest = _rows(_answers("cord", 0.9, 0.7, 0.8, 0.95), _answers("liver", 0.5, 0.4, 0.8, 0.9))
    assert (thin.oracle_by_task, rest.oracle_by_task) == (0.8, 0.5)


def test_the_oracle_by_prompt_takes_the_best_in_each_case() -> None:
    (row,) = _rows(
        _answers("cord", 0.9, 0.0, 0.8, 0.1, case="a"),
        _answers("cord", 0.1, 0.0, 0.3, 0.7, case="b"),
    )
    assert row.oracle_by_prompt == pytest.approx((0.9 + 0.7) / 2)


def test_classes_weigh_the_same_however_many_cases_they_have() -> None:
    liver = [_answers("liver", 1.0, 1.0, 0.0, 0.0, case=case) for case in "abc"]
    (row,) = _rows(*liver, _answers("spleen", 0.0, 0.0, 0.0, 0.0))
    assert row.general == 0.5


def test_only_what_everybody_answered_counts() -> None:
    whole = _answers("cord", 0.2, 0.2, 0.2, 0.2, case="a")
    cases, found = _answers("cord", 1.0, 1.0, 1.0, 1.0, case="b")
    (row,) = _rows(whole, (cases, found[:1]))
    assert row.general == 0.2
    empty = ([_case("general_native", "cord", None), _case("mixture", "cord", None)], [_expert("D/thin", "cord", None)])
    assert _rows(empty) == ()
