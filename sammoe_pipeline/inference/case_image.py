"""One image as prediction sees it: canonical axes, in each configuration when first needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import SammoeError
from sammoe_pipeline.geometry import Bounds, Orientation, Shape, resampled_shape, spacing_of, to_grid
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.zoomed import Zoomed
from sammoe_pipeline.preprocessing import to_configuration
from sammoe_pipeline.same_grid import grid_differences


class CaseImage:
    """An image, one volume a channel, all on one grid.

    Args:
        channels: volumes in the file's own axes.

    Raises:
        SammoeError: the channels are not on one grid.

    Example:
        >>> image = CaseImage([read_volume(Path("case_0000.nii.gz"))])  # doctest: +SKIP
        >>> image.in_configuration(configuration).shape  # doctest: +SKIP
        torch.Size([70, 52, 61])
    """

    def __init__(self, channels: Sequence[Volume]) -> None:
        first = channels[0]
        for number, channel in enumerate(channels):
            words = grid_differences(channel.data.shape, channel.affine, first.data.shape, first.affine)
            if words:
                raise SammoeError(
                    f"Channel {number} of the image is not on the grid of channel 0: {', '.join(words)}. Resample all "
                    f"channels to one grid."
                )
        self.channels = tuple(channels)
        self.orientation = Orientation.of(channels[0].affine)
        self._arrays: dict[tuple[float, int], Tensor | Zoomed] = {}

    @property
    def shape(self) -> Shape:
        """Voxels along the canonical axes."""
        x, y, z = self._canonical(0).shape
        return x, y, z

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4, canonical voxel index to millimetres in RAS+."""
        x, y, z = self.channels[0].data.shape
        return self.orientation.canonical_affine(self.channels[0].affine, (x, y, z))

    def in_configuration(self, configuration: Configuration) -> Tensor | Zoomed:
        """Returns the configuration's channel at its spacing, (x, y, z) float32, not normalised.

        Where that has more voxels than the image, they are computed window by window.

        Raises:
            SammoeError: the image has fewer channels than the configuration reads.
        """
        if configuration.channel >= len(self.channels):
            raise SammoeError(
                f"Configuration '{configuration.name}' reads channel {configuration.channel}, but the image has "
                f"{len(self.channels)} channel(s). Give every channel as CASE_0000, CASE_0001, ..."
            )
        key = (configuration.spacing_mm, configuration.channel)
        if key not in self._arrays:
            volume = self.channels[configuration.channel]
            shape = resampled_shape(self.shape, spacing_of(self.affine), configuration.spacing_mm)
            if math.prod(shape) > math.prod(self.shape):
                self._arrays[key] = Zoomed(self._canonical(configuration.channel), shape)
            else:
                self._arrays[key] = to_configuration(volume, configuration.spacing_mm)
        return self._arrays[key]

    def _canonical(self, channel: int) -> NDArray[np.generic]:
        return self.orientation.to_canonical(self.channels[channel].data)

    def click_in_configuration(self, click: Click, configuration: Configuration) -> Click:
        """Maps a click from canonical voxels into the configuration's voxels."""
        x, y, z = self.in_configuration(configuration).shape
        at = to_grid(np.array([click.position]), self.shape, (x, y, z))[0]
        return Click(position=(float(at[0]), float(at[1]), float(at[2])), positive=click.positive)

    def bounds_in_configuration(self, bounds: Bounds, configuration: Configuration) -> Bounds:
        """Maps bounds from canonical voxels into the configuration's voxels."""
        low, high = (self.click_in_configuration(Click(position=corner), configuration).position for corner in bounds)
        return low, high

    def click_from_configuration(self, click: Click, configuration: Configuration) -> Click:
        """Undoes `click_in_configuration`."""
        x, y, z = self.in_configuration(configuration).shape
        at = to_grid(np.array([click.position]), (x, y, z), self.shape)[0]
        return Click(position=(float(at[0]), float(at[1]), float(at[2])), positive=click.positive)

    def click_from_mm(self, position_mm: tuple[float, float, float], *, positive: bool = True) -> Click:
        """Turns a position in RAS+ millimetres into a click in canonical voxels."""
        at = np.linalg.solve(self.affine, np.array([*position_mm, 1.0]))
        return Click(position=(float(at[0]), float(at[1]), float(at[2])), positive=positive)
