"""Miniatures of public datasets: the real trees, names and quirks, with volumes of a few voxels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion import tables
from tests.dataset_conversion.dicom_miniatures import chaos, dicom
from tests.dataset_conversion.volumes import AFFINE, SLICES_FIRST, label_map, mask, scan


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@dataclass(frozen=True)
class Miniature:
    """A dataset in a format, and what should become of it.

    Attributes:
        make: writes it below a folder and returns what the user would name with `-i`.
        training: names of the labelled cases.
        classes: in order.
        channels: of each case.
        test: names of the test cases.
        labelled_test: those of them that have a label map.
        patients: of the labelled cases, where the format tells them.
        flags: further ones of the command.
    """

    make: Callable[[Path], Path]
    training: Sequence[str]
    classes: Sequence[str]
    channels: Sequence[str] = ("CT",)
    test: Sequence[str] = ()
    labelled_test: Sequence[str] = ()
    patients: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()


def msd(folder: Path) -> Path:
    root = folder / "Task05_Prostate"
    for name in ("prostate_00", "prostate_16"):
        scan(root / "imagesTr" / f"{name}.nii.gz", channels=2, dtype="float32")
        label_map(root / "labelsTr" / f"{name}.nii.gz", [1, 2], dtype="float32")
    scan(root / "imagesTs" / "prostate_03.nii.gz", channels=2)
    write_json(
        root / "dataset.json",
        {
            "name": "PROSTATE",
            "licence": "CC-BY-SA 4.0",
            "relase": "1.0 04/05/2018",
            "tensorImageSize": "4D",
            "modality": {"0": "T2", "1": "ADC"},
            "labels": {"0": "background", "1": "PZ", "2": "TZ"},
            "numTraining": 2,
            "numTest": 1,
            "training": [{"image": "./imagesTr/prostate_16.nii.gz", "label": "./labelsTr/prostate_16.nii.gz"}],
            "test": ["./imagesTs/prostate_03.nii.gz"],
        },
    )
    return root


def nnunet_v1(folder: Path) -> Path:
    root = folder / "Task120_Abdomen"
    for name, images, labels in (("a_1", "imagesTr", "labelsTr"), ("v_1", "imagesVal", "labelsVal")):
        for channel in range(2):
            scan(root / images / f"{name}_{channel:04d}.nii.gz")
        label_map(root / labels / f"{name}.nii.gz", [1, 2])
    for name in ("t_1", "t_2"):
        for channel in range(2):
            scan(root / "imagesTs" / f"{name}_{channel:04d}.nii.gz")
    label_map(root / "labelsTs" / "t_2.nii.gz", [1])
    write_json(
        root / "dataset.json",
        {
            "modality": {"0": "CT", "1": "PET"},
            "labels": {"1": "liver", "0": "background", "2": "spleen"},
            "training": [{"image": "./imagesTr/a_1.nii.gz", "label": "./labelsTr/a_1.nii.gz"}],
        },
    )
    return root


def nnunet_v2(folder: Path) -> Path:
    root = folder / "Dataset137_BraTS"
    for name in ("b_1", "b_2"):
        scan(root / "imagesTr" / f"{name}_0000.nrrd")
        label_map(root / "labelsTr" / f"{name}.nrrd", [1, 2, 3])
    scan(root / "imagesTs" / "b_3_0000.nrrd")
    write_json(
        root / "dataset.json",
        {
            "channel_names": {"0": "T1"},
            "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
            "regions_class_order": [1, 2, 3],
            "numTraining": 2,
            "file_ending": ".nrrd",
            "licence": "CC0",
        },
    )
    return root


def totalsegmentator(folder: Path, *, image: str, known: Sequence[str], classes: Sequence[str]) -> Path:
    root = folder / "Totalsegmentator_dataset_v201"
    # Rounding puts the axes of some subjects off their right angles.
    sheared = AFFINE.copy()
    sheared[0, 1] = 2e-3
    for name in ("s0000", "s0011", "s0864"):
        affine = sheared if name == "s0000" else AFFINE
        scan(root / name / image, affine=affine)
        for index, of_class in enumerate(classes):
            position = -1 if of_class == known[-1] else index
            mask(root / name / "segmentations" / f"{of_class}.nii.gz", position, affine=affine, dtype="float64")
    (root / "meta.csv").write_text(
        "\ufeffimage_id;age;gender;institute;study_type;split\n"
        "s0000;;m;;ct thorax;train\ns0011;;f;;ct abdomen;val\ns0864;;f;;ct abdomen;test\n"
    )
    return folder


def totalsegmentator_ct(folder: Path) -> Path:
    wanted = tables.TOTALSEGMENTATOR_CT
    return totalsegmentator(folder, image="ct.nii.gz", known=wanted, classes=sorted(wanted))


def totalsegmentator_mri(folder: Path) -> Path:
    wanted = tables.TOTALSEGMENTATOR_MRI
    root = totalsegmentator(folder, image="mri.nii.gz", known=wanted, classes=sorted(wanted))
    # Nobody has labelled s0026.
    scan(root / "Totalsegmentator_dataset_v201" / "s0026" / "mri.nii.gz")
    for of_class in wanted:
        mask(root / "Totalsegmentator_dataset_v201" / "s0026" / "segmentations" / f"{of_class}.nii.gz", -1)
    return root


def paired(folder: Path) -> Path:
    root = folder / "mice"
    for number in (1, 10, 2):
        scan(root / "images" / f"tg4510_{number}_WT.nii.gz", dtype="float32")
        label_map(root / "labels" / f"tg4510_{number}_WT.nii.gz", [1, 4, 7], dtype="float32")
    (root / "structures.csv").write_text(
        "label,structure_name\n0,Background\n1,Left Cortex\n4,Fimbria\n7,Left Cortex\n"
    )
    return root


def case_folders(folder: Path) -> Path:
    for week in (23, 30):
        name = f"fetal_SB_atlas_GA{week}_operated"
        scan(folder / name / "srr.nii.gz", dtype="float32")
        label_map(folder / name / "parcellation.nii.gz", [1, 2])
    return folder


def amos22(folder: Path) -> Path:
    root = folder / "amos22"
    for images, labels, numbers in (("imagesTr", "labelsTr", (1, 4, 507)), ("imagesVa", "labelsVa", (8, 544))):
        for number in numbers:
            scan(root / images / f"amos_{number:04d}.nii.gz")
            label_map(root / labels / f"amos_{number:04d}.nii.gz", tables.AMOS22, dtype="uint16")
    for number in (2, 600):
        scan(root / "imagesTs" / f"amos_{number:04d}.nii.gz")
    scan(folder / "__MACOSX" / "amos22" / "imagesTr" / "amos_0009.nii.gz")
    return folder


def btcv(folder: Path) -> Path:
    root = folder / "Abdomen" / "RawData"
    for number in (1, 40):
        scan(root / "Training" / "img" / f"img{number:04d}.nii.gz")
        label_map(root / "Training" / "label" / f"label{number:04d}.nii.gz", tables.BTCV)
    scan(root / "Testing" / "img" / "img0061.nii.gz")
    return folder


def sppin2023(folder: Path) -> Path:
    root = folder / "SPPIN_Dataset" / "SPPIN_train"
    for patient, date, date_in_file in (
        ("PT_06", "20140310", "20140310"),
        ("PT_06", "20140512", "20140514"),
        ("PT_92", "20171101", "20171101"),
    ):
        where = root / patient / date
        scan(where / f"{patient}_T1_gd_{date_in_file}.nii")
        label_map(where / f"{patient}_NB_{date_in_file}.nii.gz", [1])
        other = AFFINE @ np.diag([2.0, 2, 2, 1])
        for sequence in ("T2", "DWI_b0", "DWI_b100"):
            scan(where / f"{patient}_{sequence}_{date_in_file}.nii", affine=other)
    scan(root / "PT_92" / "20180102" / "PT_92_T1_gd_20180102.nii")
    return folder


def sam_med3d(folder: Path) -> Path:
    root = folder / "data" / "medical_preprocessed"
    for index, (of_class, cases) in enumerate((("liver", ("word_1", "word_2")), ("adrenal", ("word_2",)))):
        for case in cases:
            scan(root / of_class / "ct_WORD" / "imagesTr" / f"{case}.nii.gz")
            mask(root / of_class / "ct_WORD" / "labelsTr" / f"{case}.nii.gz", index)
    scan(root / "liver" / "mr_AMOS" / "imagesTr" / "amos_1.nii.gz")
    mask(root / "liver" / "mr_AMOS" / "labelsTr" / "amos_1.nii.gz", 0)
    return folder


def flare22(folder: Path) -> Path:
    root = folder / "Training" / "FLARE22_LabeledCase50"
    for number in (1, 50):
        scan(root / "images" / f"FLARE22_Tr_{number:04d}_0000.nii.gz")
        label_map(root / "labels" / f"FLARE22_Tr_{number:04d}.nii.gz", tables.FLARE22)
    scan(folder / "Tuning" / "images" / "FLARETs_0001_0000.nii.gz")
    scan(folder / "Training" / "FLARE22_UnlabeledCase1-1000" / "Case_00001_0000.nii.gz")
    return folder


def word(folder: Path) -> Path:
    root = folder / "WORD-V0.1.0"
    for images, labels, number in (
        ("imagesTr", "labelsTr", 2),
        ("imagesVal", "labelsVal", 1),
        ("imagesTs", "labelsTs", 5),
    ):
        scan(root / images / f"word_{number:04d}.nii.gz")
        label_map(root / labels / f"word_{number:04d}.nii.gz", tables.WORD)
    scan(root / "imagesTs" / "word_0007.nii.gz")
    return folder


def kits23(folder: Path) -> Path:
    root = folder / "kits23" / "dataset"
    for number in (0, 588):
        case = root / f"case_{number:05d}"
        scan(case / "imaging.nii.gz", affine=SLICES_FIRST)
        label_map(case / "segmentation.nii.gz", [1, 2, 3], affine=SLICES_FIRST)
        label_map(case / "instances" / "kidney_instance-1_annotation-1.nii.gz", [1], affine=SLICES_FIRST)
    (root / "kits23.json").write_text("[]")
    return folder / "kits23"


def lits(folder: Path) -> Path:
    for batch, number in (("Training Batch 1", 2), ("Training Batch 2", 10)):
        scan(folder / batch / f"volume-{number}.nii")
        label_map(folder / batch / f"segmentation-{number}.nii", [1, 2])
    scan(folder / "Test" / "test-volume-2.nii")
    return folder


def segthor(folder: Path) -> Path:
    for number in (1, 40):
        case = folder / "train" / f"Patient_{number:02d}"
        scan(case / f"Patient_{number:02d}.nii.gz")
        label_map(case / "GT.nii.gz", tables.SEGTHOR)
    scan(folder / "test" / "Patient_41.nii.gz")
    return folder


def acdc(folder: Path) -> Path:
    root = folder / "ACDC" / "database"
    for part, number, frames in (("training", 1, (1, 12)), ("training", 90, (4, 11)), ("testing", 101, (1, 14))):
        name = f"patient{number:03d}"
        case = root / part / name
        scan(case / f"{name}_4d.nii.gz", channels=3)
        for frame in frames:
            scan(case / f"{name}_frame{frame:02d}.nii.gz")
            label_map(case / f"{name}_frame{frame:02d}_gt.nii.gz", tables.ACDC)
        (case / "Info.cfg").write_text(f"ED: {frames[0]}\nES: {frames[1]}\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\n")
    return folder


def verse(folder: Path) -> Path:
    for part, name in (
        ("dataset-01training", "sub-verse004"),
        ("dataset-01training", "sub-verse401_split-verse253"),
        ("dataset-01training", "sub-verse401_split-verse260"),
        ("dataset-02validation", "sub-gl003_dir-ax"),
        ("dataset-03test", "sub-verse012"),
    ):
        subject = name.split("_")[0]
        scan(folder / part / "rawdata" / subject / f"{name}_ct.nii.gz", affine=SLICES_FIRST)
        label = folder / part / "derivatives" / subject / f"{name}_seg-vert_msk.nii.gz"
        label_map(label, tables.VERSE, affine=SLICES_FIRST, dtype="float32")
        label.with_name(f"{name}_seg-subreg_ctd.json").write_text("[]")
    return folder


def han_seg(folder: Path) -> Path:
    root = folder / "HaN-Seg" / "set_1"
    for number, without in ((1, "Pituitary"), (42, "Lips")):
        case = f"case_{number:02d}"
        scan(root / case / f"{case}_IMG_CT.nrrd")
        scan(root / case / f"{case}_IMG_MR_T1.nrrd", affine=AFFINE @ np.diag([1.0, 1, 0.5, 1]))
        for index, organ in enumerate(tables.HAN_SEG):
            if organ != without:
                mask(root / case / f"{case}_OAR_{organ}.seg.nrrd", index)
    (root / "patient_data.csv").write_text("id\n")
    return folder


def brats(folder: Path) -> Path:
    root = folder / "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData"
    for name in ("BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"):
        for sequence in ("t1n", "t1c", "t2w", "t2f"):
            scan(root / name / f"{name}-{sequence}.nii.gz")
        label_map(root / name / f"{name}-seg.nii.gz", [1, 2, 3])
    return folder


def brats_men_rt(folder: Path) -> Path:
    root = folder / "BraTS2024-MEN-RT-TrainingData" / "BraTS-MEN-RT-Train-v2"
    for name in ("BraTS-MEN-RT-0002-1", "BraTS-MEN-RT-0002-2", "BraTS-MEN-RT-0004-1"):
        scan(root / name / f"{name}_t1c.nii.gz")
        label_map(root / name / f"{name}_gtv.nii.gz", [1])
    scan(root / "BraTS-MEN-RT-0010-1" / "BraTS-MEN-RT-0010-1" / "BraTS-MEN-RT-0010-1_t1c.nii")
    return folder


def bids(folder: Path) -> Path:
    root = folder / "ds000001"
    write_json(root / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.9.0"})
    derived = root / "derivatives" / "manual"
    for subject, session in (("01", "a"), ("01", "b"), ("02", "a")):
        where, name = Path(f"sub-{subject}", f"ses-{session}", "anat"), f"sub-{subject}_ses-{session}"
        scan(root / where / f"{name}_T1w.nii.gz")
        scan(root / where / f"{name}_T2w.nii.gz")
        label_map(derived / where / f"{name}_space-orig_desc-manual_dseg.nii.gz", [2, 41])
    (derived / "desc-manual_dseg.tsv").write_text("index\tname\n2\tLeft-White\n41\tRight-White\n")
    return folder


MINIATURES: dict[str, Miniature] = {
    "msd": Miniature(msd, ("prostate_00", "prostate_16"), ("PZ", "TZ"), channels=("T2", "ADC"), test=("prostate_03",)),
    "nnunet_v1": Miniature(
        nnunet_v1,
        ("a_1", "v_1"),
        ("liver", "spleen"),
        channels=("CT", "PET"),
        test=("t_1", "t_2"),
        labelled_test=("t_2",),
    ),
    "nnunet_v2": Miniature(nnunet_v2, ("b_1", "b_2"), ("whole", "core", "enhancing"), channels=("T1",), test=("b_3",)),
    "totalsegmentator_ct": Miniature(
        totalsegmentator_ct,
        ("s0000", "s0011"),
        tables.TOTALSEGMENTATOR_CT,
        test=("s0864",),
        labelled_test=("s0864",),
    ),
    "totalsegmentator_mri": Miniature(
        totalsegmentator_mri,
        ("s0000", "s0011"),
        tables.TOTALSEGMENTATOR_MRI,
        channels=("MRI",),
        test=("s0864",),
        labelled_test=("s0864",),
    ),
    "paired": Miniature(
        paired, ("tg4510_1_WT", "tg4510_10_WT", "tg4510_2_WT"), ("Left Cortex", "Fimbria"), channels=("image",)
    ),
    "case_folders": Miniature(
        case_folders,
        ("fetal_SB_atlas_GA23_operated", "fetal_SB_atlas_GA30_operated"),
        ("class_1", "class_2"),
        channels=("MR",),
        flags=("--channels", "MR"),
    ),
    "bids": Miniature(
        bids,
        ("sub-01_ses-a_T1w", "sub-01_ses-b_T1w", "sub-02_ses-a_T1w"),
        ("Left-White", "Right-White"),
        channels=("T1w",),
        patients={"sub-01_ses-a_T1w": "sub-01", "sub-01_ses-b_T1w": "sub-01", "sub-02_ses-a_T1w": "sub-02"},
        flags=("--suffix", "T1w"),
    ),
    "amos22_ct": Miniature(
        amos22, ("amos_0001", "amos_0004", "amos_0008"), tuple(tables.AMOS22.values()), test=("amos_0002",)
    ),
    "amos22_mr": Miniature(
        amos22,
        ("amos_0507", "amos_0544"),
        tuple(tables.AMOS22.values()),
        channels=("MRI",),
        test=("amos_0600",),
    ),
    "btcv": Miniature(btcv, ("btcv_0001", "btcv_0040"), tuple(tables.BTCV.values()), test=("btcv_0061",)),
    "sppin2023": Miniature(
        sppin2023,
        ("PT_06_20140310", "PT_06_20140512", "PT_92_20171101"),
        ("neuroblastoma",),
        channels=("T1",),
        test=("PT_92_20180102",),
        patients={"PT_06_20140310": "PT_06", "PT_06_20140512": "PT_06", "PT_92_20171101": "PT_92"},
    ),
    "sam_med3d": Miniature(sam_med3d, ("word_1", "word_2"), ("adrenal", "liver"), flags=("--dataset", "ct_WORD")),
    "flare22": Miniature(
        flare22, ("FLARE22_Tr_0001", "FLARE22_Tr_0050"), tuple(tables.FLARE22.values()), test=("FLARETs_0001",)
    ),
    "word": Miniature(
        word,
        ("word_0001", "word_0002"),
        tuple(tables.WORD.values()),
        test=("word_0005", "word_0007"),
        labelled_test=("word_0005",),
    ),
    "kits23": Miniature(kits23, ("case_00000", "case_00588"), ("kidney", "tumor", "cyst")),
    "lits": Miniature(lits, ("lits_10", "lits_2"), ("liver", "tumor"), test=("lits_test_2",)),
    "segthor": Miniature(
        segthor, ("Patient_01", "Patient_40"), ("esophagus", "heart", "trachea", "aorta"), test=("Patient_41",)
    ),
    "acdc": Miniature(
        acdc,
        ("patient001_frame01", "patient001_frame12", "patient090_frame04", "patient090_frame11"),
        ("right_ventricle", "myocardium", "left_ventricle"),
        channels=("cine MR",),
        test=("patient101_frame01", "patient101_frame14"),
        labelled_test=("patient101_frame01", "patient101_frame14"),
        patients={
            "patient001_frame01": "patient001",
            "patient001_frame12": "patient001",
            "patient090_frame04": "patient090",
            "patient090_frame11": "patient090",
        },
    ),
    "verse": Miniature(
        verse,
        ("sub-gl003_dir-ax", "sub-verse004", "sub-verse401_split-verse253", "sub-verse401_split-verse260"),
        tuple(tables.VERSE.values()),
        test=("sub-verse012",),
        labelled_test=("sub-verse012",),
        patients={
            "sub-gl003_dir-ax": "sub-gl003",
            "sub-verse004": "sub-verse004",
            "sub-verse401_split-verse253": "sub-verse401",
            "sub-verse401_split-verse260": "sub-verse401",
        },
    ),
    "han_seg": Miniature(han_seg, ("case_01", "case_42"), tables.HAN_SEG),
    "brats": Miniature(
        brats,
        ("BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"),
        tuple(tables.BRATS_2023.values()),
        channels=("T1", "T1 with contrast", "T2", "FLAIR"),
        patients={
            "BraTS-GLI-00005-000": "BraTS-GLI-00005",
            "BraTS-GLI-00005-001": "BraTS-GLI-00005",
            "BraTS-GLI-00006-000": "BraTS-GLI-00006",
        },
    ),
    "brats_men_rt": Miniature(
        brats_men_rt,
        ("BraTS-MEN-RT-0002-1", "BraTS-MEN-RT-0002-2", "BraTS-MEN-RT-0004-1"),
        ("gross_tumor_volume",),
        channels=("T1 with contrast",),
        test=("BraTS-MEN-RT-0010-1",),
        patients={
            "BraTS-MEN-RT-0002-1": "BraTS-MEN-RT-0002",
            "BraTS-MEN-RT-0002-2": "BraTS-MEN-RT-0002",
            "BraTS-MEN-RT-0004-1": "BraTS-MEN-RT-0004",
        },
    ),
    "chaos_ct": Miniature(chaos, ("chaos_ct_1", "chaos_ct_10"), ("liver",), test=("chaos_ct_3",)),
    "chaos_mr_t1": Miniature(
        chaos,
        ("chaos_t1_2", "chaos_t1_39"),
        ("liver", "right_kidney", "left_kidney", "spleen"),
        channels=("T1 in phase", "T1 out of phase"),
        test=("chaos_t1_4",),
    ),
    "chaos_mr_t2": Miniature(
        chaos,
        ("chaos_t2_2", "chaos_t2_39"),
        ("liver", "right_kidney", "left_kidney", "spleen"),
        channels=("T2",),
        test=("chaos_t2_4",),
    ),
    "dicom": Miniature(
        dicom,
        ("LUNG-1", "LUNG-2_20310402_2", "LUNG-2_20310402_3"),
        ("heart", "lung"),
        patients={"LUNG-1": "LUNG-1", "LUNG-2_20310402_2": "LUNG-2", "LUNG-2_20310402_3": "LUNG-2"},
    ),
}
"""One of each format."""
