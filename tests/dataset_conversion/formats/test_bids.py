from __future__ import annotations

from pathlib import Path

import pytest

from dataset_conversion.formats.bids import read_source
from sammoe_pipeline.errors import UsageError
from tests.dataset_conversion.miniatures import MINIATURES
from tests.dataset_conversion.volumes import label_map, mask, scan


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return MINIATURES["bids"].make(tmp_path) / "ds000001"


def test_the_suffix_chooses_among_images(dataset: Path) -> None:
    source = read_source(dataset, suffix="T2w")
    assert source.channels == ("T2w",)
    assert "there is sub-01_ses-a_T1w.nii.gz, sub-01_ses-a_T2w.nii.gz" in read_source(dataset).faults[0].text


def test_the_pipeline_chooses_among_derivatives(dataset: Path) -> None:
    (dataset / "derivatives" / "other" / "sub-01").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"holds manual, other\. Choose one with --pipeline"):
        read_source(dataset, suffix="T1w")
    assert len(read_source(dataset, suffix="T1w", pipeline="manual").cases) == 3
    with pytest.raises(UsageError, match=r"no \.\.\._dseg\.nii\.gz and no \.\.\._mask"):
        read_source(dataset, pipeline="other")


def test_the_nearest_table_counts(dataset: Path) -> None:
    near = dataset / "derivatives" / "manual" / "sub-02" / "ses-a" / "anat"
    (near / "sub-02_ses-a_space-orig_desc-manual_dseg.tsv").write_text("index\tname\n2\tX\n41\tY\n")
    meanings = [case.labels[0].meaning for case in read_source(dataset, suffix="T1w").cases]
    assert meanings[2] == {2: "X", 41: "Y"}
    assert meanings[0] == {2: "Left-White", 41: "Right-White"}


def test_a_table_of_other_entities_is_not_taken(dataset: Path) -> None:
    table = dataset / "derivatives" / "manual" / "desc-manual_dseg.tsv"
    table.rename(table.with_name("desc-automatic_dseg.tsv"))
    source = read_source(dataset, suffix="T1w")
    assert {label.meaning is None for case in source.cases for label in case.labels} == {True}


def test_label_maps_in_a_template_need_images_there(dataset: Path) -> None:
    folder = dataset / "derivatives" / "manual" / "sub-02" / "ses-a" / "anat"
    label_map(folder / "sub-02_ses-a_space-MNI_desc-warped_dseg.nii.gz", [2])
    assert "there is none" in read_source(dataset, suffix="T1w", seg="warped").faults[0].text
    scan(folder / "sub-02_ses-a_space-MNI_desc-preproc_T1w.nii.gz")
    source = read_source(dataset, suffix="T1w", seg="warped")
    assert [case.name for case in source.cases] == ["sub-02_ses-a_space-MNI_desc-preproc_T1w"]


def test_several_label_maps_of_an_image_are_a_fault(dataset: Path) -> None:
    folder = dataset / "derivatives" / "manual" / "sub-02" / "ses-a" / "anat"
    label_map(folder / "sub-02_ses-a_desc-second_dseg.nii.gz", [2])
    source = read_source(dataset, suffix="T1w")
    assert "has several label maps" in source.faults[0].text
    assert len(read_source(dataset, suffix="T1w", seg="manual").cases) == 3


def test_masks_are_joined_by_image(tmp_path: Path) -> None:
    scan(tmp_path / "sub-01" / "anat" / "sub-01_T2w.nii.gz")
    for index, name in enumerate(("left", "right")):
        mask(tmp_path / "derivatives" / "labels" / "sub-01" / "anat" / f"sub-01_label-{name}_mask.nii.gz", index)
    source = read_source(tmp_path)
    assert source.classes == ("left", "right")
    assert [label.meaning for label in source.cases[0].labels] == ["left", "right"]


def test_customary_names_are_masks_of_the_image_that_they_name(tmp_path: Path) -> None:
    folder = tmp_path / "derivatives" / "labels" / "sub-01" / "anat"
    for suffix in ("T1w", "T2w"):
        scan(tmp_path / "sub-01" / "anat" / f"sub-01_{suffix}.nii.gz")
    for index, kind in enumerate(("seg", "lesion")):
        for maker in ("manual", "auto"):
            mask(folder / f"sub-01_T2w_{kind}-{maker}.nii.gz", index)
    source = read_source(tmp_path, seg="manual")
    assert source.classes == ("lesion", "seg")
    assert [(case.name, [label.path.name for label in case.labels]) for case in source.cases] == [
        ("sub-01_T2w", ["sub-01_T2w_lesion-manual.nii.gz", "sub-01_T2w_seg-manual.nii.gz"])
    ]
