"""A case's label map along canonical axes, of which planning only ever looks at the box around one class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.geometry import Orientation, spacing_of
from sammoe_pipeline.image_io import Header, read_header, read_volume
from sammoe_pipeline.label_boxes import Box, LabelBoxes
from sammoe_pipeline.raw_dataset import RawCase


@dataclass(frozen=True)
class CaseLabels:
    """A label map.

    Attributes:
        header: of the case's first image, whose grid is the case's.
        labels: (x, y, z) along canonical axes.
        spacing_mm: along canonical axes.
        boxes: where its values lie.
    """

    header: Header
    labels: NDArray[np.int32]
    spacing_mm: tuple[float, float, float]
    boxes: LabelBoxes

    @classmethod
    def of(cls, case: RawCase) -> CaseLabels:
        """Reads the label map of a case.

        Raises:
            UnreadableFileError: the label map or the header of the image cannot be read.
        """
        header = read_header(case.images[0])
        orientation = Orientation.of(header.affine)
        labels = orientation.to_canonical(read_volume(case.label).data).astype(np.int32)
        spacing = spacing_of(orientation.canonical_affine(header.affine, header.shape))
        return cls(header=header, labels=labels, spacing_mm=spacing, boxes=LabelBoxes.of(labels))

    def mask(self, values: tuple[int, ...], box: Box) -> NDArray[np.bool_]:
        """Returns where within a box (x, y, z) the class lies."""
        return np.asarray(np.isin(self.labels[box], values))
