"""Prompts in an image: clicks in its canonical voxels, and the region in which an answer may lie."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.coarse_mask import CoarseMask
from sammoe_pipeline.inference.prompt_files import (
    FileBox,
    FileTarget,
    Frame,
    Position,
    mask_path,
    named,
    read_prompt_file,
)
from sammoe_pipeline.inference.region import Box, Region

_OUTSIDE = "lies outside the image. Check the frame: NIfTI is RAS, 3D Slicer and DICOM are LPS."
_SQUARE = 1e-3
"""Cosines between the sides of a box are at most this."""


@dataclass(frozen=True)
class Interaction:
    """Prompts on one thing.

    Attributes:
        clicks: in canonical voxels; the first is positive.
        region: in which the answer lies; None where nothing limits it.
    """

    clicks: tuple[Click, ...]
    region: Region | None = None


@dataclass(frozen=True)
class Target:
    """One thing to segment, or several of a kind.

    Attributes:
        name: class name, or `target_N`.
        class_name: the class, or None for a free-standing target.
        prompt: what is known of it.
    """

    name: str
    class_name: str | None
    prompt: Interaction


def read_prompts(path: Path, image: CaseImage) -> list[Target]:
    """Reads the prompts of a case.

    Args:
        path: a `.mrk.json` of 3D Slicer, or the pipeline's own JSON.
        image: the case, for its grid.

    Raises:
        ArtefactError: the file is missing, breaks its format, or has a target that cannot be prompted: no positive
            click, a click, box or mask outside the image, an empty mask or box. All faults are named.
        UnreadableFileError: a mask is missing or broken.
    """
    prompts = read_prompt_file(path)
    targets, faults = [], []
    for (name, class_name), target in zip(named(prompts), prompts.targets, strict=True):
        clicks = [click_at(click.position, prompts.frame, image, positive=click.positive) for click in target.clicks]
        for given, click in zip(target.clicks, clicks, strict=True):
            if not lies_in(image, click):
                faults.append(f"{name}: click {list(given.position)} ({prompts.frame}) {_OUTSIDE}")
        try:
            suggested, region = _suggested(path, target, prompts.frame, image)
        except ValueError as error:
            faults.append(f"{name}: {error}")
            continue
        if not any(click.positive for click in clicks):
            if suggested is None:
                faults.append(f"{name}: it has no positive click. Add one on the structure.")
                continue
            clicks.append(suggested)
        targets.append(Target(name, class_name, Interaction(positive_first(clicks), region)))
    if faults:
        raise ArtefactError(f"{path}:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return targets


def named_targets(path: Path) -> list[tuple[str, str | None]]:
    """Reads name and class of each target of a prompt file, without its image.

    Raises:
        ArtefactError: the file is missing or breaks its format.
    """
    return named(read_prompt_file(path))


def click_at(position: Position, frame: Frame, image: CaseImage, *, positive: bool = True) -> Click:
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


def box_at(given: FileBox, frame: Frame, image: CaseImage) -> Box:
    """Turns a box in a frame into one in canonical voxels.

    Args:
        given: the box.
        frame: of its corners and axes.
        image: in which it lies.

    Raises:
        ValueError: it is flat, its sides are not at right angles, or it lies beside the image.
    """
    axes = np.array(given.axes, dtype=np.float64)
    axes = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), np.finfo(float).tiny)
    if np.abs(axes @ axes.T - np.eye(3)).max() > _SQUARE:
        raise ValueError(f"the axes {[list(axis) for axis in given.axes]} of its box are not at right angles.")
    first, last = np.array(given.corners, dtype=np.float64)
    # Voxels are counted with their own extent.
    half = np.abs(axes @ (last - first)) / 2 + (0.5 if frame == "voxel" else 0.0)
    if not (np.isfinite(half).all() and (half > 0).all()):
        raise ValueError(f"its box from {first.tolist()} to {last.tolist()} is flat. Give it an extent on each axis.")

    def place(position: np.ndarray) -> np.ndarray:
        x, y, z = (float(value) for value in position)
        return np.array(click_at((x, y, z), frame, image).position)

    centre = (first + last) / 2
    middle = place(centre)
    sides = [tuple((place(centre + reach * axis) - middle).tolist()) for reach, axis in zip(half, axes, strict=True)]
    box = Box(centre=tuple(middle.tolist()), half_sides=(sides[0], sides[1], sides[2]))
    if not Region.of_box(box, image.shape).inside.any():
        box = box.within(image.shape)  # It may lie between the middles of two slices.
    if not Region.of_box(box, image.shape).inside.any():
        raise ValueError(f"its box from {first.tolist()} to {last.tolist()} ({frame}) {_OUTSIDE}")
    return box


def lies_in(image: CaseImage, click: Click) -> bool:
    """Tells whether a click (in canonical voxels) lies in a voxel of the image."""
    return all(-0.5 <= p <= n - 0.5 for p, n in zip(click.position, image.shape, strict=True))


def positive_first(clicks: Sequence[Click]) -> tuple[Click, ...]:
    """Moves the first positive click ahead of all others, since it says where to look."""
    first = next((index for index, click in enumerate(clicks) if click.positive), 0)
    return (*clicks[first : first + 1], *clicks[:first], *clicks[first + 1 :])


def prompt_in_box(box: Box, image: CaseImage) -> tuple[Click, Region]:
    """Returns the click that a box stands for where nobody clicks, and the region that it allows.

    The network was never shown boxes. Its middle is clicked on, or that of its part within the image.
    """
    region = Region.of_box(box, image.shape)
    middle = Click(position=box.centre)
    if not lies_in(image, middle):
        spots = np.argwhere(region.inside)
        nearest = spots[np.argmin(np.abs(spots - spots.mean(axis=0)).sum(axis=1))] + np.array(region.start)
        middle = Click(position=(float(nearest[0]), float(nearest[1]), float(nearest[2])))
    return middle, region


def _suggested(path: Path, target: FileTarget, frame: Frame, image: CaseImage) -> tuple[Click | None, Region | None]:
    """Returns the click and the region that a target's box or mask stands for.

    Raises:
        ValueError: they cannot be used.
    """
    if target.box is not None:
        return prompt_in_box(box_at(target.box, frame, image), image)
    if target.mask is None:
        return None, None
    coarse = CoarseMask.read(mask_path(path, target.mask), image)
    mask = coarse.where(None if target.mask.value is None else [target.mask.value])
    said = target.mask.file if target.mask.value is None else f"{target.mask.file}, value {target.mask.value},"
    if not mask.any():
        raise ValueError(f"its mask {said} is empty.")
    (click,) = coarse.clicks(mask, np.random.default_rng(zlib.crc32(path.name.encode())))
    if not lies_in(image, click):
        raise ValueError(f"its mask {said} lies outside the image.")
    return click, coarse.near(mask)
