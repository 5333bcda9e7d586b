"""From the label files of a case to one label map with the dataset's numbers.

Files are painted in the order in which the format lists them, one in memory at a time; where two claim a voxel, the
later one has it, and the voxel is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.files import voxels_of
from dataset_conversion.selection import Numbering
from dataset_conversion.source import BACKGROUND, Input, LabelFile
from sammoe_pipeline.errors import UnreadableFileError
from sammoe_pipeline.gzipped_nifti import Scratch
from sammoe_pipeline.image_io import Header

_LISTED = 8
_MOST_VALUES = 1000
"""Of a label map that nobody has named; an atlas of the whole brain has some hundreds."""
_OWN_SIDE = 0.9
"""Share of a component that must lie on one side for all of it to belong there."""


@dataclass(frozen=True)
class PaintedLabel:
    """The label map of a case.

    Attributes:
        data: (x, y, z) of the files' own axes; of no use where there are faults.
        same: a single file holds these very numbers.
        overlapping_voxels: voxels that files of several classes claimed.
        foreground: whether anything wanted is in it.
        faults: one sentence each.
    """

    data: NDArray[Any]
    same: bool
    overlapping_voxels: int
    foreground: bool
    faults: tuple[str, ...]


def paint(files: Sequence[LabelFile], numbering: Numbering, grid: Header) -> PaintedLabel:
    """Joins the label files of a case; masks of classes that are not wanted are not read.

    Args:
        files: of one grid; every value has a name.
        numbering: of the classes.
        grid: of the case's image, whose shape the label map has.
    """
    canvas = np.zeros(grid.shape, np.uint8 if max(numbering.classes.values()) < 256 else np.uint16, order="F")
    same, overlaps = len(files) == 1 and not numbering.right, 0
    faults: list[str] = []
    scratch = Scratch()
    for file in files:
        is_mask, numbers = isinstance(file.meaning, str), numbers_of(file, numbering)
        if is_mask and not numbers:
            continue
        try:
            data = voxels_of(file.path, scratch)
        except UnreadableFileError as error:
            faults.append(str(error))
            continue
        values = distinct(data)
        fault = _value_fault(file, values)
        if fault:
            faults.append(fault)
            continue
        table = {int(value): numbers.get(0 if is_mask else int(value), 0) for value in values} | {0: 0}
        same = same and all(value == number for value, number in table.items())
        if any(table.values()):
            layer, number = (data, numbers[0]) if is_mask else (recode(data, table, canvas.dtype), None)
            overlaps += _paint(canvas, layer, number)
    for left, right in numbering.right.items():
        split_sides(canvas, grid.affine, left=left, right=right)
    return PaintedLabel(
        data=canvas, same=same, overlapping_voxels=overlaps, foreground=bool(canvas.any()), faults=tuple(faults)
    )


def numbers_of(file: LabelFile, numbering: Numbering) -> dict[int, int]:
    """Returns the wanted number of each value of a label map; of a mask, its number as that of 0, where wanted."""
    meaning = {0: file.meaning} if isinstance(file.meaning, str) else dict(file.meaning or {})
    numbers = {value: numbering.source.get(name, 0) for value, name in meaning.items() if name != BACKGROUND}
    return {value: number for value, number in numbers.items() if number}


def has_foreground(files: Iterable[LabelFile]) -> bool:
    """Tells whether any file has a voxel that is not 0."""
    scratch = Scratch()
    return any(bool(voxels_of(file.path, scratch).any()) for file in files)


def values_in(path: Input) -> list[int] | str:
    """Returns the values of a label map beside 0, or what is wrong with it."""
    try:
        values = distinct(voxels_of(path))
    except UnreadableFileError as error:
        return str(error)
    if len(values) > _MOST_VALUES:
        return (
            f"{path} has {len(values)} different values. Is it an image? Exchange them, or name the values (--names)."
        )
    return _not_whole(path, values) or [int(value) for value in values if value]


def distinct(data: NDArray[Any]) -> NDArray[Any]:
    """Returns the values that occur in an array, sorted."""
    least, most = data.min(), data.max()
    # A mask: nothing lies between.
    if data.dtype.kind in "iu" and int(most) - int(least) <= 1:
        return np.unique(np.array([least, most]))
    if data.dtype == np.uint8:
        counts = sum(np.bincount(section.ravel(), minlength=256) for section in data.T)
        return np.flatnonzero(counts).astype(np.uint8)
    # Slice by slice, contiguous in memory, since sorting a whole volume takes seconds and copies it.
    return np.unique(np.concatenate([np.unique(section) for section in data.T]))


def recode(data: NDArray[Any], table: Mapping[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Replaces every value by another.

    Args:
        data: whole numbers, of any number type.
        table: new value of each value that occurs.
        dtype: of the result.
    """
    least = min(table)
    lookup = np.zeros(max(table) - least + 1, dtype)
    for value, number in table.items():
        lookup[value - least] = number
    result = np.empty(data.shape, dtype, order="F")
    for section, written in zip(data.T, result.T, strict=True):
        written[...] = lookup[section.astype(np.intp) - least]
    return result


def split_sides(labels: NDArray[Any], affine: NDArray[np.float64], *, left: int, right: int) -> None:
    """Gives the right part of a class a number of its own, in place.

    The sides meet at the middle of the volume. A connected component goes whole to the side on which nine tenths of it
    lie; one that reaches farther across, as two organs that touch, is cut there.

    Args:
        labels: (x, y, z), with the class as `left`.
        affine: 4 x 4, voxel index to millimetres in RAS+.
        left: number of the class.
        right: number of the part on the patient's right.
    """
    import cc3d

    components = cc3d.connected_components(labels == left, connectivity=26)
    if not components.any():
        return
    voxels = np.argwhere(components > 0)
    owners = components[tuple(voxels.T)]
    middle = (np.array(labels.shape) - 1) / 2
    on_right = (voxels - middle) @ affine[0, :3] > 0
    share = np.bincount(owners, weights=on_right) / np.maximum(np.bincount(owners), 1)
    belongs = np.where(share[owners] >= _OWN_SIDE, True, np.where(share[owners] <= 1 - _OWN_SIDE, False, on_right))
    labels[tuple(voxels[belongs].T)] = right


def _paint(canvas: NDArray[Any], layer: NDArray[Any], number: int | None) -> int:
    """Writes a layer where it is not 0: a number, or its own; returns how many voxels had another number before."""
    # Only the slices that have any, and in the order in which both lie in memory, which is several times as fast.
    slices = np.flatnonzero(layer.max(axis=(0, 1)) if layer.dtype.kind == "u" else layer.any(axis=(0, 1)))
    inside = (..., slice(slices[0], slices[-1] + 1))
    old, new = canvas[inside].reshape(-1, order="F"), layer[inside].reshape(-1, order="F")
    painted = np.flatnonzero(new != 0)
    before, after = old[painted], new[painted] if number is None else number
    old[painted] = after
    return int(np.count_nonzero((before != 0) & (before != after)))


def _value_fault(file: LabelFile, values: NDArray[Any]) -> str | None:
    fault = _not_whole(file.path, values)
    if fault:
        return fault
    found = [int(value) for value in values if value]
    if isinstance(file.meaning, str):
        if len(found) > 1:
            return (
                f"{file.path} should be the mask of {file.meaning} alone, and has the values {_listed(found)}. Make "
                f"one mask of each, or set them all to 1."
            )
        return None
    known = set(file.meaning or ())
    unknown = [value for value in found if value not in known]
    if unknown:
        return (
            f"{file.path} has values that are no label: {_listed(unknown)}. The labels are {_listed(sorted(known))}. "
            f"Name the missing ones, or change them in the file."
        )
    return None


def _not_whole(path: Input, values: NDArray[Any]) -> str | None:
    whole = np.isfinite(values) & (values == np.round(values))
    if whole.all():
        return None
    return f"{path} has values that are no whole numbers: {_listed(values[~whole])}. Round or remove them."


def _listed(values: Iterable[Any]) -> str:
    words = [f"{value:g}" for value in values]
    return ", ".join(words[:_LISTED]) + (f", ... ({len(words)} in all)" if len(words) > _LISTED else "")
