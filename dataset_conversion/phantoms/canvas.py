"""A volume on which solids are painted, intensities and labels together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.phantoms.fields import Box, Field, Shape


@dataclass(frozen=True)
class Canvas:
    """Intensities and labels of one case while it is painted, in place."""

    image: Field
    """(x, y, z) intensities."""
    labels: NDArray[np.uint8]
    """(x, y, z) label values."""
    room: Field
    """(x, y, z) mm from each voxel to the nearest solid that keeps its place; negative inside."""

    @classmethod
    def blank(cls, shape: Shape, ground: float) -> Canvas:
        """An unlabelled canvas of one intensity."""
        return cls(
            image=np.full(shape, ground, dtype=np.float32),
            labels=np.zeros(shape, dtype=np.uint8),
            room=np.full(shape, np.inf, dtype=np.float32),
        )

    @property
    def shape(self) -> Shape:
        """Voxels along x, y, z."""
        x, y, z = self.image.shape
        return x, y, z

    def part(self, box: Box) -> Canvas:
        """The part inside a box; painting it paints this canvas."""
        return Canvas(image=self.image[box], labels=self.labels[box], room=self.room[box])

    def fill(self, inside: NDArray[np.bool_], value: float | Field, label: int | None = None) -> None:
        """Paint a mask over whatever lies there; without a label the labels stay."""
        np.copyto(self.image, value, where=inside, casting="same_kind")
        if label is not None:
            self.labels[inside] = label

    def reserve(self, distance: Field) -> None:
        """Keep the place of a solid, given by its signed distance in mm, from organs painted later."""
        np.minimum(self.room, distance, out=self.room)

    def organ(self, distance: Field, value: float | Field, label: int = 0, gap_mm: float = 0.0) -> None:
        """Paint a solid where earlier organs leave room, and keep its place from later ones.

        Args:
            distance: signed distance in mm, negative inside.
            value: intensity.
            label: label value, 0 for a structure without a name.
            gap_mm: width kept free between this organ and earlier ones.
        """
        self.fill((distance < 0) & (self.room > gap_mm), value, label)
        self.reserve(distance)
