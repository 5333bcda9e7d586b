"""Prompts from files: clicks in a simple JSON, or 3D Slicer's markups."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.inference.case_image import CaseImage

SLICER_ENDING = ".mrk.json"
_SLICER_NUMBER = re.compile(r"-\d+$")
_SLICER_UNNAMED = re.compile(r"F(_\d+)?")
"""What 3D Slicer calls a list of points that nobody named."""

Frame = Literal["RAS", "LPS", "voxel"]


class FileClick(Record):
    """A click as a prompt file gives it."""

    position: tuple[float, float, float]
    """In mm for the frames RAS and LPS; in voxels (x, y, z) of the input image for the frame voxel."""
    positive: bool = True
    """On the structure, or on what is not to be included."""


class FileTarget(Record):
    """What the clicks of one target mean."""

    class_name: str | None = None
    """A class of the mixture; without one the target is segmented as `target_1`, `target_2`, ..."""
    clicks: tuple[FileClick, ...] = Field(min_length=1)


class PromptFile(Record):
    """A prompt file of one case."""

    frame: Frame
    targets: tuple[FileTarget, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Target:
    """One thing to segment.

    Attributes:
        name: class name, or `target_N`.
        class_name: the class, or None for a free-standing target.
        clicks: in canonical voxels; the first is positive.
    """

    name: str
    class_name: str | None
    clicks: tuple[Click, ...]


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


def named_targets(path: Path) -> list[tuple[str, str | None]]:
    """Reads name and class of each target of a prompt file, without its image.

    Raises:
        ArtefactError: the file is missing or breaks its format.
    """
    return _named(_read(path))


def read_prompts(path: Path, image: CaseImage) -> list[Target]:
    """Reads the prompts of a case.

    Args:
        path: a `.mrk.json` of 3D Slicer (a list of points is one target and its name the class), or the pipeline's own
            JSON.
        image: the case, for its grid.

    Raises:
        ArtefactError: the file is missing, breaks its format, or has a target without a positive click; or a click lies
            outside the image. All faults are named.
    """
    prompts = _read(path)
    targets, faults = [], []
    for (name, class_name), target in zip(_named(prompts), prompts.targets, strict=True):
        clicks = [click_at(click.position, prompts.frame, image, positive=click.positive) for click in target.clicks]
        for given, click in zip(target.clicks, clicks, strict=True):
            if not lies_in(image, click):
                faults.append(
                    f"{name}: click {list(given.position)} ({prompts.frame}) lies outside the image. Check the frame: "
                    f"NIfTI is RAS, 3D Slicer and DICOM are LPS."
                )
        if not any(click.positive for click in clicks):
            faults.append(f"{name}: it has no positive click. Add one on the structure.")
        targets.append(Target(name=name, class_name=class_name, clicks=positive_first(clicks)))
    if faults:
        raise ArtefactError(f"{path}:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return targets


def click_at(position: tuple[float, float, float], frame: Frame, image: CaseImage, *, positive: bool = True) -> Click:
    """Turns a position in a frame into a click in canonical voxels.

    Args:
        position: in mm, or in voxels (x, y, z) of the image as it was given.
        frame: of the position.
        image: that is clicked on.
        positive: on the structure, or on what is not to be included.
    """
    x, y, z = position
    if frame == "voxel":
        at = image.channels[0].affine @ (x, y, z, 1.0)
        x, y, z = float(at[0]), float(at[1]), float(at[2])
    elif frame == "LPS":
        x, y = -x, -y
    return image.click_from_mm((x, y, z), positive=positive)


def lies_in(image: CaseImage, click: Click) -> bool:
    """Tells whether a click (in canonical voxels) lies in a voxel of the image."""
    return all(-0.5 <= p <= n - 0.5 for p, n in zip(click.position, image.shape, strict=True))


def positive_first(clicks: Sequence[Click]) -> tuple[Click, ...]:
    """Moves the first positive click ahead of all others, since it says where to look."""
    first = next((index for index, click in enumerate(clicks) if click.positive), 0)
    return (*clicks[first : first + 1], *clicks[:first], *clicks[first + 1 :])


def _read(path: Path) -> PromptFile:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} cannot be read as JSON ({error}). Save the prompts again.") from error
    try:
        return PromptFile.model_validate_json(
            json.dumps(_from_slicer(content) if path.name.endswith(SLICER_ENDING) else content)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(
            f"{path} is not a prompt file: {error}\nExpected: "
            f'{{"frame": "RAS", "targets": [{{"class_name": "liver", "clicks": [{{"position": [x, y, z]}}]}}]}}'
        ) from error


def _named(prompts: PromptFile) -> list[tuple[str, str | None]]:
    targets = enumerate(prompts.targets, start=1)
    return [(target.class_name or f"target_{number}", target.class_name) for number, target in targets]


def _from_slicer(content: Any) -> dict[str, object]:
    """Translates 3D Slicer's markups: a list of points is one target, its name the class.

    A control point whose description is "negative" is a negative click.
    """
    targets, frames = [], set()
    for markup in content["markups"]:
        frames.add(markup.get("coordinateSystem", "LPS"))
        points = [
            {
                "position": [float(value) for value in point["position"]],
                "positive": str(point.get("description", "")).strip().lower() != "negative",
            }
            for point in markup["controlPoints"]
        ]
        targets.append({"class_name": _slicer_name(markup), "clicks": points})
    if len(frames) != 1:
        raise TypeError(f"its markups use the frames {sorted(frames)}; one is needed")
    return {"frame": frames.pop(), "targets": targets}


def _slicer_name(markup: Any) -> str | None:
    """Returns the name of a list of points; 3D Slicer writes it into the labels of the points only, before a number."""
    labels = [_SLICER_NUMBER.sub("", str(point.get("label", ""))) for point in markup["controlPoints"]]
    name = str(markup.get("name") or next(iter(labels), "")).strip()
    return None if _SLICER_UNNAMED.fullmatch(name) else name or None
