"""VerSe 2019 and 2020 (Sekuboyina et al. 2021): vertebrae in CT, in both of its distributions.

By subject: `{dataset}/rawdata/sub-X/sub-X[_dir-..][_split-..]_ct.nii.gz` and
`{dataset}/derivatives/sub-X/..._seg-vert_msk.nii.gz`. As the challenges gave it: `verseNNN[_verseMMM][_CT-..].nii.gz`
beside `..._seg.nii.gz`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import BACKGROUND, LabelFile, Source, classes_of
from dataset_conversion.tables import VERSE
from dataset_conversion.walking import all_files_by_id, held_out, pair, require_folder
from sammoe_pipeline.errors import UsageError

_BY_SUBJECT = (r"(sub-.+)_ct\.nii(?:\.gz)?", r"(sub-.+)_seg-vert_msk\.nii(?:\.gz)?")
_OF_CHALLENGES = (r"((?:verse|gl)\d+(?:[_-]\w+)*)(?<!_seg)\.nii(?:\.gz)?", r"((?:verse|gl)\d+.*)_seg\.nii(?:\.gz)?")
_SPECKS = {
    "verse031": (19,), "verse060": (18,), "verse061": (16,), "verse063": (1,), "verse074": (3,), "verse097": (3,),
    "verse151": (3,), "verse201": (25,), "verse207": (23,), "verse208": (23,), "verse212": (23,), "verse214": (20,),
    "verse223": (23,), "verse226": (23, 25), "verse227": (25,), "verse232": (20,),
}  # fmt: skip
"""Values of vertebrae that cannot be there, a few voxels each, in the challenge's files of 2019 (found for nnU-Net)."""


def read_source(folder: Path) -> Source:
    """Reads all scans below a folder, grouped by subject; those below a folder called `...test` are test cases.

    Args:
        folder: of one part, such as `dataset-01training`, or of several.

    Raises:
        UsageError: there is no scan in it, or it holds both distributions, which show the same scans.
    """
    require_folder(folder)
    found = [names for names in (_BY_SUBJECT, _OF_CHALLENGES) if all_files_by_id(folder, names[0])[0]]
    if len(found) > 1:
        raise UsageError(f"-i {folder} holds VerSe by subject and as the challenges gave it. Give one of them.")
    if not found:
        raise UsageError(
            f"-i {folder} has neither rawdata/sub-X/sub-X_ct.nii.gz nor verseNNN.nii.gz with verseNNN_seg.nii.gz at "
            f"any depth. Is it VerSe, extracted?"
        )
    images, faults = all_files_by_id(folder, found[0][0])
    labels, more = all_files_by_id(folder, found[0][1])
    tests = {name: path for name, path in images.items() if _is_test(path, folder)}
    others = {name: path for name, path in images.items() if name not in tests}
    cases, unpaired = pair(others, {name: path for name, path in labels.items() if name not in tests}, VERSE)
    if found[0] is _OF_CHALLENGES:
        cases = [
            replace(case, labels=tuple(LabelFile(label.path, _without_specks(case.name)) for label in case.labels))
            for case in cases
        ]
    return Source(
        channels=("CT",),
        classes=classes_of(VERSE),
        cases=tuple(
            replace(case, patient=case.name.split("_")[0]) for case in (*cases, *held_out(tests, labels, VERSE))
        ),
        faults=(*faults, *more, *unpaired),
        description="VerSe: vertebrae in CT",
        reference="Sekuboyina et al., VerSe, Medical Image Analysis 2021, github.com/anjany/verse",
        mixed_orientations=True,
    )


def _is_test(image: Path, folder: Path) -> bool:
    return any(part.endswith("test") for part in (folder.name, *image.relative_to(folder).parts[:-1]))


def _without_specks(case: str) -> Mapping[int, str]:
    return VERSE | dict.fromkeys(_SPECKS.get(case, ()), BACKGROUND)


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
  derivatives/sub-X/sub-X[_dir-...][_split-...]_seg-vert_msk.nii.gz

train/                      as the challenges gave it: in folders of any name and depth
  verseNNN[_verseMMM][_CT-...].nii.gz
  verseNNN[_verseMMM][_CT-...]_seg.nii.gz""",
    notes=(
        "Give one part, or a folder around several of one distribution; what lies below a folder called `...test` is a "
        "test case.",
        "Value 28, the thirteenth thoracic vertebra, is renumbered after the others. Centroids are not used.",
        "Vertebrae cut off at the edge of a scan are not labelled.",
        "In the challenge's files of 2019, sixteen label maps have a few voxels of a vertebra that is not there (a C1 "
        "beside L1 to L5); these become background.",
        "`patients.json` groups the scans of one subject into one fold. 86 patients are in both years.",
        "Scans differ in orientation; nnU-Net is told to reorient.",
    ),
)
