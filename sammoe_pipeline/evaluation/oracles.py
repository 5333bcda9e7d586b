"""What no gate can surpass: answers chosen with knowledge that a gate does not have."""

from __future__ import annotations

from collections.abc import Sequence

from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord, Method, Prompt

Asked = tuple[str, str, str, int, Prompt, int]
"""Dataset, case, class, seed, prompt and number of clicks: what several decoders were asked alike."""


def oracle_records(cases: Sequence[CaseRecord], experts: Sequence[ExpertRecord]) -> list[CaseRecord]:
    """Returns the answers that two oracles would have taken, as records of theirs.

    By task: the class's own expert where it has one, else the general expert in its native configuration; the best that
    knowing the task gives. By prompt, where every expert was asked: whoever has the highest Dice in this very case, the
    general expert at native included; the best that any gate could choose.

    Args:
        cases: what was answered.
        experts: what each expert alone answered at one click.
    """
    answers: dict[Asked, dict[Method, CaseRecord]] = {}
    for case in cases:
        asked = (case.dataset, case.case, case.class_name, case.seed, case.prompt, case.clicks)
        answers.setdefault(asked, {})[case.method] = case
    by_expert: dict[Asked, list[ExpertRecord]] = {}
    for one in experts:
        by_expert.setdefault((one.dataset, one.case, one.class_name, one.seed, "click", 1), []).append(one)
    found = []
    for asked, by_method in answers.items():
        native = by_method.get("general_native")
        by_task = by_method.get("expert") if native is None or native.task is not None else native
        if by_task is not None:
            found.append(by_task.model_copy(update={"method": "oracle_by_task"}))
        if native is not None and asked in by_expert:
            candidates: list[CaseRecord | ExpertRecord] = [native, *by_expert[asked]]
            best = max(candidates, key=lambda answer: -1.0 if answer.dice is None else answer.dice)
            chosen = {name: getattr(best, name) for name in ("configuration", "seconds", "scores")}
            found.append(native.model_copy(update={"method": "oracle_by_prompt", **chosen}))
    return found
