"""A case's label map along canonical axes, of which planning only ever looks at the box around one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.geometry import Orientation, spacing_of
from sammoe_pipeline.image_io import Header, read_header, read_volume
from sammoe_pipeline.raw_dataset import RawCase

Box = tuple[slice, slice, slice]
SPECK_SHARE = 0.01
"""A component with less than this share of its mask is taken for a slip of the pen."""


@dataclass(frozen=True)
class CaseLabels:
    """A label map.

    Attributes:
        header: of the case's first image, whose grid is the case's.
        labels: (x, y, z) along canonical axes.
        spacing_mm: along canonical axes.
        boxes: by label value, counted from 1, the smallest box that holds it; None where the value is absent.
    """

    header: Header
    labels: NDArray[np.int32]
    spacing_mm: tuple[float, float, float]
    boxes: Sequence[Box | None]

    @classmethod
    def of(cls, case: RawCase) -> CaseLabels:
        """Reads the label map of a case.

        Raises:
            UnreadableFileError: the label map or the header of the image cannot be read.
        """
        from scipy.ndimage import find_objects

        header = read_header(case.images[0])
        orientation = Orientation.of(header.affine)
        labels = orientation.to_canonical(read_volume(case.label).data).astype(np.int32)
        spacing = spacing_of(orientation.canonical_affine(header.affine, header.shape))
        return cls(
            header=header, labels=labels, spacing_mm=spacing, boxes=[_box(found) for found in find_objects(labels)]
        )

    def box(self, values: tuple[int, ...], *, margin: int = 0) -> Box | None:
        """Returns the smallest box that holds a class, widened by `margin` voxels within the image; None where absent.

        Args:
            values: label values of the class.
            margin: voxels on each side.
        """
        found = [box for value in values if 0 < value <= len(self.boxes) and (box := self.boxes[value - 1])]
        if not found:
            return None
        x, y, z = (
            slice(
                max(0, min(box[axis].start for box in found) - margin),
                min(size, max(box[axis].stop for box in found) + margin),
            )
            for axis, size in enumerate(self.labels.shape)
        )
        return x, y, z

    def mask(self, values: tuple[int, ...], box: Box) -> NDArray[np.bool_]:
        """Returns where within a box (x, y, z) the class lies."""
        return np.asarray(np.isin(self.labels[box], values))


def _box(found: tuple[slice, ...] | None) -> Box | None:
    return None if found is None else (found[0], found[1], found[2])


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
    return components, [int(index) + 1 for index in ordered if sizes[index] >= SPECK_SHARE * sizes.sum()]
