"""LiTS (Bilic et al. 2023): the liver and its tumours; `volume-N.nii`, `segmentation-N.nii`, `test-volume-N.nii`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.source import Source, classes_of
from dataset_conversion.tables import LITS
from dataset_conversion.walking import all_files_by_id, pair, require_folder, unlabelled
from sammoe_pipeline.errors import UnreadableFileError, UsageError

logger = logging.getLogger(__name__)

_ENDING = r"-(\d+)\.nii(?:\.gz)?"
_CASE, _TEST = "lits_{}", "lits_test_{}"
_SUSPECT = range(28, 48)
"""Volumes of which some copies have lost their spacing."""


def read_source(folder: Path) -> Source:
    """Reads both training batches, in whatever folders they lie.

    Args:
        folder: around `volume-N.nii`.

    Raises:
        UsageError: there is no such file.
    """
    require_folder(folder)
    images, faults = all_files_by_id(folder, f"volume{_ENDING}", name=_CASE)
    labels, more = all_files_by_id(folder, f"segmentation{_ENDING}", name=_CASE)
    tests, test_faults = all_files_by_id(folder, f"test-volume{_ENDING}", name=_TEST)
    if not images:
        raise UsageError(f"-i {folder} has no volume-N.nii at any depth. Is it LiTS, extracted?")
    _warn_of_lost_spacing(images)
    cases, unpaired = pair(images, labels, LITS, name=_CASE)
    return Source(
        channels=("CT",),
        classes=classes_of(LITS),
        cases=(*cases, *unlabelled(tests, name=_TEST)),
        faults=(*faults, *more, *test_faults, *unpaired),
        description="LiTS: liver and liver tumours in CT",
        reference="Bilic et al., The Liver Tumor Segmentation Benchmark, CodaLab competition 17094",
        mixed_orientations=True,
    )


def _warn_of_lost_spacing(images: Mapping[str, Path]) -> None:
    from sammoe_pipeline.image_io import read_header

    lost = []
    for number in filter(images.__contains__, map(str, _SUSPECT)):
        try:
            if read_header(images[number]).spacing_mm == (1, 1, 1):
                lost.append(number)
        except UnreadableFileError:
            # The check of all headers names it.
            continue
    if lost:
        logger.warning("Volumes %s say 1 mm of spacing, which is wrong: see the format's page", ", ".join(lost))


FORMAT = Format(
    read=read_source,
    summary="LiTS: the liver and its tumours",
    modality="CT",
    classes=tuple(LITS.values()),
    licence="CC BY-NC-ND 4.0",
    where="competitions.codalab.org/competitions/17094",
    tree="""\
SRC/                        in folders of any name and depth
  volume-N.nii
  segmentation-N.nii
  test-volume-N.nii         optional""",
    notes=(
        "The headers of volumes 28 to 47 are reported to be wrong (spacing of 1 mm), which is warned of. Task03_Liver "
        "of the Decathlon (`msd`) shows the same patients with these corrected: prefer it, and do not evaluate one on "
        "the other.",
        "In some cases headers of image and label differ: noise is repaired, more is a fault (`--skip-faulty`).",
        "Thirteen cases have no tumour.",
    ),
)
