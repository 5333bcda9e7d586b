from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation


def weights_of(foundation: Foundation, encoder: EncoderOptions) -> dict[str, torch.dtype]:
    return {name: value.dtype for name, value in foundation.load_model("cpu", encoder).state_dict().items()}


def test_by_default_everything_is_float32(nano_foundation: Foundation) -> None:
    assert set(weights_of(nano_foundation, EXACT).values()) == {torch.float32}


def test_less_precision_is_for_the_blocks_of_the_image_encoder_alone(nano_foundation: Foundation) -> None:
    found = weights_of(nano_foundation, EncoderOptions(precision="bfloat16"))
    lowered = {name for name, dtype in found.items() if dtype == torch.bfloat16}
    assert "image_encoder.blocks.0.mlp.lin1.weight" in lowered
    assert {name.split(".")[1] for name in lowered} == {"blocks"}


def test_compiling_leaves_names_and_values_alone(nano_foundation: Foundation, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    model = nano_foundation.load_model("cpu", EncoderOptions(compiled=True))
    assert compiled == [model.image_encoder]
    torch.testing.assert_close(model.state_dict(), nano_foundation.load_model().state_dict())


def test_float16_needs_a_card() -> None:
    EncoderOptions(precision="float16").require("cuda")
    with pytest.raises(UsageError, match="--precision float16: it needs a card"):
        EncoderOptions(precision="float16").require("cpu")


def test_bfloat16_needs_a_card_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    EncoderOptions(precision="bfloat16").require("cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: False)
    with pytest.raises(UsageError, match="--precision bfloat16: this card has no bfloat16"):
        EncoderOptions(precision="bfloat16").require("cuda")


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match="--compile: there is no C\\+\\+ compiler"):
        EncoderOptions(compiled=True).require("cpu")


def test_what_is_not_as_by_default_goes_on_record() -> None:
    assert EXACT.on("cuda") == "cuda"
    assert EncoderOptions(precision="bfloat16", compiled=True).on("cpu") == "cpu, encoder in bfloat16, compiled"
