"""Which classes of a source become which classes of the dataset: subsets, merged classes, sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dataset_conversion.source import IGNORE
from sammoe_pipeline.errors import UsageError, did_you_mean

LEFT, RIGHT = "_left", "_right"


@dataclass(frozen=True)
class Selection:
    """What the user wants of the classes.

    Attributes:
        classes: only these, in this order; None for all. Merged classes go by their new name.
        merge: classes of the source by the new class that they become.
        split: classes that become one on the left and one on the right.
    """

    classes: tuple[str, ...] | None = None
    merge: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numbering:
    """Numbers of classes, without gaps.

    Attributes:
        classes: number of each class of the dataset, from 1.
        source: number that each class of the source is written as; 0 for what is not wanted.
        right: of a class that is split, the number of its right part by that of its left part, which `source` has.
    """

    classes: dict[str, int]
    source: dict[str, int]
    right: dict[int, int]


def number_classes(classes: Sequence[str], selection: Selection) -> Numbering:
    """Numbers the wanted classes from 1, in the order of the source or, for a subset, in the order asked for.

    Voxels to ignore stay so, with the highest number, as nnU-Net wants it.

    Args:
        classes: of the source, in order.
        selection: what is wanted of them.

    Raises:
        UsageError: a class is unknown, named twice, or cannot be split.

    Example:
        >>> chosen = Selection(merge={"kidney": ("kidney_left", "kidney_right")}, classes=("kidney",))
        >>> number_classes(["liver", "kidney_left", "kidney_right"], chosen).source
        {'liver': 0, 'kidney_left': 1, 'kidney_right': 1}
    """
    becomes = _merged(classes, selection.merge)
    available = list(dict.fromkeys(becomes[name] for name in classes if name != IGNORE))
    wanted = available if selection.classes is None else list(selection.classes)
    _require_known("--classes", wanted, available)
    _require_known("--split-sides", selection.split, wanted)
    numbers: dict[str, int] = {}
    first: dict[str, int] = {}
    right: dict[int, int] = {}
    for name in wanted:
        first[name] = len(numbers) + 1
        if name in selection.split:
            clash = next((side for side in (f"{name}{LEFT}", f"{name}{RIGHT}") if side in wanted), None)
            if clash:
                raise UsageError(f"--split-sides {name}: there is a class {clash!r} already. Leave one of them out.")
            right[first[name]] = first[name] + 1
            numbers |= {f"{name}{LEFT}": first[name], f"{name}{RIGHT}": first[name] + 1}
        else:
            numbers[name] = first[name]
    if IGNORE in classes:
        first[IGNORE] = numbers[IGNORE] = len(numbers) + 1
    return Numbering(classes=numbers, source={name: first.get(becomes[name], 0) for name in classes}, right=right)


def parse_merges(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Reads the values of `--merge`.

    Raises:
        UsageError: one is not `NEW=a,b`.

    Example:
        >>> parse_merges(["kidney=kidney_left,kidney_right"])
        {'kidney': ('kidney_left', 'kidney_right')}
    """
    merges = {}
    for word in words:
        new, _, old = word.partition("=")
        members = tuple(name.strip() for name in old.split(",") if name.strip())
        if not new.strip() or not members:
            raise UsageError(f"--merge {word}: NEW=a,b is needed, such as kidney=kidney_left,kidney_right.")
        merges[new.strip()] = members
    return merges


def _merged(classes: Sequence[str], merge: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Returns what each class of the source becomes."""
    members = [name for names in merge.values() for name in names]
    _require_known("--merge", members, classes)
    becomes = {name: name for name in classes} | {name: new for new, names in merge.items() for name in names}
    clash = next((new for new in merge if new in classes and becomes[new] == new and new not in merge[new]), None)
    if clash:
        raise UsageError(f"--merge {clash}=...: the source has a class {clash!r} already. Choose another name.")
    return becomes


def _require_known(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice:
        raise UsageError(f"{flag} names {twice!r} twice. Name it once.")
    for name in names:
        if name not in known:
            raise UsageError(f"{flag} {name!r} is none of the classes {', '.join(known)}.{did_you_mean(name, known)}")
