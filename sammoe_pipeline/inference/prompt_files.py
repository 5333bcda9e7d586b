"""Prompt files: clicks, boxes and coarse masks in a simple JSON, or 3D Slicer's markups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.inference.slicer_markups import SLICER_ENDING, from_slicer

Frame = Literal["RAS", "LPS", "voxel"]
Position = tuple[float, float, float]

_EXAMPLE = '{"frame": "RAS", "targets": [{"class_name": "liver", "clicks": [{"position": [x, y, z]}]}]}'


class FileClick(Record):
    """A click as a prompt file gives it."""

    position: Position
    """In mm for the frames RAS and LPS; in voxels (x, y, z) of the input image for the frame voxel."""
    positive: bool = True
    """On the structure, or on what is not to be included."""


class FileBox(Record):
    """A box as a prompt file gives it. The answer stays within it; where nobody clicks, its middle is clicked on."""

    corners: tuple[Position, Position]
    """Two opposite ones, in mm for the frames RAS and LPS; for the frame voxel the first and the last voxel, both of
    which are inside."""
    axes: tuple[Position, Position, Position] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """Directions of its sides in the frame, at right angles to each other; by default those of the frame's axes."""


class FileMask(Record):
    """A coarse mask as a prompt file names it. The answer stays near it; where nobody clicks, a click well inside it is
    drawn."""

    file: str
    """A label map beside the prompt file or in a folder there; it may lie on a grid of its own."""
    value: int | None = None
    """Of the target in that label map; by default everything but 0."""


class FileTarget(Record):
    """One target: clicks, a box or a mask; or clicks together with one of the others."""

    class_name: str | None = None
    """A class of the mixture; without one the target is segmented as `target_1`, `target_2`, ..."""
    clicks: tuple[FileClick, ...] = ()
    """At least one of them positive, where there is neither box nor mask."""
    box: FileBox | None = None
    """In which the target lies."""
    mask: FileMask | None = None
    """That the target resembles."""

    @model_validator(mode="after")
    def _is_a_prompt(self) -> FileTarget:
        if not self.clicks and self.box is None and self.mask is None:
            raise ValueError("a target needs clicks, a box or a mask")
        if self.box is not None and self.mask is not None:
            raise ValueError("a target has a box or a mask, not both")
        return self


class PromptFile(Record):
    """A prompt file of one case."""

    frame: Frame
    targets: tuple[FileTarget, ...] = Field(min_length=1)


def prompt_file(prompts: Path, case: str) -> Path:
    """Returns the file with a case's prompts: the one that is given, or `CASE.json` or `CASE.mrk.json` in a folder.

    Raises:
        UsageError: the folder holds neither.
    """
    if not prompts.is_dir():
        return prompts
    options = [prompts / f"{case}.json", prompts / f"{case}{SLICER_ENDING}"]
    found = [option for option in options if option.is_file()]
    if not found:
        raise UsageError(f"--prompts {prompts}: there is neither {options[0].name} nor {options[1].name}. Add one.")
    return found[0]


def read_prompt_file(path: Path) -> PromptFile:
    """Reads a `.mrk.json` of 3D Slicer or the pipeline's own JSON.

    Raises:
        ArtefactError: the file is missing or breaks its format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} cannot be read as JSON ({error}). Save the prompts again.") from error
    try:
        return PromptFile.model_validate_json(
            json.dumps(from_slicer(content) if path.name.endswith(SLICER_ENDING) else content)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path} is not a prompt file: {error}\nExpected: {_EXAMPLE}") from error


def mask_path(path: Path, mask: FileMask) -> Path:
    """Returns where the mask lies that a prompt file names.

    Raises:
        ArtefactError: outside of the prompt file's folder.
    """
    folder = path.resolve().parent
    found = (folder / mask.file).resolve()
    if not found.is_relative_to(folder):
        raise ArtefactError(f"{path}: the mask {mask.file!r} is not in its folder. Put it beside the prompt file.")
    return found


def files_of(path: Path) -> list[Path]:
    """Returns a prompt file and the masks that it names.

    Raises:
        ArtefactError: the file is missing or breaks its format.
    """
    targets = read_prompt_file(path).targets
    return [path, *(mask_path(path, target.mask) for target in targets if target.mask is not None)]


def named(prompts: PromptFile) -> list[tuple[str, str | None]]:
    """Returns name and class of each target; one without a class is called by its number."""
    targets = enumerate(prompts.targets, start=1)
    return [(target.class_name or f"target_{number}", target.class_name) for number, target in targets]
