"""What a user can ask of every conversion, through the command, on miniatures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_conversion.cli import main
from sammoe_pipeline.image_io import read_header, read_volume
from sammoe_pipeline.verify import verify_raw_dataset
from tests.dataset_conversion.miniatures import MINIATURES, msd, nnunet_v2
from tests.dataset_conversion.volumes import AFFINE, label_map, mask, scan

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "Dataset007_Mini"


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Two cases of TotalSegmentator with four masks; the second has no liver, and its colon overlaps its stomach."""
    root = tmp_path / "source"
    for case, positions in (
        ("s0001", {"liver": 0, "kidney_left": 1, "kidney_right": 2, "colon": 3}),
        ("s0002", {"liver": -1, "kidney_left": 1, "kidney_right": 2, "colon": 2}),
    ):
        scan(root / case / "ct.nii.gz")
        for name, position in positions.items():
            mask(root / case / "segmentations" / f"{name}.nii.gz", position)
    return root


def convert(name: str, source: Path, target: Path, *flags: str) -> int:
    given = [name, "-i", str(source), "-d", "7", "-n", "Mini", "--raw", str(target.parent), "-np", "1"]
    return main([*given, *flags])


def read(target: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((target / name).read_text())
    return content


def values(path: Path) -> list[int]:
    return [int(value) for value in np.unique(read_volume(path).data)]


def test_a_subset_of_classes(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target, "--classes", "colon", "liver") == 0
    assert read(target, "dataset.json")["labels"] == {"background": 0, "colon": 1, "liver": 2}
    assert values(target / "labelsTr" / "s0001.nii.gz") == [0, 1, 2]
    assert values(target / "labelsTr" / "s0002.nii.gz") == [0, 1]


def test_merged_classes(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target, "--merge", "kidney=kidney_left,kidney_right") == 0
    assert read(target, "dataset.json")["labels"] == {"background": 0, "kidney": 1, "liver": 2, "colon": 3}
    label = read_volume(target / "labelsTr" / "s0001.nii.gz").data
    assert np.count_nonzero(label == 1) == 6


def test_split_classes(tmp_path: Path, target: Path) -> None:
    scan(tmp_path / "s" / "images" / "a.nii.gz")
    label_map(tmp_path / "s" / "labels" / "a.nii.gz", [5, 0, 0, 0, 0, 5] + [0] * 60 + [5] * 20)
    (tmp_path / "s" / "names.csv").write_text("label,name\n5,lung\n")
    assert convert("paired", tmp_path / "s", target, "--split-sides", "lung", "--channels", "CT") == 0
    assert read(target, "dataset.json")["labels"] == {"background": 0, "lung_left": 1, "lung_right": 2}
    label = read_volume(target / "labelsTr" / "a.nii.gz").data
    # The first axis runs to the left, so the first voxels lie on the right.
    assert set(np.unique(label[:6])) == {0, 2}
    assert set(np.unique(label[6:])) == {0, 1}


def test_cases_without_a_wanted_class_are_left_out(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target, "--classes", "liver", "--labels-only-where") == 0
    assert [path.name for path in (target / "labelsTr").iterdir()] == ["s0001.nii.gz"]
    assert read(target, "dataset.json")["numTraining"] == 1
    reasons = {case["name"]: case["left_out"] for case in read(target, "conversion_report.json")["cases"]}
    assert reasons == {"s0001": None, "s0002": "no wanted class is in it"}


def test_other_options_replace_what_an_earlier_run_wrote(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target) == 0
    assert convert("totalsegmentator_ct", masks, target, "--classes", "liver", "--labels-only-where") == 0
    verify_raw_dataset(target)
    assert values(target / "labelsTr" / "s0001.nii.gz") == [0, 1]
    assert len(list(target.rglob("s0002*"))) == 0


def test_overlaps_are_counted(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target) == 0
    counts = {case["name"]: case["overlapping_voxels"] for case in read(target, "conversion_report.json")["cases"]}
    assert counts == {"s0001": 0, "s0002": 3}
    # colon comes after kidney_right in the table
    assert values(target / "labelsTr" / "s0002.nii.gz") == [0, 2, 4]


def test_links_lead_to_the_source(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target, "--link") == 0
    image = target / "imagesTr" / "s0001_0000.nii.gz"
    assert image.is_symlink()
    assert image.resolve() == masks / "s0001" / "ct.nii.gz"
    assert not (target / "labelsTr" / "s0001.nii.gz").is_symlink()
    verify_raw_dataset(target)


def test_copies_can_replace_links_and_links_copies(masks: Path, target: Path) -> None:
    image = target / "imagesTr" / "s0001_0000.nii.gz"
    for flags, linked in (((), False), (("--link",), True), ((), False)):
        assert convert("totalsegmentator_ct", masks, target, *flags) == 0
        assert image.is_symlink() == linked


def test_a_label_map_that_needs_no_change_is_linked_too(tmp_path: Path, target: Path) -> None:
    source = MINIATURES["btcv"].make(tmp_path / "source")
    assert convert("btcv", source, target, "--link") == 0
    assert (target / "labelsTr" / "btcv_0001.nii.gz").is_symlink()


def test_a_dry_run_writes_nothing_and_says_what_it_would(masks: Path, target: Path, capsys: Captured) -> None:
    (masks / "s0001" / "segmentations" / "liver.nii.gz").write_bytes(b"")
    shutil.copy(masks / "s0002" / "segmentations" / "liver.nii.gz", masks / "s0001" / "segmentations")
    assert convert("totalsegmentator_ct", masks, target, "--dry-run", "--classes", "liver") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [str(target), "classes:", "  1 liver"]
    assert "copy imagesTr/s0001_0000.nii.gz" in lines
    assert "make labelsTr/s0001.nii.gz" in lines
    assert lines[-1].startswith("2 labelled cases, 0 test cases, about 0.00 GiB")
    assert not target.exists()


def test_a_dry_run_names_faults(masks: Path, target: Path, capsys: Captured) -> None:
    (masks / "s0001" / "ct.nii.gz").unlink()
    assert convert("totalsegmentator_ct", masks, target, "--dry-run") == 1
    assert "s0001 has no ct.nii.gz" in capsys.readouterr().err


def break_some(masks: Path) -> None:
    """Gives a third case five kinds of faults and leaves the others sound."""
    for number, name in enumerate(("truncated", "half", "moved", "values", "missing")):
        folder = masks / f"s1{number}_{name}"
        shutil.copytree(masks / "s0001", folder)
        liver = folder / "segmentations" / "liver.nii.gz"
        if name == "truncated":
            liver.write_bytes(liver.read_bytes()[:-20])
        elif name == "half":
            label_map(liver, [1, 2])
        elif name == "moved":
            mask(liver, 0, affine=AFFINE @ np.diag([1.5, 1, 1, 1]))
        elif name == "values":
            mask(liver, 0, dtype="float32")
            data = read_volume(liver)
            save_half(liver, data.data * 0.5)
        else:
            liver.unlink()


def save_half(path: Path, data: np.ndarray[Any, Any]) -> None:
    from tests.dataset_conversion.volumes import save

    save(path, data)


def test_all_faults_are_named_at_once(masks: Path, target: Path, capsys: Captured) -> None:
    break_some(masks)
    assert convert("totalsegmentator_ct", masks, target) == 1
    error = capsys.readouterr().err
    assert "The source cannot be converted: 5 faults" in error
    for words in (
        "s10_truncated/segmentations/liver.nii.gz is damaged",
        "s11_half/segmentations/liver.nii.gz should be the mask of liver alone",
        "s12_moved/segmentations/liver.nii.gz is not on the grid of ct.nii.gz",
        "s13_values/segmentations/liver.nii.gz has values that are no whole numbers: 0.5",
        "s14_missing/segmentations lacks masks that other cases have: liver",
    ):
        assert words in error
    assert not target.exists()


def test_faulty_cases_can_be_skipped_and_are_listed(masks: Path, target: Path) -> None:
    break_some(masks)
    assert convert("totalsegmentator_ct", masks, target, "--skip-faulty") == 0
    verify_raw_dataset(target)
    assert sorted(path.name for path in (target / "labelsTr").iterdir()) == ["s0001.nii.gz", "s0002.nii.gz"]
    skipped = {case["name"]: case["faults"] for case in read(target, "conversion_report.json")["skipped"]}
    assert list(skipped) == ["s14_missing", "s10_truncated", "s12_moved", "s11_half", "s13_values"]
    assert "should be the mask of liver alone" in skipped["s11_half"][0]


def test_a_case_that_has_become_faulty_is_taken_out(masks: Path, target: Path) -> None:
    assert convert("totalsegmentator_ct", masks, target) == 0
    label_map(masks / "s0002" / "segmentations" / "liver.nii.gz", [1, 2])
    assert convert("totalsegmentator_ct", masks, target, "--skip-faulty") == 0
    verify_raw_dataset(target)
    assert list(target.rglob("s0002*")) == []


def test_no_case_left_is_an_error(masks: Path, target: Path, capsys: Captured) -> None:
    for case in ("s0001", "s0002"):
        (masks / case / "ct.nii.gz").write_bytes(b"")
    assert convert("totalsegmentator_ct", masks, target, "--skip-faulty") == 1
    assert "there is no labelled case" in capsys.readouterr().err
    assert not target.exists()


def test_classes_that_are_nowhere_leave_no_dataset(masks: Path, target: Path, capsys: Captured) -> None:
    mask(masks / "s0001" / "segmentations" / "liver.nii.gz", -1)
    assert convert("totalsegmentator_ct", masks, target, "--classes", "liver") == 1
    assert "all label maps are empty" in capsys.readouterr().err
    assert convert("totalsegmentator_ct", masks, target, "--classes", "liver", "--labels-only-where") == 1
    assert "no wanted class is in any" in capsys.readouterr().err
    assert not target.exists()


def test_two_cases_of_one_name_are_a_fault(tmp_path: Path, target: Path, capsys: Captured) -> None:
    for name in ("a b", "a_b"):
        scan(tmp_path / "s" / name / "image.nii.gz")
        label_map(tmp_path / "s" / name / "label.nii.gz", [1])
    assert convert("case_folders", tmp_path / "s", target) == 1
    assert "the case 'a_b' exists 2 times" in capsys.readouterr().err


def test_a_full_disk_is_noticed_first(
    masks: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    usage = shutil.disk_usage(masks)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    assert convert("totalsegmentator_ct", masks, target) == 1
    assert "0.0 GiB free, and the dataset needs about 0.0. Make room, use another --raw, or --link." in (
        capsys.readouterr().err
    )


def test_channels_can_be_named(tmp_path: Path, target: Path, capsys: Captured) -> None:
    assert convert("msd", msd(tmp_path), target, "--channels", "T2w") == 1
    assert "--channels names 1, but the source has 2: T2, ADC" in capsys.readouterr().err
    assert convert("msd", msd(tmp_path), target, "--channels", "T2w", "DWI") == 0
    assert read(target, "dataset.json")["channel_names"] == {"0": "T2w", "1": "DWI"}


def test_regions_are_taken_over_and_cannot_be_changed(tmp_path: Path, target: Path, capsys: Captured) -> None:
    source = nnunet_v2(tmp_path)
    assert convert("nnunet_v2", source, target, "--classes", "core") == 1
    assert "cannot be used on a dataset with regions" in capsys.readouterr().err
    assert convert("nnunet_v2", source, target) == 0
    content, original = read(target, "dataset.json"), read(source, "dataset.json")
    assert content["labels"] == original["labels"]
    assert content["regions_class_order"] == [1, 2, 3]
    assert values(target / "labelsTr" / "b_1.nii.gz") == [0, 1, 2, 3]


def test_an_interrupted_conversion_goes_on(masks: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataset_conversion import staging

    real = staging.paint
    done: list[Path] = []

    def stop_at_second(files: Any, *arguments: Any) -> Any:
        if done and done[-1] != files[0].path:
            raise KeyboardInterrupt
        done.append(files[0].path)
        return real(files, *arguments)

    monkeypatch.setattr(staging, "paint", stop_at_second)
    assert convert("totalsegmentator_ct", masks, target) == 130
    assert not (target / "dataset.json").exists()
    painted: list[Path] = []
    monkeypatch.setattr(staging, "paint", lambda files, *rest: painted.append(files[0].path) or real(files, *rest))
    assert convert("totalsegmentator_ct", masks, target) == 0
    assert [path.parts[-3] for path in painted] == ["s0002"]
    verify_raw_dataset(target)
    assert not (target / ".conversion").exists()


def test_axes_off_their_right_angles_are_squared_and_told(tmp_path: Path, target: Path) -> None:
    source = MINIATURES["totalsegmentator_ct"].make(tmp_path / "source")
    assert convert("totalsegmentator_ct", source, target, "--classes", "liver", "spleen") == 0
    assert read_header(target / "imagesTr" / "s0000_0000.nii.gz").moved_voxels == 0
    repaired = {case["name"]: case["repaired"] for case in read(target, "conversion_report.json")["cases"]}
    assert "ct.nii.gz: axes not at right angles, squared" in repaired["s0000"][0]
    assert repaired["s0011"] == []
