"""An image open for clicks, for programs and viewers: what was computed is kept, and a click can be taken back."""

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
from sammoe_pipeline.inference.prompts import Frame, click_at, lies_in, positive_first
from sammoe_pipeline.inference.routing import Routing

FIRST_TARGET = "target_1"
_FREE_TARGET = re.compile(r"target_\d+")


class Session:
    """An image and the clicks made in it. `Mixture.open` makes one.

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
        self._clicks: list[tuple[OutputClass, Click]] = []
        self._routings: dict[tuple[OutputClass, Click], Routing] = {}

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
        self._clicks.append((output, click))

    def undo(self) -> None:
        """Takes the last click back, on whichever target it was.

        Raises:
            UsageError: there is none.
        """
        if not self._clicks:
            raise UsageError("There is no click to take back.")
        self._clicks.pop()

    def mask(self, target: str = FIRST_TARGET) -> Any:
        """Segments a target with its clicks so far.

        Args:
            target: as in `click`.

        Returns:
            A mask on the grid and of the kind of the image: an array of bool, or an image of 0 and 1. It is empty until
            a positive click is made.

        Raises:
            UsageError: there is no such class.
        """
        output = self._output(target)
        found = np.zeros(self._case.image.shape, dtype=np.bool_)
        clicks = self._clicks_on(output)
        if clicks:
            answer = output.answer(self._mixture, self._case, clicks, self._route(output, clicks))
            found = answer.mask()
        return like(self._given, self._case.image.orientation.from_canonical(found), self._volume)

    def routing(self, target: str = FIRST_TARGET) -> Routing | None:
        """Tells who answers for a target, and how sure the gate is; None until a positive click is made.

        Raises:
            UsageError: there is no such class.
        """
        output = self._output(target)
        clicks = self._clicks_on(output)
        return self._route(output, clicks) if clicks else None

    def _output(self, target: str) -> OutputClass:
        if target in self._classes:
            return self._classes[target]
        if self._classes and not _FREE_TARGET.fullmatch(target):
            raise UsageError(
                f"target {target!r}: the mixture has no such class.{did_you_mean(target, self._classes)} It has: "
                f"{', '.join(self._classes)}. Things without a class are target_1, target_2, ..."
            )
        return OutputClass(dataset="", name=target, label=target, value=1)

    def _clicks_on(self, output: OutputClass) -> tuple[Click, ...]:
        """Returns the clicks on a target, the first positive one ahead; none where there is no positive one."""
        clicks = [click for clicked, click in self._clicks if clicked == output]
        return positive_first(clicks) if any(click.positive for click in clicks) else ()

    def _route(self, output: OutputClass, clicks: Sequence[Click]) -> Routing:
        key = (output, clicks[0])
        if key not in self._routings:
            self._routings[key] = output.route(self._mixture, self._case, clicks)
        return self._routings[key]
