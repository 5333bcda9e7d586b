"""BraTS 2024 MEN-RT: meningiomas on the scans by which radiotherapy is planned, one sequence on its own grid.

`BraTS-MEN-RT-NNNN-K/BraTS-MEN-RT-NNNN-K_{t1c,gtv}.nii.gz`, with an underscore where other tumours have a dash.
"""

from __future__ import annotations

import re
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.tables import BRATS_MEN_RT
from dataset_conversion.walking import all_folders, files_by_id, require_folder
from sammoe_pipeline.errors import UsageError

_CASE = re.compile(r"(BraTS-MEN-RT-\d+)-\d+")


def read_source(folder: Path) -> Source:
    """Reads all cases below a folder, grouped by patient; those without a target volume are test cases.

    Args:
        folder: around the folders of the cases.

    Raises:
        UsageError: there is no case.
    """
    require_folder(folder)
    cases: list[Case] = []
    faults: list[Fault] = []
    for path in (folder, *all_folders(folder)):
        match = _CASE.fullmatch(path.name)
        files, twice = files_by_id(path, rf"{path.name}_(t1c|gtv)\.nii(?:\.gz)?", name=path.name) if match else ({}, [])
        # Mirrors wrap a case in a second folder of its name.
        if match is None or not files:
            continue
        faults += twice
        if "t1c" not in files:
            faults.append(Fault(f"{path} has no {path.name}_t1c.nii.gz. Add it, or remove the folder.", path.name))
            continue
        labels = (LabelFile(files["gtv"], BRATS_MEN_RT),) if "gtv" in files else ()
        cases.append(Case(name=path.name, images=(files["t1c"],), labels=labels, patient=match[1], test=not labels))
    if not cases and not faults:
        raise UsageError(f"-i {folder} has no BraTS-MEN-RT-NNNN-K/BraTS-MEN-RT-NNNN-K_t1c.nii.gz at any depth.")
    return Source(
        channels=("T1 with contrast",),
        classes=classes_of(BRATS_MEN_RT),
        cases=tuple(cases),
        faults=tuple(faults),
        description="BraTS 2024 MEN-RT: gross tumour volume of meningiomas in T1-weighted MR with contrast",
        reference="Brain Tumor Segmentation challenge 2024, synapse.org",
        release="2024",
    )


FORMAT = Format(
    read=read_source,
    summary="BraTS 2024 MEN-RT: meningiomas, for planning radiotherapy",
    modality="MR: T1 with contrast",
    classes=classes_of(BRATS_MEN_RT),
    licence="not established; registration at Synapse",
    where="synapse.org",
    tree="""\
SRC/                        in folders of any name and depth
  BraTS-MEN-RT-NNNN-K/BraTS-MEN-RT-NNNN-K_{t1c,gtv}.nii.gz""",
    notes=(
        "Scans keep their own grids, unlike those of other BraTS tumours.",
        "`patients.json` groups the examinations (K) of one patient into one fold.",
        "`BraTS-MEN-RT-0402-1` was published again, mended: where both lie below the folder, remove the first one.",
        "Cases without `gtv` are test cases.",
    ),
)
