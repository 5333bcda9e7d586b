"""A way to show a case to the network."""

from __future__ import annotations

from pydantic import Field

from sammoe_pipeline.artefacts.base import Record


class Configuration(Record):
    """A way to show a case to the network."""

    name: str
    """`native` is the foundation's own spacing; others are named by their spacing."""
    spacing_mm: float = Field(gt=0)
    """Isotropic spacing that images are resampled to."""
    patch_size: int = Field(gt=0)
    """Voxels a side of the window; a multiple of the encoder's stride."""
    channel: int = Field(ge=0, default=0)
    """Which channel of the image is read."""

    @property
    def shown(self) -> tuple[float, int, int]:
        """What the network sees, whatever it is called: configurations that are equal in it share their encodings."""
        return self.spacing_mm, self.patch_size, self.channel
