"""The plumbing of experiments; the stages themselves are tested where they live."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dataset_conversion.registry import FORMATS, PHANTOMS
from sammoe_pipeline import experiment
from sammoe_pipeline.experiment_card import Experiment, ExperimentRun

BUNDLED = sorted((Path(experiment.__file__).parent / "experiments").glob("*.json"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines of the processes that would have run; conversions leave a dataset behind."""
    seen: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        words = command[3:]
        seen.append(words)
        if "-n" in words:
            name = f"Dataset{int(words[words.index('-d') + 1]):03d}_{words[words.index('-n') + 1]}"
            (Path(env["sammoe_raw"]) / name).mkdir(parents=True)
            (Path(env["sammoe_raw"]) / name / "dataset.json").touch()
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return seen


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_bundled_experiments_name_formats_that_there_are(path: Path) -> None:
    for dataset in Experiment.load(path).datasets:
        assert dataset.format in {**FORMATS, **PHANTOMS}
        assert (dataset.source is None) == (dataset.format in PHANTOMS)
        assert bool(dataset.source) == bool(dataset.obtained_from)


def test_every_stage_runs_once_with_what_the_experiment_says(calls: list[list[str]], tmp_path: Path) -> None:
    assert experiment.main(["small", "--folder", str(tmp_path)]) == 0
    by_words = [" ".join(words) for words in calls]
    assert by_words[0].startswith("phantom_torso -d 901 -n Torso")
    assert "-d 901 --num_folds 2 --seed 0 --expert_threshold 0.5" in by_words
    assert by_words[-1] == "-m default --clicks 0 1 3 --seeds 1 --forgetting"
    record = ExperimentRun.load(tmp_path / "experiment.json")
    assert len(record.seconds) == len(calls)


def test_run_again_it_leaves_out_what_refuses_to_run_twice(calls: list[list[str]], tmp_path: Path) -> None:
    experiment.main(["small", "--folder", str(tmp_path)])
    first = list(calls)
    calls.clear()
    assert experiment.main(["small", "--folder", str(tmp_path)]) == 0
    assert calls == [words for words in first if "-n" not in words]


def test_some_folds_can_be_run_before_the_others(calls: list[list[str]], tmp_path: Path) -> None:
    assert experiment.main(["small", "--folder", str(tmp_path), "-f", "0"]) == 0
    partial = [words for words in calls if "-f" in words]
    assert [words[words.index("-f") + 1] for words in partial] == ["0"] * 3  # two datasets' experts, and the gate
    calls.clear()
    assert experiment.main(["small", "--folder", str(tmp_path)]) == 0
    assert not any("-f" in words for words in calls)


def test_a_folder_holds_one_experiment(
    calls: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment.main(["small", "--folder", str(tmp_path)])
    calls.clear()
    assert experiment.main(["small", "--folder", str(tmp_path), "--leave_out", "Shapes"]) == 1
    assert "another experiment lies there" in capsys.readouterr().err
    assert calls == []


def test_missing_downloads_are_named_before_anything_runs(
    calls: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fetal_brain").mkdir()
    flags = ["bundled", "--folder", str(tmp_path / "work")]
    assert experiment.main([*flags, "--data", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "Task04_Hippocampus" in message and "mouse_brain" in message and "fetal_brain" not in message
    assert "--leave_out Hippocampus Mouse" in message
    assert experiment.main(flags) == 1
    assert "--data is missing" in capsys.readouterr().err
    assert calls == []


def test_options_find_files_of_the_downloads(calls: list[list[str]], tmp_path: Path) -> None:
    for name in ("Task04_Hippocampus", "mouse_brain", "fetal_brain"):
        (tmp_path / name).mkdir()
    assert experiment.main(["bundled", "--data", str(tmp_path), "--folder", str(tmp_path / "work")]) == 0
    [mouse] = [words for words in calls if words[0] == "paired"]
    assert mouse[-1] == str(tmp_path / "mouse_brain" / "structures.csv")
    assert calls[-1][-2:] == ["--forgetting", "1"]


def test_an_experiment_of_one_s_own_is_read_from_its_file(calls: list[list[str]], tmp_path: Path) -> None:
    content = json.loads(BUNDLED[-1].read_text()) | {"folds": 3, "seeds": 2}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    assert experiment.main([str(tmp_path / "mine.json"), "--folder", str(tmp_path / "work")]) == 0
    assert calls[-1][-3:] == ["--seeds", "2", "--forgetting"]


def test_unknown_names_are_answered_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment.main(["smal"]) == 1
    assert "Did you mean 'small'?" in capsys.readouterr().err
    assert experiment.main(["small", "--leave_out", "Torsos"]) == 1
    assert "Did you mean 'Torso'?" in capsys.readouterr().err


def test_show_runs_nothing(calls: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment.main(["paper", "--show", "--folder", str(tmp_path / "work")]) == 0
    assert "$ sammoe_foundation download sam_med3d_turbo" in capsys.readouterr().out
    assert calls == [] and not (tmp_path / "work").exists()
