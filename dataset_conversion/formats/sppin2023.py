"""SPPIN 2023 (Buser et al.): neuroblastoma in MR of children, before and during treatment.

`PT_NN/YYYYMMDD/PT_NN_T1_gd_YYYYMMDD.nii` and `PT_NN_NB_YYYYMMDD.nii.gz`, which lies on the grid of T1. T2 and diffusion
have grids of their own and are not registered to T1, so they are left alone.
"""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.tables import SPPIN2023
from dataset_conversion.walking import files_by_id, find_root, subfolders

_ENDING = r".*\.nii(?:\.gz)?"


def read_source(folder: Path) -> Source:
    """Reads every examination of every child, one case each, grouped by child.

    Args:
        folder: with `PT_NN` in it, or a folder around it.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, "PT_*/*/PT_*_T1*", "PT_*/*/PT_*_NB*")
    cases, faults = [], []
    for patient in subfolders(root):
        for examination in subfolders(patient):
            # The date in a file's name may differ from its folder's; what follows T1 and NB does not count.
            name = f"{patient.name}_{examination.name}"
            images, twice = files_by_id(examination, rf"PT_\d+_(T1){_ENDING}", name=name)
            masks, masks_twice = files_by_id(examination, rf"PT_\d+_(NB){_ENDING}", name=name)
            faults += [*twice, *masks_twice]
            if not images:
                if masks:
                    faults.append(Fault(f"{examination} has no T1 image beside {masks['NB'].name}. Add it.", name))
                continue
            labels = tuple(LabelFile(path, SPPIN2023) for path in masks.values())
            cases.append(Case(name=name, images=(images["T1"],), labels=labels, patient=patient.name, test=not labels))
    return Source(
        channels=("T1",),
        classes=classes_of(SPPIN2023),
        cases=tuple(cases),
        faults=tuple(faults),
        description="SPPIN 2023: neuroblastoma in T1-weighted MR with contrast",
        reference="Buser et al., Surgical Planning in Pediatric Neuroblastoma, sppin.grand-challenge.org",
    )


FORMAT = Format(
    read=read_source,
    summary="SPPIN 2023: neuroblastoma in MR of children",
    modality="MR (T1 with contrast)",
    classes=tuple(SPPIN2023.values()),
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
        "Images are `.nii` and masks `.nii.gz`; all become `.nii.gz`. The challenge's test sets are not given out.",
        "A case is an examination; `patients.json` groups those of one child into one fold.",
    ),
)
