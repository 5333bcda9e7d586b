"""Cases whose classes are files: a folder a case, with the mask of one class in each file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset_conversion.source import Case, Fault, Input, LabelFile

logger = logging.getLogger(__name__)

_NAMED = 5


def order_classes(masks: Mapping[str, Mapping[str, Path]], known: Sequence[str]) -> tuple[str, ...]:
    """Returns the classes that any case has: known ones in their order, then others by name.

    Args:
        masks: files by class, by case.
        known: classes in the order of their numbers.
    """
    found = {name for files in masks.values() for name in files}
    others = sorted(found.difference(known))
    if others:
        logger.warning("%d classes are not in the published table: %s", len(others), ", ".join(others))
    return (*(name for name in known if name in found), *others)


def label_files(masks: Mapping[str, Input], classes: Sequence[str]) -> tuple[LabelFile, ...]:
    """Returns the masks of a case in the order in which they are painted: that of the classes."""
    return tuple(LabelFile(masks[name], name) for name in classes if name in masks)


def missing_masks(case: str, folder: Path, masks: Mapping[str, Path], classes: Sequence[str]) -> list[Fault]:
    """Returns the fault of a case that lacks masks which others have."""
    missing = [name for name in classes if name not in masks]
    if not missing:
        return []
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    names = ", ".join(missing[:_NAMED]) + more
    return [Fault(f"{folder} lacks masks that other cases have: {names}. Download the case again.", case)]


def mask_case(
    case: str, image: Path, masks: Mapping[str, Input], classes: Sequence[str], *, test: bool = False
) -> Case:
    """Makes a case of an image and its masks."""
    return Case(name=case, images=(image,), labels=label_files(masks, classes), test=test)
