from __future__ import annotations

from collections.abc import Callable

from sammoe_pipeline.evaluation.oracles import oracle_records
from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord
from tests.evaluation.conftest import HEAD, scores

MakeRecord = Callable[..., CaseRecord]


def alone(expert: str, dice: float | None) -> ExpertRecord:
    return ExpertRecord(
        dataset=HEAD,
        case="a",
        fold=0,
        class_name="nerve",
        task="nerve",
        seed=0,
        expert=expert,
        configuration="coarse",
        seconds=0.1,
        scores=scores(dice),
    )


def by_method(records: list[CaseRecord]) -> dict[str, CaseRecord]:
    return {record.method: record for record in records}


def test_the_oracle_by_task_takes_the_whole_answer_of_the_own_expert(record: MakeRecord) -> None:
    own = record("expert", 0.3)
    found = by_method(oracle_records([record("general_native", 0.9), own], []))
    assert found.keys() == {"oracle_by_task"}
    assert found["oracle_by_task"].scores == own.scores


def test_the_oracle_by_task_takes_the_general_expert_where_there_is_no_other(record: MakeRecord) -> None:
    [found] = oracle_records([record("general_native", 0.4, task=None), record("general", 0.6, task=None)], [])
    assert found.dice == 0.4


def test_the_oracle_by_prompt_takes_all_scores_of_the_highest_dice(record: MakeRecord) -> None:
    cases = [record("general_native", 0.4), record("expert", 0.5)]
    found = by_method(oracle_records(cases, [alone("D/own", 0.5), alone("D/other", 0.6), alone("D/none", None)]))
    assert found["oracle_by_prompt"].scores == scores(0.6)
    assert found["oracle_by_prompt"].configuration == "coarse"


def test_experts_asked_at_one_click_tell_nothing_of_other_prompts(record: MakeRecord) -> None:
    cases = [record("general_native", 0.4, clicks=3), record("general_native", 0.4, prompt="automatic", clicks=0)]
    assert {found.method for found in oracle_records(cases, [alone("D/own", 0.5)])} == set()
