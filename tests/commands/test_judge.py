from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.commands.evaluate import main as sammoe_evaluate
from sammoe_pipeline.commands.judge import read_tolerances
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import Volume, write_volume

JUDGING = ["--predictions", "a", "--references", "r", "-o", "out"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--references", "r"], "--references: only with --predictions"),
        (["-m", "mine", "-np", "2", "-o", "out"], "-o, -np: only with --predictions"),
        ([*JUDGING, "-m", "default"], "-m: only for a mixture"),
        ([*JUDGING, "--clicks", "1", "-device", "cpu", "-f", "0"], "--clicks, -device, -f: only for a mixture"),
        ([*JUDGING, "--results", "x"], "--results: only for a mixture"),
        (["--predictions", "a"], "also needs --references and -o"),
        ([*JUDGING, "--tolerance", "far"], "--tolerance far: give mm"),
    ],
)
def test_flags_that_contradict_or_lack_one_another_are_refused(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sammoe_evaluate(argv) == 1
    assert words in capsys.readouterr().err


def test_label_maps_are_judged_without_a_mixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = np.zeros((8, 8, 8), dtype=np.uint8)
    data[2:5, 2:5, 2:5] = 1
    for part in ("a", "references"):
        write_volume(tmp_path / part / "case.nii.gz", Volume(data=data, affine=np.eye(4)))
    flags = ["--references", str(tmp_path / "references"), "-o", str(tmp_path / "out"), "--tolerance", "2", "1=1.5"]
    assert sammoe_evaluate(["--predictions", str(tmp_path / "a"), *flags]) == 0
    assert "| 1 (1.5 mm)" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json", "cases.csv"}


def test_tolerances_are_of_all_classes_or_of_one() -> None:
    assert read_tolerances([]) == (None, {})
    assert read_tolerances(["2", "a=b=1.5"]) == (2.0, {"a=b": 1.5})


@pytest.mark.parametrize("words", [["-1"], ["nan"], ["inf"], ["liver="], ["1", "2"], ["a=1", "a=2"]])
def test_tolerances_that_are_no_lengths_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--tolerance"):
        read_tolerances(words)
