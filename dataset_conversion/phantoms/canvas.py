"""A volume on which solids are painted, intensities and labels together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.phantoms.fields import Field, Shape


class Canvas:
    """Intensities and labels of one case while it is painted.

    Attributes:
        image: (x, y, z) intensities.
        labels: (x, y, z) label values.
        room: (x, y, z) mm from each voxel to the nearest solid that was painted as an organ.
    """

    def __init__(self, shape: Shape, ground: float) -> None:
        self.image: Field = np.full(shape, ground, dtype=np.float32)
        self.labels: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
        self.room: Field = np.full(shape, np.inf, dtype=np.float32)

    def fill(self, inside: NDArray[np.bool_], value: float | Field, label: int | None = None) -> None:
        """Paint a mask over whatever lies there; without a label the labels stay."""
        np.copyto(self.image, np.float32(value), where=inside)
        if label is not None:
            self.labels[inside] = label

    def organ(self, distance: Field, value: float | Field, label: int = 0, gap_mm: float = 0.0) -> NDArray[np.bool_]:
        """Paint a solid where earlier organs leave room, and keep its place from later ones.

        Args:
            distance: signed distance in mm, negative inside.
            value: intensity.
            label: label value, 0 for a structure without a name.
            gap_mm: width kept free between this organ and earlier ones.

        Returns:
            The painted mask, (x, y, z).
        """
        inside: NDArray[np.bool_] = (distance < 0) & (self.room > gap_mm)
        self.fill(inside, value, label)
        np.minimum(self.room, distance, out=self.room)
        return inside
