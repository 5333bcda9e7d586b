"""What is particular to a format: its traps, and what its converter does about them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_conversion.files import files_of, header_of, voxels_of
from dataset_conversion.registry import FORMATS
from dataset_conversion.source import Case, Source
from sammoe_pipeline.dicom_series import DicomSeries
from sammoe_pipeline.errors import UnreadableFileError, UsageError
from tests.dataset_conversion.dicom_files import box, rtstruct, series
from tests.dataset_conversion.miniatures import MINIATURES, write_json
from tests.dataset_conversion.volumes import AFFINE, label_map, mask, scan


def read(name: str, folder: Path, **arguments: Any) -> Source:
    return FORMATS[name].source(folder, **arguments)


def case(source: Source, name: str) -> Case:
    return next(found for found in source.cases if found.name == name)


def faults(source: Source) -> str:
    return "\n".join(fault.text for fault in source.faults)


def make(name: str, folder: Path) -> Path:
    return MINIATURES[name].make(folder)


def test_totalsegmentator_numbers_unknown_masks_after_the_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("face", "liver", "spleen"):
        mask(tmp_path / "s0001" / "segmentations" / f"{name}.nii.gz", 0)
    scan(tmp_path / "s0001" / "ct.nii.gz")
    assert read("totalsegmentator_ct", tmp_path).classes == ("spleen", "liver", "face")
    assert "1 classes are not in the published table: face" in caplog.text


def test_totalsegmentator_paints_cysts_over_kidneys(tmp_path: Path) -> None:
    source = read("totalsegmentator_ct", make("totalsegmentator_ct", tmp_path))
    order = [label.meaning for label in source.cases[0].labels]
    assert order.index("kidney_left") < order.index("kidney_cyst_left")


def test_totalsegmentator_names_cases_without_an_image(tmp_path: Path) -> None:
    folder = make("totalsegmentator_ct", tmp_path)
    (folder / "Totalsegmentator_dataset_v201" / "s0011" / "ct.nii.gz").unlink()
    fault = read("totalsegmentator_ct", folder).faults[0]
    assert (fault.case, "has no ct.nii.gz" in fault.text) == ("s0011", True)


def test_totalsegmentator_names_cases_without_masks(tmp_path: Path) -> None:
    folder = make("totalsegmentator_ct", tmp_path)
    shutil.rmtree(folder / "Totalsegmentator_dataset_v201" / "s0011" / "segmentations")
    source = read("totalsegmentator_ct", folder)
    (fault,) = source.faults
    assert (fault.case, "s0011 has no folder segmentations" in fault.text) == ("s0011", True)
    assert [found.name for found in source.cases] == ["s0000", "s0864"]


def test_totalsegmentator_needs_no_table_of_cases(tmp_path: Path) -> None:
    folder = make("totalsegmentator_ct", tmp_path)
    (folder / "Totalsegmentator_dataset_v201" / "meta.csv").unlink()
    assert all(found.is_training for found in read("totalsegmentator_ct", folder).cases)


def test_btcv_looks_for_both_names_of_the_test_folder(tmp_path: Path) -> None:
    folder = make("btcv", tmp_path)
    root = folder / "Abdomen" / "RawData"
    (root / "Testing").rename(root / "Test")
    assert case(read("btcv", folder), "btcv_0061").test


def test_btcv_does_not_guess_between_raw_and_registered(tmp_path: Path) -> None:
    folder = make("btcv", tmp_path)
    shutil.copytree(folder / "Abdomen" / "RawData", folder / "Abdomen" / "RegData")
    with pytest.raises(UsageError, match="holds several datasets: RawData, RegData"):
        read("btcv", folder)


def test_sppin_reads_t1_alone(tmp_path: Path) -> None:
    source = read("sppin2023", make("sppin2023", tmp_path))
    assert [path.name for path in case(source, "PT_06_20140512").images] == ["PT_06_T1_gd_20140514.nii"]


def test_sppin_names_an_examination_without_t1(tmp_path: Path) -> None:
    folder = make("sppin2023", tmp_path)
    next(folder.rglob("PT_92_T1_gd_20171101.nii")).unlink()
    fault = read("sppin2023", folder).faults[0]
    assert (fault.case, "has no T1 image beside PT_92_NB" in fault.text) == ("PT_92_20171101", True)


def test_sam_med3d_asks_which_dataset(tmp_path: Path) -> None:
    folder = make("sam_med3d", tmp_path)
    with pytest.raises(UsageError, match=r"several datasets: ct_WORD, mr_AMOS\. Choose one with --dataset"):
        read("sam_med3d", folder)
    with pytest.raises(UsageError, match=r"'ct_WRD' is none of .* Did you mean 'ct_WORD'"):
        read("sam_med3d", folder, dataset="ct_WRD")


def test_sam_med3d_joins_masks_of_a_case(tmp_path: Path) -> None:
    source = read("sam_med3d", make("sam_med3d", tmp_path), dataset="ct_WORD")
    assert [label.meaning for label in case(source, "word_2").labels] == ["adrenal", "liver"]
    assert [label.meaning for label in case(source, "word_1").labels] == ["liver"]


def test_sam_med3d_names_what_is_alone(tmp_path: Path) -> None:
    folder = make("sam_med3d", tmp_path)
    root = folder / "data" / "medical_preprocessed" / "liver" / "ct_WORD"
    scan(root / "imagesTr" / "word_8.nii.gz")
    mask(root / "labelsTr" / "word_9.nii.gz", 0)
    source = read("sam_med3d", folder, dataset="ct_WORD")
    assert {fault.case for fault in source.faults} == {"word_8", "word_9"}


def test_kits_says_that_images_must_be_fetched(tmp_path: Path) -> None:
    folder = make("kits23", tmp_path)
    for path in folder.rglob("imaging.nii.gz"):
        path.unlink()
    with pytest.raises(UsageError, match="Fetch the images with KiTS23's own kits23_download_data"):
        read("kits23", folder)


def test_kits_names_a_single_missing_image(tmp_path: Path) -> None:
    folder = make("kits23", tmp_path)
    (folder / "dataset" / "case_00588" / "imaging.nii.gz").unlink()
    assert "case_00588/segmentation.nii.gz has no image" in faults(read("kits23", folder))


def test_lits_pairs_by_number_whatever_the_batch(tmp_path: Path) -> None:
    folder = make("lits", tmp_path)
    path = next(folder.rglob("segmentation-10.nii"))
    path.rename(folder / path.name)
    label = case(read("lits", folder), "lits_10").labels[0].path
    assert label == folder / "segmentation-10.nii"


def test_lits_names_files_of_one_number(tmp_path: Path) -> None:
    folder = make("lits", tmp_path)
    scan(folder / "again" / "volume-2.nii")
    assert "have the same ID" in faults(read("lits", folder))


def test_acdc_checks_the_frames_that_its_notes_name(tmp_path: Path) -> None:
    folder = make("acdc", tmp_path)
    for path in folder.rglob("patient090_frame11*"):
        path.unlink()
    assert "Info.cfg names frame 11 as ES" in faults(read("acdc", folder))


def test_acdc_takes_no_series_for_a_frame(tmp_path: Path) -> None:
    source = read("acdc", make("acdc", tmp_path))
    assert not [path for found in source.cases for path in found.images if "4d" in path.name]


@pytest.mark.parametrize("part", ["testing", "database"])
def test_acdc_knows_its_test_cases_from_any_folder(tmp_path: Path, part: str) -> None:
    make("acdc", tmp_path)
    folder = next(tmp_path.rglob(part))
    assert case(read("acdc", folder), "patient101_frame01").test


def test_verse_remaps_the_thirteenth_vertebra(tmp_path: Path) -> None:
    source = read("verse", make("verse", tmp_path))
    assert source.cases[0].labels[0].meaning[28] == "vertebra_T13"  # type: ignore[index, call-overload]
    assert source.classes[-1] == "vertebra_T13"


def flat_verse(folder: Path) -> Path:
    """VerSe as the challenges gave it: 2019 in one folder, 2020 in a folder a patient."""
    for path in ("train/verse031", "train/verse004", "b/verse401/verse401_verse201_CT-iso", "b/GL003/GL003_CT_ax"):
        scan(folder / f"{path}.nii.gz")
        label_map(folder / f"{path}_seg.nii.gz", [19, 20, 28])
        (folder / f"{path}_ctd.json").write_text("[]")
    scan(folder / "test" / "verse012.nii.gz")
    return folder


def test_verse_reads_what_the_challenges_gave_out(tmp_path: Path) -> None:
    source = read("verse", flat_verse(tmp_path))
    assert faults(source) == ""
    assert {found.name: found.patient for found in source.cases if found.is_training} == {
        "verse004": "verse004",
        "verse031": "verse031",
        "verse401_verse201_CT-iso": "verse401",
        "GL003_CT_ax": "GL003",
    }
    assert case(source, "verse012").test


def test_verse_takes_known_specks_for_background(tmp_path: Path) -> None:
    source = read("verse", flat_verse(tmp_path))
    meanings = {found.name: found.labels[0].meaning for found in source.cases if found.labels}
    assert meanings["verse031"][19] == "background"  # type: ignore[index, call-overload]
    assert meanings["verse004"][19] == "vertebra_T12"  # type: ignore[index, call-overload]


def test_verse_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither rawdata/sub-X/sub-X_ct\.nii\.gz nor verseNNN\.nii\.gz"):
        read("verse", tmp_path)


def test_verse_does_not_take_a_scan_twice(tmp_path: Path) -> None:
    make("verse", flat_verse(tmp_path))
    with pytest.raises(UsageError, match="by subject and as the challenges gave it"):
        read("verse", tmp_path)


def test_han_seg_numbers_organs_by_the_table_whatever_cases_lack(tmp_path: Path) -> None:
    folder = make("han_seg", tmp_path)
    for path in folder.rglob("case_01_OAR_A_Carotid_L.seg.nrrd"):
        path.unlink()
    assert read("han_seg", folder).classes[0] == "A_Carotid_L"


def old_brats(folder: Path) -> Path:
    root = folder / "RSNA_ASNR_MICCAI_BraTS2021_TrainingData" / "BraTS2021_00000"
    for sequence in ("t1", "t1ce", "t2", "flair"):
        scan(root / f"BraTS2021_00000_{sequence}.nii.gz")
    label_map(root / "BraTS2021_00000_seg.nii.gz", [1, 2, 4])
    return folder


def test_brats_2021_has_its_own_values(tmp_path: Path) -> None:
    source = read("brats", old_brats(tmp_path))
    assert source.cases[0].labels[0].meaning == {1: "necrotic_tumor_core", 2: "edema", 4: "enhancing_tumor"}
    assert [path.name.rsplit("_", 1)[1] for path in source.cases[0].images] == [
        "t1.nii.gz",
        "t1ce.nii.gz",
        "t2.nii.gz",
        "flair.nii.gz",
    ]
    assert source.cases[0].patient is None


def test_brats_does_not_mix_years(tmp_path: Path) -> None:
    old_brats(make("brats", tmp_path))
    with pytest.raises(UsageError, match="cases of 2021 and of later years"):
        read("brats", tmp_path)


@pytest.mark.parametrize(
    ("folder", "year", "classes"),
    [("training_data1", None, 4), ("mirror", "2024", 4), ("mirror", "2023", 3), ("ASNR-MICCAI-BraTS2023-X", None, 3)],
)
def test_brats_takes_the_year_from_names_or_from_the_user(
    tmp_path: Path, folder: str, year: str | None, classes: int
) -> None:
    make("brats", tmp_path)
    next(tmp_path.glob("ASNR*")).rename(tmp_path / folder)
    assert len(read("brats", tmp_path, **({"year": year} if year else {})).classes) == classes


def test_brats_asks_for_the_year_where_nobody_says_it(tmp_path: Path) -> None:
    make("brats", tmp_path)
    next(tmp_path.glob("ASNR*")).rename(tmp_path / "mirror")
    with pytest.raises(UsageError, match="Say --year 2023 or --year 2024"):
        read("brats", tmp_path / "mirror")


def test_brats_names_missing_sequences(tmp_path: Path) -> None:
    folder = make("brats", tmp_path)
    next(folder.rglob("BraTS-GLI-00006-000-t2f.nii.gz")).unlink()
    assert "BraTS-GLI-00006-000 has no t2f" in faults(read("brats", folder))


def test_brats_without_a_segmentation_is_a_test_case(tmp_path: Path) -> None:
    folder = make("brats", tmp_path)
    next(folder.rglob("BraTS-GLI-00006-000-seg.nii.gz")).unlink()
    assert case(read("brats", folder), "BraTS-GLI-00006-000").test


def test_paired_finds_label_maps_by_names_without_their_role(tmp_path: Path) -> None:
    for number in (1, 2):
        scan(tmp_path / "imgs" / f"img_{number}.nii.gz")
        label_map(tmp_path / "masks" / f"mask_{number}.nii.gz", [1])
    source = read("paired", tmp_path)
    assert [(found.name, found.labels[0].path.name) for found in source.cases] == [
        ("img_1", "mask_1.nii.gz"),
        ("img_2", "mask_2.nii.gz"),
    ]


def test_paired_knows_words_for_roles_that_belong_to_the_image(tmp_path: Path) -> None:
    for name in ("P01_CT", "P01_MR"):
        scan(tmp_path / "images" / f"{name}.nii.gz")
        label_map(tmp_path / "labels" / f"{name}_seg.nii.gz", [1])
    source = read("paired", tmp_path)
    assert [(found.name, found.labels[0].path.name) for found in source.cases] == [
        ("P01_CT", "P01_CT_seg.nii.gz"),
        ("P01_MR", "P01_MR_seg.nii.gz"),
    ]
    assert faults(source) == ""


@pytest.mark.parametrize(("images", "labels"), [("Images", "Labels"), ("IMG", "GT"), ("imagestr", "labelstr")])
def test_paired_reads_folders_in_capitals(tmp_path: Path, images: str, labels: str) -> None:
    scan(tmp_path / "download" / images / "a.nii.gz")
    label_map(tmp_path / "download" / labels / "a.nii.gz", [1])
    assert [found.name for found in read("paired", tmp_path).cases] == ["a"]


def test_paired_knows_numbered_channels(tmp_path: Path) -> None:
    for channel in range(2):
        scan(tmp_path / "images" / f"a_{channel:04d}.nii.gz")
    label_map(tmp_path / "labels" / "a.nii.gz", [1])
    source = read("paired", tmp_path)
    assert source.channels == ("image_0", "image_1")
    assert len(source.cases[0].images) == 2


@pytest.mark.parametrize(("image", "label"), [("case", "case"), ("img", "label"), ("case", "seg_case")])
def test_paired_takes_numbers_that_label_maps_share_for_ids(tmp_path: Path, image: str, label: str) -> None:
    for number in (1, 2):
        scan(tmp_path / "images" / f"{image}_{number:04d}.nii.gz")
        label_map(tmp_path / "labels" / f"{label}_{number:04d}.nii.gz", [1])
    source = read("paired", tmp_path)
    assert (source.channels, faults(source)) == (("image",), "")
    assert [found.name for found in source.cases] == [f"{image}_0001", f"{image}_0002"]


def test_paired_names_channels_that_are_missing(tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001", "b_0001"):
        scan(tmp_path / "images" / f"{name}.nii.gz")
    for name in "ab":
        label_map(tmp_path / "labels" / f"{name}.nii.gz", [1])
    assert "case b has b_0001.nii.gz; 2 channel(s), counted from 0000, are needed" in faults(read("paired", tmp_path))


def test_paired_names_label_maps_that_fit_several_images(tmp_path: Path) -> None:
    for name in ("a_img", "a_scan"):
        scan(tmp_path / "images" / f"{name}.nii.gz")
    label_map(tmp_path / "labels" / "a_seg.nii.gz", [1])
    assert "fits several images" in faults(read("paired", tmp_path))


def test_paired_leaves_the_choice_between_tables_to_the_user(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make("paired", tmp_path)
    (folder / "other.csv").write_text("label,name\n1,one\n4,four\n7,seven\n")
    assert read("paired", folder).classes == ()
    assert "may name the classes: other.csv, structures.csv. None is used; say which with --names." in caplog.text
    assert read("paired", folder, names=folder / "other.csv").classes == ("one", "four", "seven")


@pytest.mark.parametrize("name", ["names.txt", "Labels.json"])
def test_paired_prefers_the_table_that_is_called_so(tmp_path: Path, name: str) -> None:
    folder = make("paired", tmp_path)
    (folder / name).write_text('{"1": "one"}' if name.endswith("json") else "1 one\n")
    assert read("paired", folder).classes == ("one",)


def test_paired_takes_no_notes_for_a_table(tmp_path: Path) -> None:
    folder = make("paired", tmp_path)
    (folder / "README.txt").write_text("Mice of our group, scanned in 2019.\n")
    assert read("paired", folder).classes == ("Left Cortex", "Fimbria")
    (folder / "structures.csv").unlink()
    assert read("paired", folder).classes == ()


def test_case_folders_takes_several_masks(tmp_path: Path) -> None:
    scan(tmp_path / "a" / "t2.nii.gz")
    for index, name in enumerate(("liver_mask", "tumor_mask")):
        mask(tmp_path / "a" / f"{name}.nii.gz", index)
    source = read("case_folders", tmp_path, label=["liver_mask.nii.gz", "tumor_mask"])
    assert source.classes == ("liver", "tumor")
    assert [label.meaning for label in source.cases[0].labels] == ["liver", "tumor"]


def test_case_folders_takes_several_channels(tmp_path: Path) -> None:
    for name in ("t1", "t2"):
        scan(tmp_path / "a" / f"{name}.nii.gz")
    label_map(tmp_path / "a" / "seg.nii.gz", [1])
    source = read("case_folders", tmp_path, image=["t1", "t2"])
    assert source.channels == ("t1", "t2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"say with --image which file .* There are: seg \(1 cases\), t1 \(1 cases\), t2 \(1 cases\)"),
        ({"label": ["sg.nii.gz"]}, "--label sg: no case has such a file. Did you mean 'seg'"),
        ({"label": ["seg", "t1"], "names": Path("x.csv")}, "--names is for one label map"),
    ],
)
def test_case_folders_says_what_it_needs(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    for name in ("t1", "t2"):
        scan(tmp_path / "a" / f"{name}.nii.gz")
    label_map(tmp_path / "a" / "seg.nii.gz", [1])
    with pytest.raises(UsageError, match=message):
        read("case_folders", tmp_path, **arguments)


def test_case_folders_names_folders_that_lack_a_file(tmp_path: Path) -> None:
    folder = make("case_folders", tmp_path)
    next(folder.rglob("parcellation.nii.gz")).unlink()
    assert "has no parcellation" in faults(read("case_folders", folder))


@pytest.mark.parametrize(
    ("image", "label"), [("p{}_ct", "p{}_seg"), ("p{}", "p{}-seg"), ("p{}.ct", "seg"), ("p{}_t1", "P{}_label")]
)
def test_case_folders_passes_over_the_case_in_names_of_files(tmp_path: Path, image: str, label: str) -> None:
    for number in ("01", "02"):
        scan(tmp_path / f"p{number}" / f"{image.format(number)}.nii.gz")
        label_map(tmp_path / f"p{number}" / f"{label.format(number)}.nii.gz", [1])
    source = read("case_folders", tmp_path)
    assert ([found.name for found in source.cases], faults(source)) == (["p01", "p02"], "")
    assert source.cases[1].labels[0].path.name == f"{label.format('02')}.nii.gz"


@pytest.mark.parametrize("given", ["{}", "p01_{}", "p02_{}.nii.gz"])
def test_case_folders_takes_roles_or_the_files_of_a_case(tmp_path: Path, given: str) -> None:
    for name in ("p01", "p02"):
        for role in ("ct", "pet", "dose"):
            scan(tmp_path / name / f"{name}_{role}.nii.gz")
        mask(tmp_path / name / f"{name}_liver.nii.gz", 0)
        mask(tmp_path / name / f"{name}_tumor.nii.gz", 1)
    images, labels = ([given.format(role) for role in roles] for roles in (("ct", "pet"), ("liver", "tumor")))
    source = read("case_folders", tmp_path, image=images, label=labels)
    assert (source.channels, source.classes) == (("ct", "pet"), ("liver", "tumor"))
    assert [[path.name for path in found.images] for found in source.cases] == [
        ["p01_ct.nii.gz", "p01_pet.nii.gz"],
        ["p02_ct.nii.gz", "p02_pet.nii.gz"],
    ]


def test_case_folders_names_files_of_one_role(tmp_path: Path) -> None:
    for name in ("ct", "p01_ct", "seg"):
        label_map(tmp_path / "p01" / f"{name}.nii.gz", [1])
    assert "p01_ct.nii.gz and " in faults(read("case_folders", tmp_path))


def test_nnunet_v1_names_images_without_a_channel(tmp_path: Path) -> None:
    root = make("nnunet_v1", tmp_path)
    scan(root / "imagesTr" / "a_2.nii.gz")
    (root / "imagesVal" / "v_1_0001.nii.gz").unlink()
    found = faults(read("nnunet_v1", root))
    assert "a_2.nii.gz does not end in a channel's number" in found
    assert "case v_1 has v_1_0000.nii.gz; 2 channel(s)" in found


def test_flare_reads_tuning_cases_without_a_folder_of_images(tmp_path: Path) -> None:
    folder = make("flare22", tmp_path)
    shutil.move(str(folder / "Tuning" / "images"), folder / "Validation")
    (folder / "Tuning").rmdir()
    assert case(read("flare22", folder), "FLARETs_0001").test


def test_segthor_takes_the_training_folder_alone(tmp_path: Path) -> None:
    folder = make("segthor", tmp_path)
    assert [found.name for found in read("segthor", folder / "train").cases] == ["Patient_01", "Patient_40"]


@pytest.mark.parametrize(("reader", "mixed"), [("NibabelIOWithReorient", True), ("SimpleITKIO", False), (None, False)])
def test_nnunet_v2_keeps_the_wish_to_reorient(tmp_path: Path, reader: str | None, mixed: bool) -> None:
    root = make("nnunet_v2", tmp_path)
    content = json.loads((root / "dataset.json").read_text())
    write_json(root / "dataset.json", {**content, **({"overwrite_image_reader_writer": reader} if reader else {})})
    assert read("nnunet_v2", root).mixed_orientations == mixed


def test_brats_takes_the_mended_case(tmp_path: Path) -> None:
    for root in ("BraTS2023-MEN-TrainingData", "BraTS2023-MEN-Train-Fix"):
        folder = tmp_path / root / "BraTS-MEN-00004-000"
        for sequence in ("t1n", "t1c", "t2w", "t2f", "seg"):
            scan(folder / f"BraTS-MEN-00004-000-{sequence}.nii.gz")
    source = read("brats", tmp_path)
    assert [path.parts[-3] for found in source.cases for path in files_of(found.images[0])] == [
        "BraTS2023-MEN-Train-Fix"
    ]


def test_brats_sends_plans_of_radiotherapy_to_their_own_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the format brats_men_rt"):
        read("brats", make("brats_men_rt", tmp_path))


def test_amos_knows_that_later_numbers_are_ct(tmp_path: Path) -> None:
    folder = make("amos22_ct", tmp_path)
    scan(folder / "amos22" / "imagesTs" / "amos_5437.nii.gz")
    assert "amos_5437" in [found.name for found in read("amos22_ct", folder).cases]
    assert "amos_5437" not in [found.name for found in read("amos22_mr", folder).cases]


def test_btcv_is_not_its_sibling_of_the_cervix(tmp_path: Path) -> None:
    scan(tmp_path / "RawData" / "Training" / "img" / "0507688-Image.nii.gz")
    label_map(tmp_path / "RawData" / "Training" / "label" / "0507688-Mask.nii.gz", [1])
    with pytest.raises(UsageError, match="The cervix set, NNNNNNN-Image"):
        read("btcv", tmp_path)


def test_flare_does_not_read_test_cases_that_are_called_like_tuning_cases(tmp_path: Path) -> None:
    folder = make("flare22", tmp_path)
    scan(folder / "Testing" / "FLARETs_0200_0000.nii.gz")
    assert [found.name for found in read("flare22", folder).cases if found.test] == ["FLARETs_0001"]


def test_archives_that_were_not_extracted_are_named(tmp_path: Path) -> None:
    (tmp_path / "FLARE22_LabeledCase50").mkdir()
    (tmp_path / "FLARE22_LabeledCase50" / "images.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"images\.zip is still packed: extract it"):
        read("flare22", tmp_path)


def test_sam_med3d_does_not_guess_the_archives(tmp_path: Path) -> None:
    scan(tmp_path / "imagesTr_ct" / "a.nii.gz")
    mask(tmp_path / "labelsTr" / "a.nii.gz", 0)
    with pytest.raises(UsageError, match=r"SA-Med3D-140K .* CLASS/MODALITY_DATASET/labelsTr is looked for"):
        read("sam_med3d", tmp_path)


def test_lits_warns_of_volumes_that_lost_their_spacing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (27, 28, 29):
        scan(tmp_path / f"volume-{number}.nii", affine=np.eye(4) if number < 29 else AFFINE)
        label_map(tmp_path / f"segmentation-{number}.nii", [1], affine=np.eye(4) if number < 29 else AFFINE)
    read("lits", tmp_path)
    assert "Volumes 28 say 1 mm of spacing" in caplog.text


def test_men_rt_names_cases_without_an_image(tmp_path: Path) -> None:
    folder = make("brats_men_rt", tmp_path)
    next(folder.rglob("BraTS-MEN-RT-0004-1_t1c.nii.gz")).unlink()
    assert "has no BraTS-MEN-RT-0004-1_t1c.nii.gz" in faults(read("brats_men_rt", folder))


def test_chaos_asks_for_as_many_png_as_slices(tmp_path: Path) -> None:
    folder = make("chaos_ct", tmp_path)
    next(folder.rglob("CT/10/Ground/liver_GT_003.png")).unlink()
    label = case(read("chaos_ct", folder), "chaos_ct_10").labels[0].path
    with pytest.raises(UnreadableFileError, match=r"has 7 files for 8 slices"):
        header_of(label)


def test_chaos_names_training_cases_without_labels(tmp_path: Path) -> None:
    folder = make("chaos_ct", tmp_path)
    shutil.rmtree(next(folder.rglob("CT/10/Ground")))
    source = read("chaos_ct", folder)
    assert [fault.case for fault in source.faults] == ["chaos_ct_10"]
    assert {found.name for found in source.cases} == {"chaos_ct_1", "chaos_ct_3"}


@pytest.mark.parametrize("name", ["chaos_ct", "chaos_mr_t1", "chaos_mr_t2"])
def test_chaos_lays_each_png_on_its_slice(tmp_path: Path, name: str) -> None:
    found = next(found for found in read(name, make(name, tmp_path)).cases if found.is_training)
    voxels, series = voxels_of(found.labels[0].path), found.images[0]
    assert isinstance(series, DicomSeries)
    for z, path in enumerate(series.slices()):
        number = sorted(series.files).index(path)
        assert np.flatnonzero(voxels[:, 2, z]).tolist() == [number, number + 1]


def test_chaos_knows_that_a_png_is_broken(tmp_path: Path) -> None:
    folder = make("chaos_ct", tmp_path)
    path = next(folder.rglob("CT/10/Ground/liver_GT_003.png"))
    label = case(read("chaos_ct", folder), "chaos_ct_10").labels[0].path
    for content in (b"", path.read_bytes()[:30]):
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError, match=r"liver_GT_003\.png"):
            voxels_of(label)


def test_dicom_needs_the_series_that_labels_name(tmp_path: Path) -> None:
    folder = make("dicom", tmp_path)
    shutil.rmtree(folder / "B" / "ct2")
    source = read("dicom", folder)
    assert [found.name for found in source.cases] == ["LUNG-1", "LUNG-2"]
    assert "belongs to the series 1.2.3.2, which is not there" in faults(source)


def test_dicom_faults_of_a_label_file_are_no_faults_of_other_cases(tmp_path: Path) -> None:
    folder = make("dicom", tmp_path)
    shutil.rmtree(folder / "B" / "ct2")
    assert [fault.case for fault in read("dicom", folder).faults] == ["B/seg2/1-1.dcm"]


def anonymous(folder: Path) -> Path:
    """Two visits, and another patient who has an ID, all with the same number of the series."""
    for number, patient in enumerate(("", "", "P3"), start=1):
        uid = f"1.2.3.{number}"
        series(folder / str(number), uid=uid, patient=patient)
        rtstruct(folder / str(number) / "rt.dcm", {"lung": [(2, box(1, 1, 6, 6))]}, of=uid, patient=patient)
    return folder


def test_dicom_without_ids_takes_each_case_for_a_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    patients = {found.name: found.patient for found in read("dicom", anonymous(tmp_path)).cases}
    assert list(patients.values()) == [None, None, "P3"]
    assert "2 cases have no PatientID, such as unnamed_" in caplog.text
    assert "patients.json, or with --patients of sammoe_plan_and_preprocess" in caplog.text


def test_dicom_tells_series_apart_that_have_the_same_number(tmp_path: Path) -> None:
    names = [found.name for found in read("dicom", anonymous(tmp_path)).cases]
    digests = [hashlib.sha256(uid.encode()).hexdigest()[:8] for uid in ("1.2.3.1", "1.2.3.2")]
    assert names == [*(f"unnamed_20310402_1_{digest}" for digest in digests), "P3"]


def test_dicom_asks_which_of_several_label_files(tmp_path: Path) -> None:
    folder = make("dicom", tmp_path)
    rtstruct(folder / "A" / "reader2.dcm", {"lung": [(2, box(1, 1, 6, 6))]}, of="1.2.3.1", patient="LUNG-1")
    assert "has lung several times, in reader2.dcm, 1-1.dcm. Choose files with --labels" in faults(
        read("dicom", folder)
    )
    source = read("dicom", folder, labels="Reader2")
    assert [found.name for found in source.cases] == ["LUNG-1"]
    with pytest.raises(UsageError, match=r"There are: 1-1, reader2"):
        read("dicom", folder, labels="third")


def test_dicom_asks_which_modality(tmp_path: Path) -> None:
    folder = make("dicom", tmp_path)
    series(folder / "C", uid="1.2.3.8", patient="LUNG-3", modality="MR")
    rtstruct(folder / "C" / "rt.dcm", {"lung": [(2, box(1, 1, 6, 6))]}, of="1.2.3.8", patient="LUNG-3")
    with pytest.raises(UsageError, match=r"are CT, MR\. Choose one with --modality"):
        read("dicom", folder)
    source = read("dicom", folder, modality="MR")
    assert (source.channels, [found.name for found in source.cases]) == (("MRI",), ["LUNG-3"])


def test_dicom_says_that_there_are_no_labels(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    with pytest.raises(UsageError, match=r"no DICOM file with labels \(RTSTRUCT or SEG\)"):
        read("dicom", tmp_path)


def test_dicom_leaves_series_without_labels_alone(tmp_path: Path) -> None:
    assert all(found.is_training for found in read("dicom", make("dicom", tmp_path)).cases)
