"""Where foundations live, and loading one without ever changing it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.artefacts import Configuration, FoundationCard, sha256_of
from sammoe_pipeline.errors import ArtefactError, UsageError, did_you_mean
from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATION_WEIGHTS, FOUNDATIONS

if TYPE_CHECKING:
    import torch

    from sammoe_pipeline.model import SamMed3D

DEFAULT_VARIABLE = "sammoe_default_foundation"
NATIVE = "native"
_BUNDLED = Path(__file__).resolve().parent / "bundled_foundations"


@dataclass(frozen=True)
class Foundation:
    """A foundation's card and folder. Weights are read by `load_model`.

    Attributes:
        card: what it is.
        folder: where card and weights lie.
    """

    card: FoundationCard
    folder: Path

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.folder / FOUNDATION_WEIGHTS

    @property
    def native(self) -> Configuration:
        """The configuration that it was trained in."""
        return Configuration(name=NATIVE, spacing_mm=self.card.spacing_mm, patch_size=self.card.patch_size)

    def load_model(self, device: torch.device | str = "cpu") -> SamMed3D:
        """Builds the network with the foundation's weights, frozen and in evaluation mode.

        Raises:
            ArtefactError: the weights are missing, are not the ones that the card names, or do not fit its builder; or
                there is no such builder.
        """
        import torch
        from safetensors.torch import load_file

        from sammoe_pipeline.model import build_sam_med3d

        check_hash(self.weights, self.card.sha256)
        try:
            with torch.device("meta"):
                model = build_sam_med3d(self.card.builder)
        except ValueError as error:
            raise ArtefactError(f"{self.folder / FOUNDATION_JSON}: {error}") from error
        state = {name: value.float() for name, value in load_file(self.weights).items()}
        try:
            model.load_state_dict(state, strict=True, assign=True)
        except RuntimeError as error:
            raise ArtefactError(f"{self.weights} does not fit builder '{self.card.builder}': {error}") from error
        return model.requires_grad_(False).eval().to(device)


def find_foundation(name: str | None, results: Path) -> Foundation:
    """Finds a foundation by name or folder.

    Args:
        name: a folder that holds a `foundation.json`, the name of one trained into `results`, or of a bundled one. None
            takes `sammoe_default_foundation` from the environment, else `tiny`.
        results: the results root, where trained foundations lie.

    Raises:
        UsageError: there is none of that name; the message lists those there are.
    """
    wanted = name or os.environ.get(DEFAULT_VARIABLE) or "tiny"
    places = [results / FOUNDATIONS, _BUNDLED]
    candidates = [Path(wanted).expanduser(), *(place / wanted for place in places)]
    for folder in candidates:
        if (folder / FOUNDATION_JSON).is_file():
            return Foundation(card=FoundationCard.load(folder / FOUNDATION_JSON), folder=folder)
    known = sorted(card.parent.name for place in places for card in place.glob(f"*/{FOUNDATION_JSON}"))
    raise UsageError(
        f"--foundation {wanted!r}: there is no such foundation.{did_you_mean(wanted, known)} Known: "
        f"{', '.join(known) or 'none'}; or give a folder that holds {FOUNDATION_JSON}."
    )


def check_hash(path: Path, sha256: str) -> None:
    """Refuses a weights file that is not the one a card names.

    Raises:
        ArtefactError: the file is missing or has another SHA-256.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} does not exist. Train or install it again.")
    found = sha256_of(path)
    if found != sha256:
        raise ArtefactError(
            f"{path} has SHA-256 {found[:12]}..., but its card names {sha256[:12]}...: it was changed or belongs to "
            f"something else. Train or install it again."
        )
