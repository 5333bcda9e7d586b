"""Conversions that would cost files: of a dataset onto itself, or onto what somebody else has made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataset_conversion import conversion
from dataset_conversion.cli import main
from sammoe_pipeline.verify import verify_raw_dataset
from tests.dataset_conversion.miniatures import write_json
from tests.dataset_conversion.volumes import label_map, scan

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset in nnU-Net's format, as its own conversion would place it."""
    folder = tmp_path / "raw" / "Dataset007_Mini"
    for name in ("a", "b"):
        scan(folder / "imagesTr" / f"{name}_0000.nii.gz")
        label_map(folder / "labelsTr" / f"{name}.nii.gz", [1])
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "numTraining": 2}
    write_json(folder / "dataset.json", {**content, "file_ending": ".nii.gz"})
    return folder


def convert(source: Path, raw: Path, *flags: str) -> int:
    given = ["nnunet_v2", "-i", str(source), "-d", "7", "-n", "Mini", "--raw", str(raw), "-np", "1"]
    return main([*given, *flags])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("flags", [[], ["--link"], ["--dry-run"]])
def test_a_dataset_is_not_converted_onto_itself(dataset: Path, flags: list[str], capsys: Captured) -> None:
    before = contents(dataset)
    assert convert(dataset, dataset.parent, *flags) == 1
    assert contents(dataset) == before
    error = capsys.readouterr().err
    assert f"the source itself lies there ({dataset / 'imagesTr'})" in error
    assert "run sammoe_plan_and_preprocess. Otherwise choose another ID (-d) or --raw." in error


def test_links_do_not_hide_that_it_is_the_same_dataset(dataset: Path, tmp_path: Path) -> None:
    before = contents(dataset)
    (tmp_path / "link").symlink_to(dataset.parent)
    assert convert(dataset, tmp_path / "link", "--link") == 1
    (tmp_path / "other" / dataset.name).mkdir(parents=True)
    (tmp_path / "other" / dataset.name / "imagesTr").symlink_to(dataset / "imagesTr")
    assert convert(dataset, tmp_path / "other", "--link") == 1
    assert contents(dataset) == before


def test_a_linked_dataset_is_not_converted_onto_itself(dataset: Path, tmp_path: Path) -> None:
    assert convert(dataset, tmp_path / "linked", "--link") == 0
    linked = tmp_path / "linked" / dataset.name
    before = contents(linked)
    assert convert(linked, tmp_path / "linked", "--link") == 1
    assert contents(linked) == before


@pytest.mark.parametrize("part", ["dataset.json", "labelsTr"])
def test_what_no_conversion_has_made_is_left_alone(dataset: Path, tmp_path: Path, part: str, capsys: Captured) -> None:
    source = dataset.rename(tmp_path / "source")
    shutil.copytree(source, dataset)
    for path in set(dataset.iterdir()) - {dataset / part}:
        path.unlink() if path.is_file() else shutil.rmtree(path)
    before = contents(dataset)
    assert convert(source, dataset.parent) == 1
    assert contents(dataset) == before
    error = capsys.readouterr().err
    assert f"{dataset} holds a dataset that this command has not made" in error
    assert "Choose another ID (-d) or --raw" in error


def test_faults_on_the_way_do_not_disown_an_interrupted_conversion(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dataset.rename(tmp_path / "source")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "write_description", stop)
        assert convert(source, dataset.parent) == 130
    label = source / "labelsTr" / "a.nii.gz"
    content = label.read_bytes()
    label.write_bytes(b"")
    assert convert(source, dataset.parent) == 1
    label.write_bytes(content)
    assert convert(source, dataset.parent) == 0
    verify_raw_dataset(dataset)
    assert not (dataset / ".conversion").exists()
