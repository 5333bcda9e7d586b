"""Where a dataset may be written: neither over its own source nor over anything else that lies there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dataset_conversion.files import FILE_ENDING, files_of
from dataset_conversion.source import Case, Fault
from dataset_conversion.staging import CaseJob
from dataset_conversion.walking import is_visible
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.paths import (
    CONVERSION_PROGRESS,
    CONVERSION_REPORT,
    DATASET_JSON,
    IMAGES_TR,
    IMAGES_TS,
    LABELS_TR,
    LABELS_TS,
)
from sammoe_pipeline.raw_dataset import visible_volumes

_PARTS = (IMAGES_TR, LABELS_TR, IMAGES_TS, LABELS_TS)


def holds_dataset(folder: Path) -> bool:
    """Tells whether a dataset lies in a folder, or a part of one."""
    volumes = (path for part in _PARTS for path in (folder / part).glob("*") if is_visible(path))
    return (folder / DATASET_JSON).is_file() or any(volumes)


def require_place(folder: Path, cases: Iterable[Case]) -> None:
    """Checks that nothing would be lost if a dataset were written to a folder.

    Args:
        folder: of the new dataset; need not exist.
        cases: of the source.

    Raises:
        UsageError: files of the source lie there, or a dataset that no conversion has made.
    """
    inside = _first_inside(folder, cases)
    if inside:
        raise UsageError(
            f"{folder} cannot be written: the source itself lies there ({inside}), and would be overwritten. If it is "
            f"in nnU-Net's format, it is where it should be already: run sammoe_plan_and_preprocess. Otherwise choose "
            f"another ID (-d) or --raw."
        )
    ours = (folder / CONVERSION_REPORT).is_file() or (folder / CONVERSION_PROGRESS).is_dir()
    if not ours and holds_dataset(folder):
        raise UsageError(
            f"{folder} holds a dataset that this command has not made: there is no {CONVERSION_REPORT}. Choose another "
            f"ID (-d) or --raw, or remove the folder if nobody needs it."
        )


def strange_files(folder: Path, jobs: Sequence[CaseJob]) -> list[Fault]:
    """Returns the fault of a folder that holds volumes of cases that the source does not have."""
    expected = {folder / target for job in jobs for target in job.targets}
    there = [path for part in _PARTS for path in visible_volumes(folder / part, FILE_ENDING)[0].values()]
    strange = [path for path in there if path not in expected]
    if not strange:
        return []
    return [
        Fault(
            f"{folder} exists and holds {len(strange)} file(s) that this source does not have, such as {strange[0]}. "
            f"Remove the folder, or choose another ID (-d)."
        )
    ]


def _first_inside(folder: Path, cases: Iterable[Case]) -> Path | None:
    """Returns a folder with files of the source, or that its links lead to, which lies in the dataset's."""
    inputs = (one for case in cases for one in (*case.images, *(label.path for label in case.labels)))
    files = [path for one in inputs for path in files_of(one)]
    places = {path.parent for path in files} | {path.resolve().parent for path in files if path.is_symlink()}
    # Each part by itself, since it may be a link to the source's.
    homes = {(folder / part).resolve() for part in ("", *_PARTS)}
    return next((place for place in sorted(places) if homes & {place.resolve(), *place.resolve().parents}), None)
