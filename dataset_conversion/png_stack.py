"""Label maps of slices, one PNG each, laid on the DICOM slices that they show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_conversion.walking import natural_key
from sammoe_pipeline.dicom_series import DicomSeries
from sammoe_pipeline.errors import UnreadableFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sammoe_pipeline.image_io import Header


@dataclass(frozen=True)
class PngStack:
    """Gray values on the grid of a series.

    PNG has no place in space, so the first PNG, in the order of the numbers in file names, belongs to the DICOM file
    that is first by its name, wherever that lies.

    Attributes:
        folder: of the PNG.
        files: in any order.
        series: the slices.
    """

    folder: Path
    files: tuple[Path, ...]
    series: DicomSeries

    def __str__(self) -> str:
        return f"{self.folder} (PNG)"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def header(self) -> Header:
        """Returns the grid of the slices, if there are as many of them."""
        if len(self.files) != len(self.series.files):
            raise UnreadableFileError(
                f"{self} has {len(self.files)} files for {len(self.series.files)} slices in {self.series}. Download "
                f"the case again."
            )
        return replace(self.series.header(), dtype="uint8", moved_voxels=0.0)

    def voxels(self) -> NDArray[np.uint8]:
        """Returns gray values (x, y, z)."""
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        header = self.header()
        named = sorted(self.series.files, key=natural_key)
        shown = dict(zip(named, sorted(self.files, key=natural_key), strict=True))
        stack = np.zeros(header.shape, np.uint8, order="F")
        for z, path in enumerate(self.series.slices()):
            try:
                with Image.open(shown[path]) as image:
                    pixels = np.asarray(image.convert("L")).T
            except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
                raise UnreadableFileError(
                    f"{shown[path]} cannot be read as PNG ({error}). Download the case again."
                ) from error
            if pixels.shape != header.shape[:2]:
                raise UnreadableFileError(
                    f"{shown[path]} has {pixels.shape} pixels, and its slice {header.shape[:2]}. Download it again."
                )
            stack[:, :, z] = pixels
        return stack
