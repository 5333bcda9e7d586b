"""An image in one configuration with its windows embedded: the encoder runs once a window, whoever decodes it."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from sammoe_pipeline.geometry import Shape, crop
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.preprocessing import NORMALISATIONS

_KEPT_EMBEDDINGS = 64


class EncodedImage:
    """An image at a configuration's spacing, with the embeddings of the windows that were looked at.

    Args:
        image: (x, y, z) float32, not normalised.
        model: the foundation.
        normalisation: in `sammoe_pipeline.preprocessing.NORMALISATIONS`.
    """

    def __init__(self, image: Tensor, *, model: SamMed3D, normalisation: str) -> None:
        self.image = image
        self.model = model
        self.size = model.patch_size
        self._normalise = NORMALISATIONS[normalisation]
        self._embeddings: OrderedDict[Shape, Tensor] = OrderedDict()

    @property
    def shape(self) -> Shape:
        """Voxels of the image in this configuration."""
        x, y, z = self.image.shape
        return x, y, z

    def window_around(self, position: tuple[float, float, float]) -> Shape:
        """Returns the first voxel of the window whose middle lies on a voxel position; it may hang over the image."""
        x, y, z = (round(value) - self.size // 2 for value in position)
        return x, y, z

    def window(self, start: Shape) -> Tensor:
        """Returns the normalised window (P, P, P) that begins at `start`."""
        return self._normalise(crop(self.image, start, self.size, pad_value=torch.nan))

    def embedding(self, start: Shape) -> Tensor:
        """Returns the embedding (1, C, g, g, g) of the window that begins at `start`, on the model's device."""
        if start not in self._embeddings:
            device = next(self.model.parameters()).device
            with torch.inference_mode():
                self._embeddings[start] = self.model.encode(self.window(start)[None, None].to(device))
            while len(self._embeddings) > _KEPT_EMBEDDINGS:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(start)
        return self._embeddings[start]
