"""The part of a conversion that puts files in place, when all cases are in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from dataset_conversion.report import ConvertedCase
from dataset_conversion.staging import CaseJob
from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.paths import DATASET_JSON


def place(job: tuple[CaseJob, bool, ConvertedCase]) -> int:
    """Puts the files of a case in place: those made are moved, the others copied or linked.

    Args:
        job: the case, whether to link, and what was made of it.

    Returns:
        How many files were not there yet.
    """
    case, link, record = job
    changes = 0
    made = {file.name for file in record.made}
    for target in case.targets:
        if target in made:
            changes += _move(case, target)
        elif link:
            changes += _link(case, target)
        else:
            changes += _copy(case, target)
    return changes


def remove(folder: Path, targets: Iterable[str]) -> None:
    """Removes files of cases that are no longer in a dataset.

    Args:
        folder: the dataset's.
        targets: relative to it.
    """
    for path in (folder / target for target in targets):
        if path.is_symlink() or path.exists():
            _reopen(folder)
            path.unlink()


def _move(case: CaseJob, target: str) -> bool:
    staged, path = case.progress / target, case.folder / target
    if not staged.exists():
        return False
    _reopen(case.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(path)
    return True


def _link(case: CaseJob, target: str) -> bool:
    source, path = case.sources[target].resolve(), case.folder / target
    if path.is_symlink() and path.resolve() == source:
        return False
    _reopen(case.folder)
    with atomic_path(path) as temporary:
        temporary.symlink_to(source)
    return True


def _copy(case: CaseJob, target: str) -> bool:
    source, path = case.sources[target], case.folder / target
    status = source.stat()
    if path.is_file() and not path.is_symlink():
        there = path.stat()
        if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            return False
    _reopen(case.folder)
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)
        # The time of the source tells the next run that the copy is complete and current.
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


def _reopen(folder: Path) -> None:
    """Marks a dataset as unfinished before one of its files changes."""
    (folder / DATASET_JSON).unlink(missing_ok=True)
