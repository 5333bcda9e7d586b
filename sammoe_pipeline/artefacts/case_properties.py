"""A preprocessed case: what it was made from, and where its classes lie."""

from __future__ import annotations

from sammoe_pipeline.artefacts.base import Artefact


class CaseProperties(Artefact):
    """`CASE.json`: what a preprocessed case was made from, and where its classes lie."""

    case: str
    """Name of the case."""
    source_digest: str
    """Digest of the raw files and the configuration: a case is made again when it differs."""
    file_shape: tuple[int, int, int]
    """Voxels along the file's own axes."""
    affine: tuple[tuple[float, ...], ...]
    """4 x 4, file voxel to RAS+ mm."""
    canonical_shape: tuple[int, int, int]
    """Voxels along RAS axes, before resampling."""
    shape: tuple[int, int, int]
    """Of the preprocessed arrays."""
    class_voxels: dict[str, int]
    """Voxels of each class in the preprocessed label map."""
    class_locations: dict[str, tuple[tuple[int, int, int], ...]]
    """Up to 64 voxels a class where views may be centred: most by the rule of clicks, some anywhere in the class."""
