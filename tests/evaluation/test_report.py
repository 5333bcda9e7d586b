from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from sammoe_pipeline.artefacts import CalibrationPoint
from sammoe_pipeline.evaluation.markdown import markdown_table
from sammoe_pipeline.evaluation.pictures import Picture, take_planes
from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord, RoutingRecord
from sammoe_pipeline.evaluation.report import write_report
from sammoe_pipeline.evaluation.summary import EvaluationSummary
from tests.evaluation.conftest import scores

Summarise = Callable[..., EvaluationSummary]
CALIBRATION = [
    CalibrationPoint(threshold=step / 4, mean_dice=0.5, general_loss=0.01, expert_share=0.5) for step in range(5)
]


class Page(HTMLParser):
    """What a page holds: tags with attributes, text, and tags that were not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


@pytest.fixture
def picture() -> Picture:
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3:8, 3:8, 3:8] = True
    planes = take_planes(np.zeros((12, 12, 12)), (1.0, 1.0, 1.0), truth=mask, general=mask, mixture=mask)
    return Picture(
        dataset="Dataset001_Head",
        case="a",
        class_name="nerve",
        general_dice=1.0,
        mixture_dice=1.0,
        planes=planes,
    )


def test_it_is_one_file_that_needs_no_other(
    tmp_path: Path, cases: list[CaseRecord], routing: list[RoutingRecord], summarised: Summarise, picture: Picture
) -> None:
    path = write_report(tmp_path, summarised(cases, routing), cases, routing, CALIBRATION, [[picture]])
    text = path.read_text()
    page = Page(text)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert page.open == []
    assert len(page.images) == 6
    for image in page.images:
        assert re.match(r"data:image/(svg\+xml|jpeg);base64,", image["src"] or "")
        assert image["alt"]
        content = base64.b64decode((image["src"] or "").split(",", 1)[1])
        assert content.startswith((b"<?xml", b"\xff\xd8\xff"))
        assert not re.search(rb'href="http', content)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe"}
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?:|url\(|@import""", text)


def test_it_says_what_it_is_and_for_whom(
    tmp_path: Path, cases: list[CaseRecord], routing: list[RoutingRecord], summarised: Summarise
) -> None:
    words = " ".join(Page(write_report(tmp_path, summarised(cases, routing), cases, routing, [], []).read_text()).words)
    assert "For research, not a medical device." in words
    assert "The foundation tiny is for learning and tests" in words
    assert "f0" * 32 in words
    for cell in ("20.0", "30.0", "70.0", "65.0", "+45.0", "vein*"):
        assert cell in words
    assert "nerve*" not in words


def test_what_an_expert_alone_would_forget_is_shown_where_it_was_asked(
    tmp_path: Path, cases: list[CaseRecord], summarised: Summarise
) -> None:
    asked = {(one.dataset, one.case, one.class_name, one.task) for one in cases}
    by_experts = [
        ExpertRecord(
            dataset=dataset,
            case=case,
            class_name=name,
            task=task,
            fold=0,
            seed=0,
            expert=NASTY,
            configuration="fine",
            seconds=0.1,
            scores=scores(0.4321),
        )
        for dataset, case, name, task in asked
    ]
    own = [
        one.model_copy(update={"expert": f"{one.dataset}/{one.task}", "scores": scores(0.6)})
        for one in by_experts
        if one.task
    ]
    everywhere = [
        one.model_copy(update={"expert": own[0].expert, "scores": scores(0.1)}) for one in by_experts if not one.task
    ]
    summary = summarised(cases, by_experts=[*by_experts, *own, *everywhere])
    page = Page(write_report(tmp_path, summary, cases, [], [], []).read_text())
    words = "".join(page.words)
    assert "One expert for everything" in words and "43.2" in words and "60.0" in words and NASTY in words
    assert page.open == [] and len(page.images) == 3
    assert "| 43.2 |" in markdown_table(summary)
    without = summarised(cases)
    assert "One expert for everything" not in write_report(tmp_path, without, cases, [], [], []).read_text()
    assert "One expert for everything" not in markdown_table(without)


NASTY = '<b>"nerve"</b> & $x$'


def test_names_are_text_and_never_markup(
    tmp_path: Path, cases: list[CaseRecord], routing: list[RoutingRecord], summarised: Summarise, picture: Picture
) -> None:
    fields = {"class_name": NASTY, "case": NASTY, "configuration": NASTY}
    odd = [record.model_copy(update=fields | {"dataset": NASTY}) for record in cases]
    routes = [record.model_copy(update={"dataset": NASTY, "task": NASTY, "chosen": NASTY}) for record in routing]
    drawn = Picture(**{**vars(picture), "dataset": NASTY, "case": NASTY, "class_name": NASTY})
    summary = summarised(odd, routes, held_out={NASTY: ["missing"]}).model_copy(
        update={"mixture": NASTY, "foundation": NASTY, "experts": (NASTY,)}
    )
    page = Page(write_report(tmp_path, summary, odd, routes, CALIBRATION, [[drawn]]).read_text())
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"b", "i"}
    assert any(NASTY in words for words in page.words)


def test_a_mixture_without_experts_has_a_report(
    tmp_path: Path, record: Callable[..., CaseRecord], summarised: Summarise
) -> None:
    cases = [record(method, 0.5, task=None) for method in ("general_native", "general", "mixture")]
    page = Page(write_report(tmp_path, summarised(cases, experts=()), cases, [], [], []).read_text())
    words = " ".join(page.words)
    assert "with 0 experts" in words
    assert "Who answered" not in words
    assert len(page.images) == 2


def test_a_report_where_everything_is_empty_can_be_written(
    tmp_path: Path, record: Callable[..., CaseRecord], summarised: Summarise
) -> None:
    cases = [record(method, None) for method in ("general_native", "general", "expert", "mixture")]
    page = Page(write_report(tmp_path, summarised(cases), cases, [], [], []).read_text())
    assert page.images == []
    assert "nan" not in " ".join(page.words).lower().split()


def test_each_kind_of_prompt_has_its_table(
    tmp_path: Path, record: Callable[..., CaseRecord], summarised: Summarise
) -> None:
    kinds = [("click", 1), ("click", 5), ("automatic", 0)]
    cases = [record("mixture", 0.5, prompt=prompt, clicks=clicks) for prompt, clicks in kinds]
    page = Page(write_report(tmp_path, summarised(cases), cases, [], [], []).read_text())
    words = page.words
    assert [image["alt"] for image in page.images] == ["Mean Dice against the number of clicks, method by method"]
    for heading in ("Dice by class, 1 click", "Dice by class, 5 clicks", "Dice by class, prompted by the locator"):
        assert any(text.startswith(heading) for text in words)


def test_global_state_of_matplotlib_is_left_alone(
    tmp_path: Path, cases: list[CaseRecord], routing: list[RoutingRecord], summarised: Summarise, picture: Picture
) -> None:
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)
    write_report(tmp_path, summarised(cases, routing), cases, routing, CALIBRATION, [[picture]])
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend(auto_select=False) == backend
