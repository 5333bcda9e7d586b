from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_conversion.cli import main
from dataset_conversion.registry import FORMATS, PHANTOMS
from sammoe_pipeline.verify import verify_raw_dataset

MakeTask = Callable[..., Path]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("sammoe_raw", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("sammoe_home", str(tmp_path / "home"))


def test_a_task_becomes_a_dataset_named_after_it(make_task: MakeTask, tmp_path: Path, capsys: Captured) -> None:
    assert main(["msd", "-i", str(make_task()), "-d", "4", "-np", "1"]) == 0
    verify_raw_dataset(tmp_path / "home" / "sammoe_raw" / "Dataset004_Boxes")
    assert capsys.readouterr().out.endswith("\n  sammoe_plan_and_preprocess -d 4\n")


def test_name_and_folder_can_be_chosen(make_task: MakeTask, tmp_path: Path, capsys: Captured) -> None:
    raw = tmp_path / "my data"
    assert main(["msd", "-i", str(make_task()), "-d", "004", "-n", "Crates", "--raw", str(raw), "-np", "1"]) == 0
    assert (raw / "Dataset004_Crates" / "dataset.json").is_file()
    assert capsys.readouterr().out.endswith(f"sammoe_plan_and_preprocess -d 4 --raw '{raw}'\n")


def test_phantoms_are_made(tmp_path: Path, capsys: Captured) -> None:
    flags = ["--num_cases", "1", "--num_test", "1", "--seed", "3", "-np", "1"]
    assert main(["phantom_shapes", "-d", "901", *flags]) == 0
    folder = tmp_path / "home" / "sammoe_raw" / "Dataset901_PhantomShapes"
    assert len(list((folder / "labelsTr").iterdir())) == len(list((folder / "imagesTs").iterdir())) == 1
    assert "sammoe_plan_and_preprocess -d 901" in capsys.readouterr().out


def test_an_id_that_is_taken_is_an_error(make_task: MakeTask, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "home" / "sammoe_raw" / "Dataset004_Hippocampus").mkdir(parents=True)
    assert main(["msd", "-i", str(make_task()), "-d", "4"]) == 1
    error = capsys.readouterr().err
    assert "Dataset004_Hippocampus has this ID already. Choose another ID;" in error
    assert "add -n Hippocampus." in error


def test_faults_of_the_source_are_printed_without_a_traceback(make_task: MakeTask, capsys: Captured) -> None:
    task = make_task()
    (task / "labelsTr" / "box_2.nii.gz").unlink()
    (task / "labelsTr" / "box_3.nii.gz").write_bytes(b"")
    assert main(["msd", "-i", str(task), "-d", "4", "-np", "1"]) == 1
    error = capsys.readouterr().err
    assert "error: The source cannot be converted: 2 faults\n  - " in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["msb", "-i", "x", "-d", "4"], "Did you mean 'msd'?"),
        (["msd", "-i", "nowhere", "-d", "4"], "-i nowhere: there is no such folder."),
        (["phantom_head", "-d", "1000"], "-d 1000: dataset IDs go from 1 to 999."),
        (["phantom_head", "-d", "9", "-n", "a/b"], "-n 'a/b'"),
        (["phantom_head", "-d", "9", "--seed", "-1"], "seed is -1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], message: str, capsys: Captured) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["msd", "-d", "4"], ["msd", "-i", "x"], ["phantom_head", "-i", "x", "-d", "4"]]
)
def test_missing_and_foreign_flags_show_the_usage(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: sammoe_convert_dataset" in capsys.readouterr().err


def test_all_formats_are_listed(capsys: Captured) -> None:
    assert main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [*FORMATS, *PHANTOMS]


def test_help_teaches_by_example(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    help_text = capsys.readouterr().out
    assert "sammoe_convert_dataset msd -i downloads/Task04_Hippocampus -d 4" in help_text
    assert all(name in help_text for name in (*FORMATS, *PHANTOMS))


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, dataset_conversion.cli; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "SimpleITK", "nnunetv2", "pydantic"} & set(run.stdout.split())
