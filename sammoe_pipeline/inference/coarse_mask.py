"""Another tool's label map beside an image: where to click, and where the answer may lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.clicks import Click, component_clicks, first_click
from sammoe_pipeline.image_io import Volume, read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.region import Region
from sammoe_pipeline.label_boxes import box_around

NEAR = 1.0
"""How far an answer may reach beyond a coarse mask, as a share of the mask's greatest depth."""


@dataclass(frozen=True)
class CoarseMask:
    """A label map, which may lie on a grid of its own.

    Attributes:
        volume: in its file's axes.
        image: that it is about.
    """

    volume: Volume
    image: CaseImage

    @classmethod
    def read(cls, path: Path, image: CaseImage) -> CoarseMask:
        """Reads a label map.

        Raises:
            UnreadableFileError: the file is missing or broken.
        """
        return cls(volume=read_volume(path), image=image)

    def where(self, values: Sequence[int] | None = None) -> NDArray[np.bool_]:
        """Returns the mask of some values, or of everything but 0, on the label map's own grid."""
        return np.asarray(self.volume.data != 0 if values is None else np.isin(self.volume.data, values))

    def clicks(self, mask: NDArray[np.bool_], rng: np.random.Generator, *, each_part: bool = False) -> list[Click]:
        """Draws a click well inside a mask, or in each of its five largest parts: in canonical voxels of the image."""
        drawn = component_clicks(mask, rng) if each_part else [first_click(mask, rng)]
        return [self._in_image(click) for click in drawn if click is not None]

    def near(self, mask: NDArray[np.bool_]) -> Region:
        """Returns the voxels of the image that lie in a mask or near it.

        Another tool's mask errs at its border, and more so the larger the structure: an answer may reach `NEAR` times
        the mask's greatest depth beyond it.
        """
        from scipy.ndimage import affine_transform

        around = Region.around(mask, [NEAR * self._depth_mm(mask) / mm for mm in self.volume.spacing_mm])
        to_canonical = np.linalg.solve(self.image.affine, self.volume.affine)
        low, high = np.array(around.start) - 0.5, np.add(around.start, around.inside.shape) - 0.5
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
        placed = corners @ to_canonical[:3, :3].T + to_canonical[:3, 3]
        first = np.clip(np.floor(placed.min(axis=0)).astype(int), 0, self.image.shape)
        last = np.clip(np.ceil(placed.max(axis=0)).astype(int) + 1, first, self.image.shape)
        back = np.linalg.inv(to_canonical)
        inside = affine_transform(
            around.inside.astype(np.uint8),
            back[:3, :3],
            offset=back[:3, :3] @ first + back[:3, 3] - np.array(around.start),
            output_shape=tuple(last - first),
            order=0,
            mode="grid-constant",
        )
        return Region(inside=inside > 0, start=(int(first[0]), int(first[1]), int(first[2])))

    def _depth_mm(self, mask: NDArray[np.bool_]) -> float:
        from scipy.ndimage import distance_transform_edt

        part = np.pad(mask[box_around(mask) or (slice(0, 0),) * 3], 1)
        return float(distance_transform_edt(part, sampling=self.volume.spacing_mm).max())

    def _in_image(self, click: Click) -> Click:
        x, y, z, _ = self.volume.affine @ np.array([*click.position, 1.0])
        return self.image.click_from_mm((float(x), float(y), float(z)))
