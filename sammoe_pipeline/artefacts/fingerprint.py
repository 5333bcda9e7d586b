"""What a dataset is like: its cases, classes and channels."""

from __future__ import annotations

from sammoe_pipeline.artefacts.base import Artefact, Record


class CaseFingerprint(Record):
    """One case as its headers and labels show it."""

    case: str
    """Name of the case."""
    shape: tuple[int, int, int]
    """Voxels along the file's own axes."""
    spacing_mm: tuple[float, float, float]
    """Distance between voxels along the file's own axes."""
    orientation: str
    """Nearest anatomical code of the file's axes, such as "LPS"."""
    nonzero_shape: tuple[int, int, int] | None = None
    """Voxels along the file's own axes of the smallest box outside which every channel is 0."""
    classes: tuple[str, ...] = ()
    """Classes that the case contains."""
    sha256: str = ""
    """Over the files of its channels and its label map; empty where it was not taken. Tells which experts learnt from
    what is there now."""


class ClassFingerprint(Record):
    """One class over all training cases that have it."""

    cases: int
    """Cases that contain the class."""
    components: float
    """Median number of connected components a case, without specks: fewer than ten voxels below 1 % of the class."""
    volume_mm3: float
    """Median volume."""
    extent_mm: tuple[float, float, float]
    """Median size of the bounding box along RAS axes."""
    thickness_mm: float
    """Median over cases of the largest inscribed ball's diameter."""
    border_mm: float = 0.0
    """Median distance from the bounding box to the nearest face of the image; 0 where images cut the class off."""
    intensities: tuple[float, ...] = ()
    """By channel, median over cases of the mean within the class: 0 is the mean of all classes of the case together,
    1 their standard deviation above it."""
    contrasts: tuple[float, ...] = ()
    """By channel, median over cases of the distance between the means within the class and in the two voxels around
    it, in their common standard deviation (Cohen's d). Below about 1 the border is hard to see."""
    partner: str | None = None
    """Class of the other side, by name."""
    alike: tuple[str, ...] = ()
    """Classes with about the same intensity in every channel and the same thickness: only their place tells them
    apart."""


class ChannelFingerprint(Record):
    """Intensities of one channel within the foreground, sampled."""

    name: str
    """As `dataset.json` has it."""
    mean: float
    """Mean intensity."""
    std: float
    """Standard deviation."""
    median: float
    """Median intensity."""
    percentile_00_5: float
    """Intensity that 0.5 % of the voxels lie below."""
    percentile_99_5: float
    """Intensity that 99.5 % of the voxels lie below."""
    lowest: float | None = None
    """Lowest intensity of the sample."""
    highest: float | None = None
    """Highest intensity of the sample."""


class DatasetFingerprint(Artefact):
    """`dataset_fingerprint.json`: what a dataset is like, from a pass over its training cases."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    cases: tuple[CaseFingerprint, ...]
    """Every training case."""
    classes: dict[str, ClassFingerprint]
    """By class."""
    channels: tuple[ChannelFingerprint, ...]
    """In the order of `dataset.json`."""
    nonzero_share: float | None = None
    """Median over cases of the share of the image's voxels that lies in the box of `nonzero_shape`."""
    raw_digest: str
    """SHA-256 over names, sizes and modification times of the raw files: tells whether they changed."""
