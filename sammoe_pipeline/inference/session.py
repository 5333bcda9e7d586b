"""An image open for prompts, for programs and viewers: what was computed is kept, and a click can be taken back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import UsageError, did_you_mean
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.image_kinds import Image, like, to_volume
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass, output_classes
from sammoe_pipeline.inference.prompt_files import FileBox, Frame
from sammoe_pipeline.inference.prompts import Interaction, box_at, click_at, lies_in, positive_first, prompt_in_box
from sammoe_pipeline.inference.region import Box
from sammoe_pipeline.inference.routing import Routing

FIRST_TARGET = "target_1"
_FREE_TARGET = re.compile(r"target_\d+")


class Session:
    """An image and the clicks and boxes made in it. `Mixture.open` makes one.

    Each window of the image is encoded once, whoever is asked about it, and every click adds one decoding to those that
    are kept.

    Args:
        mixture: what answers.
        image: an array (x, y, z), a SimpleITK or a nibabel image; or a sequence of these, one a channel.
        affine: of an array, 4 x 4, voxel index to millimetres in RAS+.
        spacing_mm: of an array, in place of its affine: its axes are then taken to run along RAS+.
        dataset: folder name of the dataset whose classes can be clicked on; all of the mixture's by default.

    Raises:
        UsageError: the image cannot be used, as in `to_volume`, or the mixture does not hold the dataset.

    Example:
        >>> session = mixture.open(SimpleITK.ReadImage("case_0000.nii.gz"))  # doctest: +SKIP
        >>> session.click((120, 88, 40))  # doctest: +SKIP
        >>> session.click((96, 80, 40), positive=False)  # doctest: +SKIP
        >>> mask = session.mask()  # doctest: +SKIP
    """

    def __init__(
        self,
        mixture: Mixture,
        image: Image | Sequence[Image],
        *,
        affine: NDArray[np.float64] | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        dataset: str | None = None,
    ) -> None:
        channels = image if isinstance(image, list | tuple) else [image]
        volumes = [to_volume(channel, affine=affine, spacing_mm=spacing_mm) for channel in channels]
        self._mixture = mixture
        self._given, self._volume = channels[0], volumes[0]
        self._case = mixture.encode(CaseImage(volumes))
        self._classes = {c.label: c for c in output_classes(mixture, dataset)}
        self._prompts: list[tuple[OutputClass, Click | Box]] = []
        self._routings: dict[tuple[OutputClass, tuple[Click, ...]], Routing] = {}

    def click(
        self,
        position: tuple[float, float, float],
        *,
        positive: bool = True,
        target: str = FIRST_TARGET,
        frame: Frame = "voxel",
    ) -> None:
        """Adds a click.

        Args:
            position: voxels (x, y, z) of the image as it was given, or millimetres.
            positive: on the target, or on what is not to be included.
            target: a class of the mixture, which its expert or the general one may answer; or `target_1`, `target_2`,
                ... for things without one, which any expert may answer. A mixture without classes takes any name.
            frame: of the position: "voxel", "RAS" or "LPS".

        Raises:
            UsageError: the click lies outside the image, or there is no such class.
        """
        output = self._output(target)
        x, y, z = (float(value) for value in position)
        click = click_at((x, y, z), frame, self._case.image, positive=positive)
        if not lies_in(self._case.image, click):
            raise UsageError(
                f"The click at {(x, y, z)} ({frame}) lies outside the image of {self._volume.data.shape} voxels. "
                f"Check the frame: NIfTI is RAS, SimpleITK, 3D Slicer and DICOM are LPS."
            )
        self._prompts.append((output, click))

    def box(
        self,
        first: tuple[float, float, float],
        last: tuple[float, float, float],
        *,
        target: str = FIRST_TARGET,
        frame: Frame = "voxel",
    ) -> None:
        """Draws a box around a target: the mask stays within it. Without a click, the middle of the box is clicked on.

        A later box of the same target takes the place of an earlier one.

        Args:
            first: a corner, in voxels (x, y, z) of the image as it was given, or in millimetres.
            last: the opposite corner. Both voxels are inside.
            target: as in `click`.
            frame: of the corners, along whose axes the box runs: "voxel", "RAS" or "LPS".

        Raises:
            UsageError: the box is flat or lies outside the image, or there is no such class.
        """
        output = self._output(target)
        try:
            made = box_at(FileBox(corners=(first, last)), frame, self._case.image)
        except ValueError as error:
            raise UsageError(f"target {target!r}: {error}") from error
        self._prompts.append((output, made))

    def undo(self) -> None:
        """Takes the last click or box back, of whichever target it was.

        Raises:
            UsageError: there is none.
        """
        if not self._prompts:
            raise UsageError("There is no click or box to take back.")
        self._prompts.pop()

    def mask(self, target: str = FIRST_TARGET) -> Any:
        """Segments a target with its clicks and its box so far.

        Args:
            target: as in `click`.

        Returns:
            A mask on the grid and of the kind of the image: an array of bool, or an image of 0 and 1. It is empty until
            a positive click or a box is made.

        Raises:
            UsageError: there is no such class.
        """
        output = self._output(target)
        found = np.zeros(self._case.image.shape, dtype=np.bool_)
        prompt = self._prompt_on(output)
        if prompt is not None:
            answer = output.answer(self._mixture, self._case, prompt, self._route(output, prompt))
            found = answer.mask()
        return like(self._given, self._case.image.orientation.from_canonical(found), self._volume)

    def routing(self, target: str = FIRST_TARGET) -> Routing | None:
        """Tells who answers for a target, and how sure the gate is; None until a positive click or a box is
        made.

        Raises:
            UsageError: there is no such class.
        """
        output = self._output(target)
        prompt = self._prompt_on(output)
        return None if prompt is None else self._route(output, prompt)

    def _output(self, target: str) -> OutputClass:
        if target in self._classes:
            return self._classes[target]
        if self._classes and not _FREE_TARGET.fullmatch(target):
            raise UsageError(
                f"target {target!r}: the mixture has no such class.{did_you_mean(target, self._classes)} It has: "
                f"{', '.join(self._classes)}. Things without a class are target_1, target_2, ..."
            )
        return OutputClass(dataset="", name=target, label=target, value=1)

    def _prompt_on(self, output: OutputClass) -> Interaction | None:
        """Returns the prompts on a target, the first positive click ahead; None where nothing says where it is."""
        given = [prompt for prompted, prompt in self._prompts if prompted == output]
        clicks = [prompt for prompt in given if isinstance(prompt, Click)]
        boxes = [prompt for prompt in given if isinstance(prompt, Box)]
        region = None
        if boxes:
            middle, region = prompt_in_box(boxes[-1], self._case.image)
            if not any(click.positive for click in clicks):
                clicks.append(middle)
        return Interaction(positive_first(clicks), region) if any(click.positive for click in clicks) else None

    def _route(self, output: OutputClass, prompt: Interaction) -> Routing:
        key = (output, prompt.clicks)
        if key not in self._routings:
            self._routings[key] = output.route(self._mixture, self._case, prompt)
        return self._routings[key]
