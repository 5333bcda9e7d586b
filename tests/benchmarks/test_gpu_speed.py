import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card to measure")
def test_without_a_card_nothing_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.gpu_speed", "--out", str(tmp_path / "result.json")]
    pytest.importorskip("medim", reason="medim holds the public implementation")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "This measures an NVIDIA GPU, and torch finds none here. On a processor run encoder_speed.\n"
    )
    assert not (tmp_path / "result.json").exists()
