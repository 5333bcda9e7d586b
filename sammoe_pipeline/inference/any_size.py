"""In which configuration a thing without a class is segmented: no plan names one, so its size decides."""

from __future__ import annotations

import numpy as np

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.geometry import spacing_of
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.prompts import Interaction

ROOM = 1.6
"""A window is at least this many times as large as the thing in it."""
WORTH_IT = 0.8
"""A finer spacing is at most this share of the one before."""
_STEP = 2**0.5


def configuration_for(case: EncodedCase, prompt: Interaction, native: Configuration) -> Configuration:
    """Chooses the spacing at which the general expert segments what a prompt points at.

    It begins at the native spacing, or at the one at which a window is as large as the whole image, where that is
    finer. What is small there is segmented again at the finest spacing whose window has `ROOM` for it, not finer than
    the image's own. Spacings are half octaves of that one, so that things of like size share their windows.

    Args:
        case: the image.
        prompt: what is known of the thing; a box or a mask tells its size without a first look.
        native: of the foundation.
    """
    spacing_mm = np.array(spacing_of(case.image.affine))
    largest_mm = float((spacing_mm * case.image.shape).max())
    fitting = largest_mm / native.patch_size
    first = _at(fitting, native) if fitting <= WORTH_IT * native.spacing_mm else native
    if prompt.region is not None:
        inside = np.argwhere(prompt.region.inside)
    else:
        inside = np.argwhere(case.answer(prompt.clicks, first).mask())
    if not len(inside):
        return first
    extent_mm = float(((np.ptp(inside, axis=0) + 1) * spacing_mm).max())
    finer = float(spacing_mm.min())
    while finer * native.patch_size < ROOM * extent_mm:
        finer *= _STEP
    return _at(finer, native) if finer <= WORTH_IT * first.spacing_mm else first


def _at(spacing_mm: float, native: Configuration) -> Configuration:
    return Configuration(name=f"{spacing_mm:.3g}mm", spacing_mm=round(spacing_mm, 4), patch_size=native.patch_size)
