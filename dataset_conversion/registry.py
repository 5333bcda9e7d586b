"""Every format that can be converted, and every phantom that can be made, by its name on the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """One layout of public datasets.

    Attributes:
        summary: what it is, for `--list` and `--help`.
        module: has `read_source(folder: Path) -> Source`. Imported when the format is chosen, so that help is instant.
    """

    summary: str
    module: str


FORMATS: dict[str, Format] = {
    "msd": Format(
        "Medical Segmentation Decathlon, and datasets laid out like it: TaskNN_Name", "dataset_conversion.msd"
    ),
}

PHANTOMS: dict[str, str] = {
    "phantom_torso": "made up: CT-like torsos",
    "phantom_head": "made up: MR-like heads",
    "phantom_shapes": "made up: random shapes",
}
"""Summary of each kind of `dataset_conversion.phantoms`, by `phantom_KIND`."""
