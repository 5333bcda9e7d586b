"""Where the classes of a label map lie: one look at the whole map, and from then on only at boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.geometry import Shape

Box = tuple[slice, slice, slice]


def box_around(mask: NDArray[np.bool_], *, margin: int = 0) -> Box | None:
    """Returns the smallest box that holds a mask (x, y, z), widened by `margin` voxels within it; None where empty."""
    sides = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(filled):
            return None
        sides.append(slice(max(0, int(filled[0]) - margin), min(mask.shape[axis], int(filled[-1]) + 1 + margin)))
    return sides[0], sides[1], sides[2]


@dataclass(frozen=True)
class LabelBoxes:
    """The smallest box around each value of a label map.

    Attributes:
        shape: of the map (x, y, z).
        of_value: by value, counted from 1; None where it is absent.
    """

    shape: Shape
    of_value: Sequence[Box | None]

    @classmethod
    def of(cls, labels: NDArray[Any]) -> LabelBoxes:
        """Finds the boxes of a label map (x, y, z) of integers, none of them negative."""
        from scipy.ndimage import find_objects

        x, y, z = labels.shape
        found = [None if box is None else (box[0], box[1], box[2]) for box in find_objects(labels)]
        return cls(shape=(x, y, z), of_value=found)

    def around(self, values: Iterable[int], *, margin: int = 0) -> Box | None:
        """Returns the smallest box that holds a class, widened by `margin` voxels within the map; None where absent.

        Args:
            values: label values of the class.
            margin: voxels on each side.
        """
        found = [box for value in values if 0 < value <= len(self.of_value) and (box := self.of_value[value - 1])]
        if not found:
            return None
        x, y, z = (
            slice(
                max(0, min(box[axis].start for box in found) - margin),
                min(size, max(box[axis].stop for box in found) + margin),
            )
            for axis, size in enumerate(self.shape)
        )
        return x, y, z
