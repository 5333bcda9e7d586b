"""A case encoded once for everyone who answers prompts in it."""

from __future__ import annotations

from collections.abc import Sequence

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.recent import Recent
from sammoe_pipeline.inference.segment import Answer, segment
from sammoe_pipeline.model import MaskDecoder, SamMed3D, at_patch_size

_KEPT_ANSWERS = 16


class EncodedCase:
    """A case encoded in each configuration that is asked for, shared by all decoders.

    Args:
        image: the case.
        model: the foundation.
        normalisation: of windows.
    """

    def __init__(self, image: CaseImage, *, model: SamMed3D, normalisation: str) -> None:
        self.image = image
        self._model = model
        self._normalisation = normalisation
        self._encoded: dict[tuple[float, int, int], EncodedImage] = {}
        self._answers = Recent[tuple[Configuration, tuple[Click, ...], tuple[MaskDecoder | None, ...]], Answer](
            _KEPT_ANSWERS
        )

    def at(self, configuration: Configuration) -> EncodedImage:
        """Returns the case in a configuration."""
        key = (configuration.spacing_mm, configuration.patch_size, configuration.channel)
        if key not in self._encoded:
            self._encoded[key] = EncodedImage(
                self.image.in_configuration(configuration),
                model=at_patch_size(self._model, configuration.patch_size),
                normalisation=self._normalisation,
            )
        return self._encoded[key]

    def answer(
        self,
        clicks: Sequence[Click],
        configuration: Configuration,
        decoders: Sequence[MaskDecoder | None] = (None,),
    ) -> Answer:
        """Segments what clicks (in canonical voxels) point at; the answer lies on the canonical grid of the image."""

        def make() -> Answer:
            local = [self.image.click_in_configuration(click, configuration) for click in clicks]
            return segment(self.at(configuration), local, decoders).on(self.image.shape)

        return self._answers.get((configuration, tuple(clicks), tuple(decoders)), make)
