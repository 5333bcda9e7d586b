"""Every format that can be converted, and every phantom that can be made, by its name on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Format:
    """One layout of public datasets.

    Attributes:
        summary: what it is, for `--list` and `--help`.
        module: has `read_source(folder, ...) -> Source`. Imported when the format is chosen, so that help is instant.
        modality: of the images.
        classes: in the order of their numbers; empty where the dataset itself says.
        licence: as far as it is established.
        where: from whom to get the data.
        tree: what the archive unpacks to.
        notes: what a user should know: traps, and what the converter does about them.
        flags: further flags of the command that the format takes.
        given: further arguments of `read_source` that the format's name decides.
    """

    summary: str
    module: str
    modality: str
    classes: tuple[str, ...]
    licence: str
    where: str
    tree: str
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)


FORMATS: dict[str, Format] = {
    "msd": Format(
        summary="Medical Segmentation Decathlon, all ten tasks, and datasets laid out like it",
        module="dataset_conversion.formats.msd",
        modality="CT, MR",
        classes=(),
        licence="CC BY-SA 4.0",
        where="medicaldecathlon.com",
        tree="""\
TaskNN_Name/
  dataset.json
  imagesTr/CASE.nii.gz
  labelsTr/CASE.nii.gz
  imagesTs/CASE.nii.gz      optional""",
        notes=(
            "Channels and classes are read from `dataset.json`. Its lists of files are not: what lies in the folders "
            "counts.",
            "Images of several channels (Task01_BrainTumour, Task05_Prostate) are 4D; each channel becomes a file.",
            "Hidden files that macOS leaves behind (`._*`) are passed over.",
            "Some label maps of Task04_Hippocampus are stored as float32; they become integers.",
            "Task03_Liver shows the patients of LiTS, with spacing corrected. Do not evaluate one on the other.",
        ),
    ),
}

PHANTOMS: dict[str, str] = {
    "phantom_torso": "made up: CT-like torsos",
    "phantom_head": "made up: MR-like heads",
    "phantom_shapes": "made up: random shapes",
}
"""Summary of each kind of `dataset_conversion.phantoms`, by `phantom_KIND`."""
