from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from planning.cli import main
from sammoe_pipeline.artefacts import Plan, Splits
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.training.views import PreparedCase

MakeRaw = Callable[..., Path]
Blocks = Mapping[str, NDArray[Any]]
Command = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("nnUNet_raw", "sammoe_home"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"sammoe_{name}", str(tmp_path / name))


@pytest.fixture
def command(tiny_foundation: Path) -> Command:
    """Returns the command as a user gives it, on the random foundation."""
    return lambda *flags: main([*flags, "--foundation", str(tiny_foundation), "-np", "1", "-device", "cpu"])


@pytest.fixture
def prepared(tmp_path: Path) -> PreprocessedDataset:
    return PreprocessedDataset(root=tmp_path / "preprocessed", dataset="Dataset007_Things", foundation="random")


def contents(prepared: PreprocessedDataset) -> dict[Path, tuple[bytes, int]]:
    """Every file that was made, with its bytes and the time of its making."""
    files = [path for path in prepared.folder.rglob("*") if path.is_file() and path != prepared.dataset_json]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def without_times(files: Mapping[Path, tuple[bytes, int]]) -> dict[Path, bytes]:
    """Every file's bytes, but for the seconds that something took."""
    return {path: re.sub(rb'"seconds": [0-9.e-]+', b"", content) for path, (content, _) in files.items()}


def test_a_dataset_is_planned_and_prepared(
    make_raw: MakeRaw,
    blocks: Blocks,
    command: Command,
    prepared: PreprocessedDataset,
    tiny_foundation: Path,
    capsys: Captured,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = make_raw(blocks, {"one": 1, "two": 2})
    assert command("-d", "7") == 0
    plan, splits = Plan.load(prepared.plan), Splits.load(prepared.splits)
    assert plan.classes["two"].target == "component"
    assert len(splits.folds) == plan.num_folds == 4
    for configuration in plan.configurations:
        for case in blocks:
            assert PreparedCase.of(prepared, configuration, case).properties.class_voxels["one"] > 0
    assert prepared.dataset_json.read_bytes() == (folder / "dataset.json").read_bytes()
    out = capsys.readouterr().out
    assert "Plan for Dataset007_Things on foundation 'random'" in out
    assert out.endswith(f"\nNext:\n  sammoe_train_expert -d 7 --foundation {tiny_foundation}\n")
    assert "foundation 'random' is for learning and tests" in caplog.text

    before = contents(prepared)
    assert command("-d", "7") == 0
    assert contents(prepared) == before

    assert command("-d", "7", "--replan") == 0
    assert without_times(contents(prepared)) == without_times(before)


def test_changed_raw_data_ask_for_replan(make_raw: MakeRaw, blocks: Blocks, command: Command, capsys: Captured) -> None:
    folder = make_raw(blocks, {"one": 1, "two": 2})
    assert command("-d", "7") == 0
    os.utime(folder / "imagesTr" / "case_0_0000.nii.gz", (1, 1))
    capsys.readouterr()
    assert command("-d", "7") == 1
    assert "Add --replan" in capsys.readouterr().err
    assert command("-d", "7", "--replan") == 0


def test_flags_that_contradict_what_is_there_are_refused(
    make_raw: MakeRaw, blocks: Blocks, command: Command, capsys: Captured
) -> None:
    cases = {f"case_{index}": blocks["case_0"] for index in range(6)}
    make_raw(cases, {"one": 1, "two": 2})
    assert command("-d", "7", "--num_folds", "3", "--expert_threshold", "0") == 0
    assert "sammoe_train_expert -d 7" in capsys.readouterr().out
    for flags, words in (
        (("--num_folds", "5"), "splits_final.json has 3 folds already"),
        (("--expert_threshold", "0.9"), "--expert_threshold 0.9: the plan was made with 0.0. Add --replan"),
        (("--effort", "2"), "--effort 2.0: the plan was made with 1.0. Add --replan"),
        (("--seed", "1"), "--seed 1: the plan was made with 0. Add --replan"),
    ):
        assert command("-d", "7", *flags) == 1
        assert words in capsys.readouterr().err
    assert command("-d", "7", "--num_folds", "3", "--expert_threshold", "0") == 0


def test_replaced_splits_are_kept_and_checked(
    make_raw: MakeRaw, blocks: Blocks, command: Command, prepared: PreprocessedDataset, capsys: Captured
) -> None:
    make_raw(blocks, {"one": 1, "two": 2})
    fold = {"train": ["case_0", "case_1"], "calibration": ["case_2"], "val": ["case_3"]}
    prepared.splits.parent.mkdir(parents=True)
    prepared.splits.write_text(json.dumps({"folds": [fold]}))
    assert command("-d", "7") == 0
    assert Plan.load(prepared.plan).num_folds == 1
    fold["val"] = ["case_2", "case_9"]
    prepared.splits.write_text(json.dumps({"folds": [fold]}))
    assert command("-d", "7") == 1
    error = capsys.readouterr().err
    assert "case_9 is no case of the dataset" in error
    assert "case_3 is missing" in error
    assert "patient case_2 is in calibration (case_2) and val (case_2)" in error


def test_patients_are_kept_together(
    make_raw: MakeRaw, blocks: Blocks, command: Command, prepared: PreprocessedDataset
) -> None:
    cases = {f"scan_{index}": blocks["case_0"] for index in range(6)}
    make_raw(cases, {"one": 1, "two": 2}, patients={case: f"p{index // 2}" for index, case in enumerate(cases)})
    assert command("-d", "7") == 0
    held_out = {fold.val for fold in Splits.load(prepared.splits).folds}
    assert held_out == {("scan_0", "scan_1"), ("scan_2", "scan_3"), ("scan_4", "scan_5")}


def test_patients_that_names_tell_are_kept_together_and_the_same_command_finds_all_as_it_was(
    make_raw: MakeRaw, blocks: Blocks, command: Command, prepared: PreprocessedDataset
) -> None:
    make_raw({f"sub-{index // 2}_scan-{index}": blocks["case_0"] for index in range(6)}, {"one": 1, "two": 2})
    assert command("-d", "7", "--patients", "sub-[0-9]") == 0
    assert {len({name[:5] for name in fold.val}) for fold in Splits.load(prepared.splits).folds} == {1}
    before = contents(prepared)
    assert command("-d", "7", "--patients", "sub-[0-9]") == 0
    assert contents(prepared) == before


def test_the_others_are_done_when_one_dataset_fails(
    make_raw: MakeRaw, blocks: Blocks, command: Command, prepared: PreprocessedDataset, capsys: Captured
) -> None:
    broken = make_raw(blocks, {"one": 1, "two": 2}, name="Dataset006_Broken")
    (broken / "labelsTr" / "case_1.nii.gz").write_bytes(b"")
    make_raw(blocks, {"one": 1, "two": 2})
    assert command("-d", "6", "7", "99") == 1
    assert prepared.plan.is_file()
    out, error = capsys.readouterr()
    assert "sammoe_train_expert -d 7 " in out
    assert "2 of 3 datasets failed, the others are done." in error
    assert "case_1.nii.gz" in error
    assert "No dataset '99'" in error


def test_all_faults_of_raw_data_come_at_once(
    make_raw: MakeRaw, blocks: Blocks, command: Command, capsys: Captured
) -> None:
    cases = {**blocks, "case_0": np.full((14, 14, 14), 9, dtype=np.uint8)}
    folder = make_raw(cases, {"one": 1, "two": 2})
    (folder / "imagesTr" / "case_2_0000.nii.gz").unlink()
    assert command("-d", "7") == 1
    error = capsys.readouterr().err
    assert "case_0.nii.gz has values that are no label: 9" in error
    assert "case_2_0000.nii.gz is missing" in error


def test_too_few_patients_are_an_error(make_raw: MakeRaw, blocks: Blocks, command: Command, capsys: Captured) -> None:
    make_raw(dict(list(blocks.items())[:2]), {"one": 1, "two": 2})
    assert command("-d", "7") == 1
    assert "at least 3 are needed" in capsys.readouterr().err


def test_an_unknown_dataset_names_the_known_ones(
    make_raw: MakeRaw, blocks: Blocks, command: Command, capsys: Captured
) -> None:
    make_raw(blocks, {"one": 1, "two": 2})
    assert command("-d", "Thinks") == 1
    error = capsys.readouterr().err
    assert "There are: Dataset007_Things. Did you mean 'Things'?" in error


def test_an_unknown_foundation_is_named(capsys: Captured) -> None:
    assert main(["-d", "7", "--foundation", "tinny"]) == 1
    assert "--foundation 'tinny': there is no such foundation" in capsys.readouterr().err


def test_folders_that_are_not_set_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.delenv(f"sammoe_{name}")
    monkeypatch.delenv("sammoe_home", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "user")
    assert command("-d", "7") == 1
    assert f"sammoe_raw is not set: using {tmp_path / 'user' / 'sammoe' / 'sammoe_raw'}" in caplog.text


@pytest.mark.parametrize(
    "flags", [("--expert_threshold", "1.2"), ("--seed", "-1"), ("--num_folds", "0"), ("--effort", "0")]
)
def test_values_out_of_range_are_refused(flags: tuple[str, str], capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["-d", "7", *flags])
    assert flags[0] in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom planning.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pydantic', 'SimpleITK'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--expert_threshold" in done.stdout


def test_a_plan_is_shown_and_drawn(
    make_raw: MakeRaw, blocks: Blocks, command: Command, prepared: PreprocessedDataset, capsys: Captured
) -> None:
    make_raw(blocks, {"one": 1, "two <b>": 2})
    assert command("-d", "7") == 0
    before = contents(prepared)
    table = capsys.readouterr().out.partition("\nNext:")[0]
    assert command("-d", "7", "--show") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(table.rstrip()) and str(prepared.plan_page) in shown
    assert {path: kept for path, kept in contents(prepared).items() if path != prepared.plan_page} == before
    page = prepared.plan_page.read_text(encoding="utf-8")
    assert "two &lt;b&gt;" in page and "two <b>" not in page
    for reason in (chosen.reason for chosen in Plan.load(prepared.plan).classes.values()):
        assert escape(reason) in page
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "http" not in re.sub(r'src="data:[^"]*"', "", page)


def test_a_plan_that_is_not_there_cannot_be_shown(
    make_raw: MakeRaw, blocks: Blocks, command: Command, prepared: PreprocessedDataset, capsys: Captured
) -> None:
    make_raw(blocks, {"one": 1, "two": 2})
    prepared.folder.mkdir(parents=True)
    assert command("-d", "7", "--show") == 1
    assert "sammoe_plan_and_preprocess -d 7" in capsys.readouterr().err


def test_showing_is_not_planning(command: Command, capsys: Captured) -> None:
    assert command("-d", "7", "--show", "--replan") == 1
    assert "--show: it plans nothing" in capsys.readouterr().err
