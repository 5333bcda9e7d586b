"""A published or user-trained `.pth` made a foundation. A pickle is a program: nothing in it is ever run."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sammoe_pipeline.artefacts import FoundationCard, sha256_of
from sammoe_pipeline.atomic import atomic_folder
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundation_weights import require_fit
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATION_WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

_STATE = "model_state_dict"


def convert_checkpoint(
    path: Path,
    folder: Path,
    *,
    builder: str,
    spacing_mm: float,
    normalisation: Literal["positive", "equalised"],
    trained_on: tuple[str, ...],
    licence: str,
    source: str,
) -> Foundation:
    """Installs the network of a checkpoint as a foundation.

    Args:
        path: the `.pth`: a state dict, or a training checkpoint that holds one as `model_state_dict`.
        folder: of the new foundation, which gets the folder's name; must not exist.
        builder: name of the network in `sammoe_pipeline.model.BUILDERS`.
        spacing_mm: native isotropic spacing.
        normalisation: name in `sammoe_pipeline.normalisation.NORMALISATIONS`.
        trained_on: datasets whose cases it has seen.
        licence: of the weights.
        source: where they came from.

    Raises:
        UsageError: there is no such builder.
        ArtefactError: the file cannot be read, holds more than weights and plain values, or does not fit the builder.
    """
    import torch
    from safetensors.torch import save_file

    from sammoe_pipeline.model import build_sam_med3d

    try:
        with torch.device("meta"):
            model = build_sam_med3d(builder)
    except ValueError as error:
        raise UsageError(f"--builder: {error}") from error
    state = read_weights(path)
    require_fit(state, model.state_dict(), path=path, network=f"builder '{builder}'")
    with atomic_folder(folder) as temporary:
        weights = temporary / FOUNDATION_WEIGHTS
        # A checkpoint may hold views of shared memory, which safetensors refuses.
        save_file({name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}, weights)
        card = FoundationCard(
            name=folder.name,
            builder=builder,
            spacing_mm=spacing_mm,
            patch_size=model.patch_size,
            normalisation=normalisation,
            trained_on=trained_on,
            sha256=sha256_of(weights),
            licence=licence,
            source=source,
            for_research_only=False,
        )
        card.save(temporary / FOUNDATION_JSON)
    return Foundation(card=card, folder=folder)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Reads the state dict of a checkpoint onto the CPU.

    Beside tensors and plain values an `argparse.Namespace` is accepted, which the public training code stores: it only
    holds attributes. Everything else is refused before it is made.

    Raises:
        ArtefactError: the file is missing, broken, asks for anything else, or holds no state dict.
    """
    import torch

    if not path.is_file():
        raise ArtefactError(f"{path} does not exist. Give the .pth file to convert.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it asks for {asked[1]}, which no weights need" if asked else str(error).split("\n")[0]
        raise ArtefactError(
            f"{path} was refused, and nothing in it was run: {what}. Take weights from a source that you trust, or "
            f"save the network's state dict alone with torch.save."
        ) from error
    except Exception as error:  # What torch raises depends on where a file is broken.
        raise ArtefactError(f"{path} cannot be read as a checkpoint ({error}). Copy or download it again.") from error
    state = content.get(_STATE, content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        held = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ArtefactError(f"{path} holds no state dict, neither itself nor as {_STATE!r}, but: {held[:300]}.")
    return state
