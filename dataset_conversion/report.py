"""What a conversion did, case by case: for the user to read, and for the same command to go on from."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from sammoe_pipeline.artefacts import Artefact, Record
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.paths import CONVERSION_REPORT


class MadeFile(Record):
    """A file that the conversion made itself, in place of taking one over."""

    name: str
    """Relative to the dataset's folder."""
    size: int
    """In bytes."""
    modified_ns: int
    """Time of the last change, in nanoseconds."""


class ConvertedCase(Record):
    """A case that was read through."""

    name: str
    """Of the case."""
    inputs: str
    """SHA-256 over its source files' names, sizes and times, and over what was wanted of them."""
    made: tuple[MadeFile, ...]
    """Files that were made; all others of the case are the source's, copied or linked."""
    overlapping_voxels: int
    """Voxels that several label files claimed; the one listed last has them."""
    foreground: bool
    """Whether any wanted class is in it; true without labels."""
    left_out: str | None
    """Why the case is not in the dataset."""
    repaired: tuple[str, ...]
    """Noise in headers that was repaired."""


class SkippedCase(Record):
    """A case that was left out because of its faults."""

    name: str
    """Of the case."""
    faults: tuple[str, ...]
    """One sentence each."""


class ConversionReport(Artefact):
    """`conversion_report.json`: what a conversion repaired, left out and skipped."""

    converter: str
    """Command, format and version."""
    cases: tuple[ConvertedCase, ...]
    """Cases that were read through, those that were left out included."""
    skipped: tuple[SkippedCase, ...]
    """Cases with faults."""


def earlier_cases(folder: Path, progress: Path) -> dict[str, ConvertedCase]:
    """Returns what earlier runs of the same command did.

    Args:
        folder: the dataset's.
        progress: folder in which an unfinished run left one file a case.
    """
    try:
        cases = {case.name: case for case in ConversionReport.load(folder / CONVERSION_REPORT).cases}
    except ArtefactError:
        cases = {}
    for path in sorted(progress.glob("*.json")):
        try:
            case = ConvertedCase.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue
        cases[case.name] = case
    return cases
