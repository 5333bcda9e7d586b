"""VerSe 2019 and 2020 (Sekuboyina et al. 2021): vertebrae in CT, in the subject-based layout of both.

`{dataset}/rawdata/sub-X/sub-X[_dir-..][_split-..]_ct.nii.gz`, `{dataset}/derivatives/sub-X/..._seg-vert_msk.nii.gz`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import VERSE
from dataset_conversion.walking import all_files_by_id, pair, require_folder
from sammoe_pipeline.errors import UsageError


def read_source(folder: Path) -> Source:
    """Reads all scans below a folder, grouped by subject; those below a folder called `...test` are test cases.

    Args:
        folder: of one part, such as `dataset-01training`, or of several.

    Raises:
        UsageError: there is no scan in it.
    """
    require_folder(folder)
    images, faults = all_files_by_id(folder, r"(sub-.+)_ct\.nii(?:\.gz)?")
    labels, more = all_files_by_id(folder, r"(sub-.+)_seg-vert_msk\.nii(?:\.gz)?")
    if not images:
        raise UsageError(
            f"-i {folder} has no rawdata/sub-X/sub-X_ct.nii.gz at any depth. Of VerSe's two distributions the "
            f"subject-based one is read, not the flat one of MICCAI."
        )
    cases, unpaired = pair(images, labels, VERSE)
    return Source(
        channels=("CT",),
        classes=classes_of(VERSE),
        cases=tuple(
            replace(case, patient=case.name.split("_")[0], test=_is_test(case.images[0], folder)) for case in cases
        ),
        faults=(*faults, *more, *unpaired),
        description="VerSe: vertebrae in CT",
        reference="Sekuboyina et al., VerSe, Medical Image Analysis 2021, github.com/anjany/verse",
        mixed_orientations=True,
    )


def _is_test(image: Path, folder: Path) -> bool:
    return any(part.endswith("test") for part in (folder.name, *image.relative_to(folder).parts[:-1]))


FORMAT = Format(
    read=read_source,
    summary="VerSe 2019 and 2020: vertebrae",
    modality="CT",
    classes=classes_of(VERSE),
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
)
