"""Every format that can be converted, and every phantom that can be made, by its name on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataset_conversion import tables
from dataset_conversion.source import classes_of


@dataclass(frozen=True)
class Format:
    """One layout of public datasets.

    Attributes:
        summary: what it is, for `--list` and `--help`.
        module: has `read_source(folder, ...) -> Source`. Imported when the format is chosen, so that help is instant.
        modality: of the images.
        classes: in the order of their numbers; empty where the dataset itself says.
        licence: as far as it is established.
        where: from whom to get the data.
        tree: what the archive unpacks to.
        notes: what a user should know: traps, and what the converter does about them.
        flags: further flags of the command that the format takes.
        given: further arguments of `read_source` that the format's name decides.
    """

    summary: str
    module: str
    modality: str
    classes: tuple[str, ...]
    licence: str
    where: str
    tree: str
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)


_AMOS22_TREE = """\
amos22/
  imagesTr, labelsTr        amos_NNNN.nii.gz
  imagesVa, labelsVa        amos_NNNN.nii.gz
  imagesTs                  optional"""
_AMOS22_NOTES = (
    "CT and MR share the folders; up to 500 the number means CT, above it MR. They become two datasets.",
    "The labelled validation cases are training cases like the others.",
)

FORMATS: dict[str, Format] = {
    "msd": Format(
        summary="Medical Segmentation Decathlon, all ten tasks, and datasets laid out like it",
        module="dataset_conversion.formats.msd",
        modality="CT, MR",
        classes=(),
        licence="CC BY-SA 4.0",
        where="medicaldecathlon.com",
        tree="""\
TaskNN_Name/
  dataset.json
  imagesTr/CASE.nii.gz
  labelsTr/CASE.nii.gz
  imagesTs/CASE.nii.gz      optional""",
        notes=(
            "Channels and classes are read from `dataset.json`. Its lists of files are not: what lies in the folders "
            "counts.",
            "Images of several channels (Task01_BrainTumour, Task05_Prostate) are 4D; each channel becomes a file.",
            "Hidden files that macOS leaves behind (`._*`) are passed over.",
            "Some label maps of Task04_Hippocampus are stored as float32; they become integers.",
            "Task03_Liver shows the patients of LiTS, with spacing corrected. Do not evaluate one on the other.",
        ),
    ),
    "nnunet_v1": Format(
        summary="nnU-Net's first raw format",
        module="dataset_conversion.formats.nnunet_v1",
        modality="any",
        classes=(),
        licence="as its dataset.json says",
        where="your own nnUNet_raw_data",
        tree="""\
TaskXXX_Name/
  dataset.json
  imagesTr/CASE_0000.nii.gz
  labelsTr/CASE.nii.gz
  imagesVal, labelsVal      optional: more training cases
  imagesTs, labelsTs        optional: test cases""",
        notes=("Names of channels (`modality`) and classes (`labels`, by number) are read from `dataset.json`.",),
    ),
    "nnunet_v2": Format(
        summary="nnU-Net's raw format, which is ours too: linked or copied, and checked",
        module="dataset_conversion.formats.nnunet_v2",
        modality="any",
        classes=(),
        licence="as its dataset.json says",
        where="your own nnUNet_raw",
        tree="""\
DatasetXXX_Name/
  dataset.json
  imagesTr/CASE_0000.nii.gz
  labelsTr/CASE.nii.gz
  imagesTs, labelsTs        optional: test cases""",
        notes=(
            "Regions and an `ignore` label are kept. Datasets with regions cannot be given other classes.",
            "Files of other endings than `.nii.gz` are rewritten.",
            "Where `dataset.json` lists files under `dataset`, the list counts; it must not lead out of the folder.",
        ),
    ),
    "totalsegmentator_ct": Format(
        summary="TotalSegmentator version 2: CT of the whole body",
        module="dataset_conversion.formats.totalsegmentator",
        modality="CT",
        classes=tables.TOTALSEGMENTATOR_CT,
        licence="CC BY 4.0",
        where="zenodo.org/records/10047292",
        tree="""\
Totalsegmentator_dataset_v201/
  meta.csv                  optional; its column split names the test set
  sNNNN/
    ct.nii.gz
    segmentations/CLASS.nii.gz""",
        notes=(
            "Take version 2.0.1: some images of 2.0.0 are damaged.",
            "Classes are told by file name and numbered as in the TotalSegmentator software. Masks of version 1 have "
            "other names; those that the table lacks are numbered after it.",
            "About 118 subjects have axes that rounding put off their right angles; these are squared.",
            "Masks overlap in places: the class later in the table has the voxel, and such voxels are counted.",
            "Cases of the test split go to `imagesTs` and `labelsTs`.",
            "1204 of the scans show 1134 people and nobody has published which, so folds may share some.",
        ),
        given={"modality": "CT"},
    ),
    "totalsegmentator_mri": Format(
        summary="TotalSegmentator version 2: MRI of the whole body",
        module="dataset_conversion.formats.totalsegmentator",
        modality="MRI",
        classes=tables.TOTALSEGMENTATOR_MRI,
        licence="CC BY-NC-SA 2.0",
        where="zenodo.org/records/14710732",
        tree="""\
TotalsegmentatorMRI_dataset_v200/
  meta.csv                  optional; its column split names the test set
  sNNNN/
    mri.nii.gz
    segmentations/CLASS.nii.gz""",
        notes=(
            "About 50 cases have only empty masks: nobody has labelled them, so they are left out.",
            "Sequences and orientations are mixed.",
        ),
        given={"modality": "MRI"},
    ),
    "paired": Format(
        summary="a folder of images and a folder of label maps",
        module="dataset_conversion.formats.paired",
        modality="any",
        classes=(),
        licence="not stated",
        where="your own data",
        tree="""\
SRC/
  images/CASE.nii.gz        or CASE_0000.nii.gz, CASE_0001.nii.gz, ... for several channels
  labels/CASE.nii.gz        or CASE_seg, label_CASE, ...
  names.csv                 optional: values and names of the classes""",
        notes=(
            "A label map is found by the name of its image; words for the role (`img`, `label`, `seg`, `mask`, ...) at "
            "either end do not count.",
            "Without a table of names, classes are called after their values: `class_1`, ....",
            "The channel is called `image`. For CT say `--channels CT`, by which nnU-Net chooses its normalisation.",
        ),
        flags=("names",),
    ),
    "case_folders": Format(
        summary="a folder a case, with files named by their role",
        module="dataset_conversion.formats.case_folders",
        modality="any",
        classes=(),
        licence="not stated",
        where="your own data",
        tree="""\
SRC/
  CASE/
    image.nii.gz            the names are yours
    label.nii.gz            a label map; or several masks, named after their classes""",
        notes=(
            "Which file is the label map is found where one has a word such as `seg`, `mask` or `label` in its name, "
            "and the image where one other is left; otherwise say so with `--image` and `--label`.",
            "Several files after `--label` are masks, and each later one is painted over the earlier ones.",
        ),
        flags=("image", "label", "names"),
    ),
    "bids": Format(
        summary="BIDS derivatives: label maps (dseg) or masks of the dataset's images",
        module="dataset_conversion.formats.bids",
        modality="any",
        classes=(),
        licence="that of the dataset itself",
        where="openneuro.org, or your own data",
        tree="""\
SRC/
  sub-X[/ses-Y]/anat/sub-X[_...]_T1w.nii.gz
  derivatives/PIPELINE/
    dseg.tsv                            values and names; or beside each label map
    sub-X[/ses-Y]/anat/sub-X[_...]_dseg.nii.gz
    sub-X[/ses-Y]/anat/sub-X[_...]_label-CLASS_mask.nii.gz    where there is no dseg""",
        notes=(
            "The image of a label map has the same entities, apart from `space`, `seg`, `res`, `desc`, `label`, `den` "
            "and `atlas`. Label maps in the space of a template belong to images in that space, in the derivatives.",
            "Without a table, classes are called after their values: `class_1`, .... BIDS's own default table is not "
            "assumed.",
            "Masks are named by their entity `label`, else `seg`, else `desc`.",
            "`patients.json` groups the images of one subject into one fold.",
            "Names that BIDS does not have (`..._seg-manual.nii.gz`) are not read, nor are `probseg`.",
        ),
        flags=("pipeline", "suffix", "seg"),
    ),
    "amos22_ct": Format(
        summary="AMOS22: abdominal organs, the CT cases",
        module="dataset_conversion.formats.amos22",
        modality="CT",
        classes=tuple(tables.AMOS22.values()),
        licence="sources disagree: CC BY 4.0, or CC BY-NC",
        where="zenodo.org/records/7262581",
        tree=_AMOS22_TREE,
        notes=_AMOS22_NOTES,
        given={"modality": "CT"},
    ),
    "amos22_mr": Format(
        summary="AMOS22: abdominal organs, the MR cases",
        module="dataset_conversion.formats.amos22",
        modality="MRI",
        classes=tuple(tables.AMOS22.values()),
        licence="sources disagree: CC BY 4.0, or CC BY-NC",
        where="zenodo.org/records/7262581",
        tree=_AMOS22_TREE,
        notes=(*_AMOS22_NOTES, "MR has few or no labels of bladder and prostate or uterus."),
        given={"modality": "MRI"},
    ),
    "flare22": Format(
        summary="FLARE22: abdominal organs, the labelled cases",
        module="dataset_conversion.formats.flare22",
        modality="CT",
        classes=tuple(tables.FLARE22.values()),
        licence="not established; registration",
        where="flare22.grand-challenge.org",
        tree="""\
Training/FLARE22_LabeledCase50/
  images/FLARE22_Tr_NNNN_0000.nii.gz
  labels/FLARE22_Tr_NNNN.nii.gz
Tuning/ or Validation/                optional: test cases
  images/FLARETs_NNNN_0000.nii.gz     or without images/
  labels/FLARETs_NNNN.nii.gz          optional""",
        notes=(
            "The folder of tuning cases is not established; both names are looked for, with and without `images`.",
            "The thousands of unlabelled cases are left alone.",
            "Its sources overlap with other public CT datasets.",
        ),
    ),
    "word": Format(
        summary="WORD: abdominal organs",
        module="dataset_conversion.formats.word",
        modality="CT",
        classes=tuple(tables.WORD.values()),
        licence="GPL-3.0, research use",
        where="github.com/HiLab-git/WORD",
        tree="""\
WORD-V0.1.0/
  imagesTr, labelsTr        word_NNNN.nii.gz
  imagesVal, labelsVal      word_NNNN.nii.gz
  imagesTs                  optional
  labelsTs                  optional, an archive of its own""",
        notes=(
            "Validation cases are training cases like the others; test cases go to `imagesTs` and `labelsTs`.",
            "The further scans of LiTS (`addition_validation_from_LiTS`) are left alone.",
        ),
    ),
    "kits23": Format(
        summary="KiTS23: kidneys, tumours and cysts",
        module="dataset_conversion.formats.kits23",
        modality="CT",
        classes=tuple(tables.KITS23.values()),
        licence="CC BY-NC-SA 4.0",
        where="github.com/neheller/kits23",
        tree="""\
kits23/dataset/
  case_NNNNN/
    imaging.nii.gz          only after kits23_download_data
    segmentation.nii.gz
    instances/              not used""",
        notes=(
            "A fresh clone has no images; they must be fetched with the repository's own command.",
            "The first axis of the arrays runs from head to foot, as their affine says; nnU-Net is told to reorient.",
            "Kidney excludes its tumours and cysts. For the whole organ use `--merge kidney=kidney,tumor,cyst`.",
            "Many patients of KiTS19 and KiTS21 come again.",
        ),
    ),
    "lits": Format(
        summary="LiTS: the liver and its tumours",
        module="dataset_conversion.formats.lits",
        modality="CT",
        classes=tuple(tables.LITS.values()),
        licence="CC BY-NC-ND 4.0",
        where="competitions.codalab.org/competitions/17094",
        tree="""\
SRC/                        in folders of any name and depth
  volume-N.nii
  segmentation-N.nii
  test-volume-N.nii         optional""",
        notes=(
            "The headers of volumes 28 to 47 are reported to be wrong (spacing of 1 mm). Task03_Liver of the Decathlon "
            "(`msd`) shows the same patients with these corrected: prefer it.",
        ),
    ),
    "segthor": Format(
        summary="SegTHOR: organs at risk in the thorax",
        module="dataset_conversion.formats.segthor",
        modality="CT",
        classes=tuple(tables.SEGTHOR.values()),
        licence="not established; registration at CodaLab",
        where="competitions.codalab.org/competitions/21145",
        tree="""\
SRC/
  train/Patient_NN/Patient_NN.nii.gz
  train/Patient_NN/GT.nii.gz
  test/Patient_NN.nii.gz    optional""",
    ),
    "acdc": Format(
        summary="ACDC: the heart at end-diastole and end-systole",
        module="dataset_conversion.formats.acdc",
        modality="cine MR",
        classes=tuple(tables.ACDC.values()),
        licence="CC BY-NC-SA 4.0, not confirmed",
        where="humanheart-project.creatis.insa-lyon.fr/database",
        tree="""\
ACDC/database/
  training, testing/
    patientNNN/
      Info.cfg
      patientNNN_frameFF.nii.gz
      patientNNN_frameFF_gt.nii.gz
      patientNNN_4d.nii.gz            not used""",
        notes=(
            "A case is a frame; `patients.json` groups those of one patient into one fold.",
            "Patients below `testing` go to `imagesTs` and `labelsTs`.",
            "Frames that `Info.cfg` names as end-diastole and end-systole must be there.",
        ),
    ),
    "verse": Format(
        summary="VerSe 2019 and 2020: vertebrae",
        module="dataset_conversion.formats.verse",
        modality="CT",
        classes=classes_of(tables.VERSE),
        licence="CC BY-SA 4.0",
        where="github.com/anjany/verse",
        tree="""\
dataset-01training/         and -02validation, -03test; or dataset-verse19training, ...
  rawdata/sub-X/sub-X[_dir-...][_split-...]_ct.nii.gz
  derivatives/sub-X/sub-X[_dir-...][_split-...]_seg-vert_msk.nii.gz""",
        notes=(
            "The subject-based distribution is read, not the flat one of MICCAI.",
            "Give one part, or a folder around several; what lies below a folder called `...test` is a test case.",
            "Value 28, the thirteenth thoracic vertebra, is renumbered after the others.",
            "Vertebrae cut off at the edge of a scan are not labelled.",
            "`patients.json` groups the scans of one subject into one fold. 86 patients are in both years.",
        ),
    ),
    "han_seg": Format(
        summary="HaN-Seg: organs at risk of head and neck, on CT",
        module="dataset_conversion.formats.han_seg",
        modality="CT",
        classes=tables.HAN_SEG,
        licence="sources disagree: CC BY-ND, or CC BY-NC-ND",
        where="zenodo.org/records/7442914",
        tree="""\
HaN-Seg/set_1/
  case_NN/
    case_NN_IMG_CT.nrrd
    case_NN_OAR_ORGAN.seg.nrrd
    case_NN_IMG_MR_T1.nrrd            not used""",
        notes=(
            "Cases lack some organs, so organs are numbered by a fixed table; what a case lacks is background there.",
            "The mask of case_19 is reported not to lie on its image: if so, `--skip-faulty` goes on without it.",
            "A mask that was cropped in place of having the size of its image is reported as a fault.",
        ),
    ),
    "brats": Format(
        summary="BraTS 2021 and 2023 (GLI, MEN, MET, PED, SSA), and gliomas of 2024",
        module="dataset_conversion.formats.brats",
        modality="MR: T1, T1 with contrast, T2, FLAIR",
        classes=tuple(tables.BRATS_2023.values()),
        licence="CC BY-NC-SA 4.0 (2021); of later years not established",
        where="synapse.org",
        tree="""\
SRC/                        in folders of any name and depth
  BraTS2021_NNNNN/BraTS2021_NNNNN_{t1,t1ce,t2,flair,seg}.nii.gz
  BraTS-XXX-NNNNN-TTT/BraTS-XXX-NNNNN-TTT-{t1n,t1c,t2w,t2f,seg}.nii.gz""",
        notes=(
            "Names decide what values mean: 4 is enhancing tumour in 2021, and resection cavity in gliomas of 2024. "
            "Where no folder's name has the year, `--year` says it.",
            "2021 calls the classes `necrotic_tumor_core`, `edema`, `enhancing_tumor`; 2024 adds `resection_cavity`.",
            "Classes do not overlap. For the challenge's regions use `--merge`.",
            "From 2023 on TTT is a point in time; `patients.json` groups those of one patient into one fold.",
            "Gliomas of 2023 are those of 2021 with new numbers. Do not evaluate one on the other.",
            "2024's other tumours, and MEN-RT, are not read: their labels or names are not certain.",
        ),
        flags=("year",),
    ),
    "btcv": Format(
        summary="BTCV abdomen (Beyond the Cranial Vault)",
        module="dataset_conversion.formats.btcv",
        modality="CT",
        classes=tuple(tables.BTCV.values()),
        licence="registration at Synapse",
        where="synapse.org, syn3193805",
        tree="""\
Abdomen/RawData/
  Training/img/imgNNNN.nii.gz
  Training/label/labelNNNN.nii.gz
  Testing/img/imgNNNN.nii.gz          or Test/img; optional""",
        notes=(
            "The registered variant, `RegData`, is another dataset: give the folder `RawData`.",
            "The name of the folder of test images is not established; both are looked for.",
            "Re-annotations with other numbers (8 or 14 classes) exist; a value above 13 is reported as a fault.",
        ),
    ),
    "sppin2023": Format(
        summary="SPPIN 2023: neuroblastoma in MR of children",
        module="dataset_conversion.formats.sppin2023",
        modality="MR (T1 with contrast)",
        classes=tuple(tables.SPPIN2023.values()),
        licence="signed agreement; no redistribution, no derived data",
        where="sppin.grand-challenge.org, zenodo.org/records/7845214",
        tree="""\
SPPIN_Dataset/SPPIN_train/
  PT_NN/YYYYMMDD/
    PT_NN_T1_gd_YYYYMMDD.nii
    PT_NN_NB_YYYYMMDD.nii.gz            absent: a test case
    PT_NN_T2_..., PT_NN_DWI_...         not used""",
        notes=(
            "This tree rests on one secondary source. Files are told by `T1` and `NB` in their names; their dates need "
            "not be those of their folders.",
            "T2 and diffusion have grids of their own and are not registered to T1, so T1 is the one channel.",
            "A case is an examination; `patients.json` groups those of one child into one fold.",
        ),
    ),
    "sam_med3d": Format(
        summary="the layout that SAM-Med3D is trained in: binary masks, a folder a class",
        module="dataset_conversion.formats.sam_med3d",
        modality="any",
        classes=(),
        licence="that of the dataset itself",
        where="github.com/uni-medical/SAM-Med3D",
        tree="""\
SRC/
  CLASS/MODALITY_DATASET/
    imagesTr/CASE.nii.gz    repeated in each class
    labelsTr/CASE.nii.gz    binary
    imagesTs, labelsTs      optional: test cases""",
        notes=(
            "One dataset at a time: `--dataset ct_WORD` where there are several. Its masks are joined by case, in the "
            "alphabetical order of classes.",
            "A case without the file of some class is taken to lack it: very small masks were dropped by the makers.",
            "How the archives of SA-Med3D-140K look inside is not established; this is the layout of the code.",
        ),
        flags=("dataset",),
    ),
}

PHANTOMS: dict[str, str] = {
    "phantom_torso": "made up: CT-like torsos",
    "phantom_head": "made up: MR-like heads",
    "phantom_shapes": "made up: random shapes",
}
"""Summary of each kind of `dataset_conversion.phantoms`, by `phantom_KIND`."""
