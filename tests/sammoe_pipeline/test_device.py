import pytest
import torch

from sammoe_pipeline.device import choose_device
from sammoe_pipeline.errors import UsageError


def test_without_a_card_the_processor_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == "cpu"


def test_card_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="-device cpu"):
        choose_device("cuda")


def test_card_is_taken_where_there_is_one_and_left_alone_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    assert choose_device(None) == "cuda"
    assert choose_device("cpu") == "cpu"
