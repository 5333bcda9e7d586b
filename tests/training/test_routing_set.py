from pathlib import Path

import pytest
import torch

from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.gate_prompts import OFF_TASK
from sammoe_pipeline.training.routing_set import read_routing_set, write_routing_set
from tests.inference.conftest import member

ENTRY = member({"near": 1, "far": 2})
NAMES = ("near", "far", OFF_TASK)


@pytest.fixture
def clicks() -> DescribedClicks:
    """Three classes on each of 100 cases, one click on each."""
    cases = [f"patient_{case}" for case in range(100) for _ in NAMES]
    numbers = torch.randn(len(cases), 2, 5, generator=torch.Generator().manual_seed(0))
    return DescribedClicks(("near", "far"), NAMES * 100, tuple(cases), numbers)


def test_clicks_come_back_with_their_folds(clicks: DescribedClicks, tmp_path: Path) -> None:
    first = clicks.of({"patient_3", "patient_5"})
    entry = write_routing_set(tmp_path / "a", ENTRY, first, [{"patient_3"}, {"patient_3", "patient_5"}])
    found, training = read_routing_set(tmp_path / "a", entry)
    assert found.names == first.names and found.classes == first.classes
    assert [set(found.of(cases).cases) for cases in training] == [{"0"}, {"0", "1"}]
    torch.testing.assert_close(found.descriptions, first.descriptions, atol=1e-2, rtol=1e-3)


def test_a_few_hundred_clicks_are_kept_of_many_cases(clicks: DescribedClicks, tmp_path: Path) -> None:
    entry = write_routing_set(tmp_path / "a", ENTRY, clicks, [set(clicks.cases)])
    found, _ = read_routing_set(tmp_path / "a", entry)
    counts = [found.classes.count(name) for name in NAMES]
    assert counts == [80, 80, 100] and entry.routing_clicks == 260
    assert len({case for case, name in zip(found.cases, found.classes, strict=True) if name == "near"}) == 80


def test_no_case_is_named(clicks: DescribedClicks, tmp_path: Path) -> None:
    write_routing_set(tmp_path / "a", ENTRY, clicks, [set(clicks.cases)])
    assert b"patient" not in (tmp_path / "a").read_bytes()


def test_changed_routing_set_is_refused(clicks: DescribedClicks, tmp_path: Path) -> None:
    entry = write_routing_set(tmp_path / "a", ENTRY, clicks, [set(clicks.cases)])
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes() + b" ")
    with pytest.raises(ArtefactError, match="has SHA-256"):
        read_routing_set(tmp_path / "a", entry)


def test_mixture_without_routing_sets_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="has no routing set of Dataset007_Boxes"):
        read_routing_set(tmp_path / "mine" / "routing" / "Dataset007_Boxes" / "routing.safetensors", ENTRY)
