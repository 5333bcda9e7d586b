"""What a package says of itself: `manifest.json`, the first file in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sammoe_pipeline.artefacts import Artefact, FoundationCard, Record, sha256_of
from sammoe_pipeline.paths import MANIFEST_JSON, Results

UNKNOWN_LICENCE = "unknown"


class PackageFoundation(Record):
    """The foundation that a package belongs to: its weights, and how they see images."""

    name: str
    """What it is called where the package was made; it may have another name elsewhere."""
    sha256: str
    """Of its weights."""
    spacing_mm: float
    """Native isotropic spacing."""
    patch_size: int
    """Voxels a side of the input."""
    normalisation: str
    """Of each window."""

    @classmethod
    def of(cls, card: FoundationCard) -> PackageFoundation:
        """Returns what a package tells of a foundation."""
        return cls(
            name=card.name,
            sha256=card.sha256,
            spacing_mm=card.spacing_mm,
            patch_size=card.patch_size,
            normalisation=card.normalisation,
        )


class PackageFile(Record):
    """One file of a package beside the manifest."""

    path: str
    """Where it lies below `sammoe_results/<foundation>`, with `/` between folders; so it does in the package."""
    size_bytes: int = Field(ge=0)
    """Length, uncompressed."""
    sha256: str
    """Of its content."""


class ClassScore(Record):
    """One class that a package serves, and how well."""

    dataset: str
    """Folder name, `DatasetXXX_Name`."""
    class_name: str
    """As the dataset has it."""
    expert: str | None
    """`DatasetXXX_Name/task` of the expert that serves it; None leaves it to the general expert."""
    dice: dict[str, float]
    """Mean Dice by method: `general`, `expert`, and of an evaluated mixture `mixture` and `general_native`. Empty where
    the class was not scored."""
    cases: int | None
    """Held-out cases that the means are over; None for calibration cases, which cards do not count."""


class Scores(Record):
    """How well a package does, class by class."""

    scored_on: Literal["held-out cases", "calibration cases", "calibration or training cases"]
    """Held-out cases are those of `sammoe_evaluate`; calibration cases also chose among iterations, which flatters, and
    training cases do more so: they stand in where no calibration case has a class of the expert."""
    clicks: int
    """Clicks that every answer had; 0 is the locator's prompt."""
    classes: tuple[ClassScore, ...]
    """Every class."""


class PackageManifest(Artefact):
    """`manifest.json` of a package: what is in it. Installed parts keep it beside their files."""

    kind: Literal["expert", "mixture"]
    """Whether the package is one expert or a whole mixture with its experts and locators."""
    name: str
    """`DatasetXXX_Name/task` of an expert; name of a mixture."""
    foundation: PackageFoundation
    """What it belongs to; with other weights it is refused."""
    licence: str
    """Of the weights, as an SPDX identifier where there is one."""
    scores: Scores
    """Classes and their scores."""
    files: tuple[PackageFile, ...]
    """Every other file; a package that holds fewer or more is refused."""


def manifest_of(folder: Path, card: Path, places: Results) -> PackageManifest | None:
    """Returns the manifest of the package that a fold or mixture was installed from.

    Args:
        folder: of the fold or mixture.
        card: its card. Where the manifest names another one, the part was trained anew since, so it has none.
        places: where results lie.

    Raises:
        ArtefactError: the manifest cannot be read.
    """
    if not (folder / MANIFEST_JSON).is_file():
        return None
    manifest = PackageManifest.load(folder / MANIFEST_JSON)
    name = card.relative_to(places.folder).as_posix()
    described = any(file.path == name and file.sha256 == sha256_of(card) for file in manifest.files)
    return manifest if described else None
