"""Every format, through the command, on a miniature of the real tree."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_conversion.cli import main
from dataset_conversion.files import files_of
from dataset_conversion.registry import FORMATS
from dataset_conversion.source import Source
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.verify import verify_raw_dataset
from tests.dataset_conversion.miniatures import MINIATURES, Miniature


@pytest.fixture(scope="module", params=MINIATURES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def miniature(name: str) -> Miniature:
    return MINIATURES[name]


@pytest.fixture(scope="module")
def source(miniature: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.make(tmp_path_factory.mktemp("source"))


def convert(name: str, source: Path, raw: Path, *flags: str) -> int:
    given = [name, "-i", str(source), "-d", "7", "-n", "Mini", "--raw", str(raw), "-np", "1"]
    return main([*given, *MINIATURES[name].flags, *flags])


@pytest.fixture(scope="module")
def converted(name: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("raw")
    assert convert(name, source, raw) == 0
    return raw / "Dataset007_Mini"


@pytest.fixture(scope="module")
def content(converted: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((converted / "dataset.json").read_text())
    return found


def cases_in(folder: Path, ending: str) -> list[str]:
    return sorted(path.name.removesuffix(ending) for path in folder.glob(f"*{ending}"))


def test_every_format_has_a_miniature() -> None:
    assert MINIATURES.keys() == FORMATS.keys()


def test_cases_arrive_under_their_names(converted: Path, miniature: Miniature) -> None:
    assert cases_in(converted / "imagesTr", "_0000.nii.gz") == sorted(miniature.training)
    assert cases_in(converted / "labelsTr", ".nii.gz") == sorted(miniature.training)
    assert cases_in(converted / "imagesTs", "_0000.nii.gz") == sorted(miniature.test)
    assert cases_in(converted / "labelsTs", ".nii.gz") == sorted(miniature.labelled_test)


def test_classes_and_channels_are_named(content: dict[str, Any], miniature: Miniature) -> None:
    assert list(content["labels"]) == ["background", *miniature.classes]
    assert list(content["channel_names"].values()) == list(miniature.channels)


def test_the_registry_says_which_classes_come_out(name: str, miniature: Miniature) -> None:
    assert FORMATS[name].classes in ((), tuple(miniature.classes))


def test_patients_are_told_apart(converted: Path, miniature: Miniature) -> None:
    path = converted / "patients.json"
    assert (json.loads(path.read_text()) if path.exists() else {}) == miniature.patients


def test_dataset_json_says_where_it_comes_from(content: dict[str, Any], name: str) -> None:
    assert content["converted_by"].startswith(f"sammoe_convert_dataset {name}, sammoe_pipeline ")
    assert content["licence"] and content["reference"]


def test_nnunet_is_told_of_mixed_orientations(content: dict[str, Any], name: str) -> None:
    mixed = ("amos22_ct", "amos22_mr", "kits23", "lits", "totalsegmentator_mri", "verse")
    assert content.get("overwrite_image_reader_writer") == ("NibabelIOWithReorient" if name in mixed else None)


def test_every_class_is_in_a_label_map(converted: Path, content: dict[str, Any], name: str) -> None:
    values = {int(value) for path in (converted / "labelsTr").iterdir() for value in np.unique(read_volume(path).data)}
    expected = set(range(len(content["labels"])))
    if name.startswith("totalsegmentator"):
        expected.remove(len(content["labels"]) - 1)  # the miniature's last mask is empty, as many are
    assert values == expected


def test_the_result_is_sound(converted: Path) -> None:
    verify_raw_dataset(converted)


def test_nnunet_finds_it_sound(converted: Path, nnunet_in_threads: None, capfd: pytest.CaptureFixture[str]) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(converted), num_processes=1)
    words = capfd.readouterr().out
    assert "verify_dataset_integrity Done" in words
    assert "Warning" not in words


def test_nothing_is_left_beside_the_dataset(converted: Path) -> None:
    assert not list(converted.rglob(".*"))
    assert [path.name for path in converted.parent.iterdir()] == [converted.name]


def test_a_second_run_changes_nothing(name: str, source: Path, converted: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in converted.rglob("*.*")}
    assert convert(name, source, converted.parent) == 0
    assert {path: path.stat().st_mtime_ns for path in converted.rglob("*.*")} == before


def test_cases_can_go_to_other_processes(name: str, source: Path) -> None:
    cases = read(name, source).cases
    assert pickle.loads(pickle.dumps(cases)) == cases


def test_an_empty_folder_is_explained(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    assert convert(name, tmp_path / "source", tmp_path / "raw") == 1
    assert f"-i {tmp_path / 'source'}" in capsys.readouterr().err
    assert not (tmp_path / "raw" / "Dataset007_Mini").exists()


def test_a_truncated_image_is_named_and_leaves_nothing(
    name: str, miniature: Miniature, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = miniature.make(tmp_path / "source")
    case = read_case(name, source)
    case.write_bytes(case.read_bytes()[:-300])
    assert convert(name, source, tmp_path / "raw") == 1
    assert case.name in capsys.readouterr().err
    assert not (tmp_path / "raw" / "Dataset007_Mini").exists()


def read_case(name: str, source: Path) -> Path:
    """Returns the first image of the first labelled case."""
    return next(files_of(case.images[0])[0] for case in read(name, source).cases if case.is_training)


def read(name: str, source: Path) -> Source:
    words = MINIATURES[name].flags
    flags = {flag.lstrip("-"): value for flag, value in zip(words[::2], words[1::2], strict=True)}
    return FORMATS[name].source(source, **{flag: flags[flag] for flag in FORMATS[name].flags if flag in flags})
