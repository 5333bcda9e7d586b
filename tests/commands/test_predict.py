from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.encoder_options import EncoderOptions
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.inference.mixture import Mixture


def test_prediction_loads_the_mixture_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*_: Any, encoder: EncoderOptions, **__: Any) -> Mixture:
        asked.append(encoder)
        raise UsageError("enough")

    monkeypatch.setattr(Mixture, "load_or_general", load)
    flags = ["-i", str(tmp_path), "-o", str(tmp_path / "out"), "-device", "cpu", f"--results={tmp_path}"]
    assert sammoe_predict([*flags, "--precision", "bfloat16"]) == 1
    assert asked == [EncoderOptions(precision="bfloat16")]
