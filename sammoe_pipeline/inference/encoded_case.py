"""A case encoded once for everyone who answers prompts in it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.geometry import Bounds
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.recent import Recent
from sammoe_pipeline.inference.segment import Answer, segment
from sammoe_pipeline.model import MaskDecoder, SamMed3D, at_patch_size

_KEPT_ANSWERS = 16

_Question = tuple[Configuration, tuple[Click, ...], tuple[MaskDecoder | None, ...], Bounds | None]


class EncodedCase:
    """A case encoded in each configuration that is asked for, shared by all decoders.

    Args:
        image: the case.
        model: the foundation.
        normalisation: of windows.
        sparing: see `EncodedImage`.

    Attributes:
        image: the case.
        descriptions: of clicks in configurations, as far as the gate has asked for them.
    """

    def __init__(self, image: CaseImage, *, model: SamMed3D, normalisation: str, sparing: bool = False) -> None:
        self.image = image
        self.descriptions: dict[tuple[Click, tuple[float, int, int]], Tensor] = {}
        self._model = model
        self._normalisation = normalisation
        self._sparing = sparing
        self._encoded: dict[tuple[float, int, int], EncodedImage] = {}
        self._answers = Recent[_Question, Answer](_KEPT_ANSWERS)

    def at(self, configuration: Configuration) -> EncodedImage:
        """Returns the case in a configuration."""
        key = configuration.shown
        if key not in self._encoded:
            self._encoded[key] = EncodedImage(
                self.image.in_configuration(configuration),
                model=at_patch_size(self._model, configuration.patch_size),
                normalisation=self._normalisation,
                sparing=self._sparing,
            )
        return self._encoded[key]

    def answer(
        self,
        clicks: Sequence[Click],
        configuration: Configuration,
        decoders: Sequence[MaskDecoder | None] = (None,),
        *,
        within: Bounds | None = None,
    ) -> Answer:
        """Segments what clicks point at; the answer lies on the canonical grid of the image.

        Args:
            clicks: in canonical voxels.
            configuration: in which the network looks.
            decoders: that answer; see `segment`.
            within: in canonical voxels; the mask is not followed out of there.
        """

        def make() -> Answer:
            local = [self.image.click_in_configuration(click, configuration) for click in clicks]
            bounds = None if within is None else self.image.bounds_in_configuration(within, configuration)
            return segment(self.at(configuration), local, decoders, within=bounds).on(self.image.shape)

        return self._answers.get((configuration, tuple(clicks), tuple(decoders), within), make)
