"""Clicks simulated from a ground truth: one rule, for training, planning and evaluation alike.

A person clicks well inside what they mean. So the rule takes a voxel at random among those at least half as deep as the
deepest one, by distance to the border. A correcting click does the same in the larger error region.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.label_boxes import box_around

RELATIVE_DEPTH = 0.5
"""A click lies at least this share of the greatest depth away from the border."""
MOST_COMPONENTS = 5
"""Of a class whose targets are components, so many are clicked on, the largest ones."""
SPECK_SHARE, SPECK_VOXELS = 0.01, 10
"""A component with less than this share of its class in a case and fewer voxels is taken for a slip of the pen: nobody
clicks there. A small lesion beside a large one has more."""


@dataclass(frozen=True)
class Click:
    """A click.

    Attributes:
        position: voxel indices x, y, z in the array that it belongs to; index 0 is the centre of the first voxel.
        positive: on the structure (True) or on what is not to be included (False).
    """

    position: tuple[float, float, float]
    positive: bool = True

    def moved_by(self, voxels: Iterable[float]) -> Click:
        """Returns the click in voxels that are counted from elsewhere."""
        x, y, z = (at + step for at, step in zip(self.position, voxels, strict=True))
        return replace(self, position=(x, y, z))


def deep_voxels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the voxels (N, 3) of a mask that are at least half as deep as the deepest one; none for an empty mask.

    Args:
        mask: (x, y, z). The border of the array does not count as the border of the structure.
    """
    # One voxel of surroundings where there is one, so that the border of the structure is seen, but not the array's.
    box = box_around(mask, margin=1)
    if box is None:
        return np.zeros((0, 3), dtype=np.int64)
    corner = np.array([side.start for side in box])
    return np.asarray(deep_among(squared_depths(mask[box]), mask[box]) + corner)


def squared_depths(labels: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the squared distance in voxels from each voxel to the nearest one with another label.

    Args:
        labels: (x, y, z) of booleans or integers; the border of the array is no border of what it shows.

    Returns:
        (x, y, z): whole numbers, so that ties are exact; 0 where the label is 0, infinite where there is one label.
    """
    import edt

    return np.asarray(edt.edtsq(np.ascontiguousarray(labels)), dtype=np.float32)


def deep_among(squared: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the voxels (N, 3) of a mask (x, y, z), not empty, at least half as deep as its deepest one.

    Args:
        squared: (x, y, z), as `squared_depths` returns it of labels of which one is the mask.
        mask: (x, y, z).
    """
    deepest = squared[mask].max()
    return np.asarray(np.argwhere(mask & (squared >= max(RELATIVE_DEPTH**2 * deepest, 1.0))))


def first_click(target: NDArray[np.bool_], rng: np.random.Generator) -> Click | None:
    """Draws the first click on a target; None where the target is empty."""
    return _draw(target, True, rng)


def next_click(
    prediction: NDArray[np.bool_],
    target: NDArray[np.bool_],
    rng: np.random.Generator,
    valid: NDArray[np.bool_] | None = None,
) -> Click | None:
    """Draws the click that a user would correct a mask with.

    Args:
        prediction: the mask so far (x, y, z).
        target: the truth (x, y, z).
        rng: where chance comes from.
        valid: False where the truth is unknown; nobody clicks there.

    Returns:
        A positive click in what was missed or a negative one in what was wrongly included, whichever region is larger;
        None where there is no error.
    """
    wrong = target != prediction
    if valid is not None:
        wrong &= valid
    box = box_around(wrong, margin=1)
    if box is None:
        return None
    missed, excess = wrong[box] & target[box], wrong[box] & prediction[box]
    misses_more = missed.sum() >= excess.sum()
    click = _draw(missed if misses_more else excess, bool(misses_more), rng)
    return None if click is None else click.moved_by(side.start for side in box)


def component_clicks(mask: NDArray[np.bool_], rng: np.random.Generator) -> list[Click]:
    """Draws the first click on each component of a mask, on at most the five largest, and on no speck."""
    labelled, numbers = component_masks(mask)
    clicks = [first_click(labelled == number, rng) for number in numbers[:MOST_COMPONENTS]]
    return [click for click in clicks if click is not None]


def component_masks(mask: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Finds the connected components (26 neighbours) of a mask (x, y, z).

    Returns:
        Their numbers by voxel, 0 outside, and the numbers from the largest component to the smallest, specks left out.
    """
    import cc3d

    components = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
    sizes = np.bincount(components.ravel())[1:]
    # Stable, so that equal sizes keep one order everywhere.
    ordered = np.argsort(-sizes, kind="stable")
    least = min(SPECK_VOXELS, SPECK_SHARE * sizes.sum())
    return components, [int(index) + 1 for index in ordered if sizes[index] >= least]


def component_at(mask: NDArray[np.bool_], click: Click) -> NDArray[np.bool_]:
    """Returns the connected component (26 neighbours) of a mask (x, y, z) that a click lies in; empty if in none."""
    import cc3d

    x, y, z = (round(value) for value in click.position)
    if not all(0 <= at < side for at, side in zip((x, y, z), mask.shape, strict=True)):
        return np.zeros_like(mask)
    components = cc3d.connected_components(mask, connectivity=26)
    return np.asarray((components == components[x, y, z]) & mask[x, y, z])


def connected_to(mask: NDArray[np.bool_], clicks: Sequence[Click], *, cell: int) -> NDArray[np.bool_]:
    """Keeps of a mask what hangs together with a click on it; all of it where no click lies on it.

    Args:
        mask: (x, y, z).
        clicks: in voxels of the mask; negative ones and those outside are not read.
        cell: voxels a side of a cell. The mask counts cell by cell, so that parts less than a cell apart are one.
    """
    import cc3d

    padded = np.pad(mask, [(0, -side % cell) for side in mask.shape])
    x, y, z = (side // cell for side in padded.shape)
    cells = padded.reshape(x, cell, y, cell, z, cell).any(axis=(1, 3, 5))
    parts = cc3d.connected_components(cells, connectivity=26)
    touched = set()
    for click in clicks:
        at = tuple(round(value) for value in click.position)
        if click.positive and all(0 <= value < side for value, side in zip(at, mask.shape, strict=True)):
            touched.add(int(parts[tuple(value // cell for value in at)]))
    touched.discard(0)
    if not touched:
        return mask
    kept = np.isin(parts, list(touched))
    for axis, side in enumerate(mask.shape):
        kept = np.repeat(kept, cell, axis=axis).take(range(side), axis=axis)
    return np.asarray(kept & mask)


def _draw(region: NDArray[np.bool_], positive: bool, rng: np.random.Generator) -> Click | None:
    candidates = deep_voxels(region)
    if len(candidates) == 0:
        return None
    x, y, z = candidates[rng.integers(len(candidates))]
    return Click(position=(float(x), float(y), float(z)), positive=positive)
