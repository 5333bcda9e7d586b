"""Where foundations live, and loading one without ever changing it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.artefacts import Configuration, FoundationCard, sha256_of
from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.errors import ArtefactError, UsageError, did_you_mean
from sammoe_pipeline.foundation_weights import require_fit
from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATION_WEIGHTS, FOUNDATIONS, safe_name
from sammoe_pipeline.published_foundations import PUBLISHED

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

    def load_model(self, device: torch.device | str = "cpu", encoder: EncoderOptions = EXACT) -> SamMed3D:
        """Builds the network with the foundation's weights, frozen and in evaluation mode.

        Where the card names another patch size than the weights were trained at, tables of positions are resized.

        Args:
            device: where the network goes.
            encoder: how its image encoder computes.

        Raises:
            ArtefactError: the weights are missing, are not the ones that the card names, or do not fit its builder; or
                there is no such builder.
        """
        import torch
        from safetensors.torch import load_file

        from sammoe_pipeline.model import build_sam_med3d, resize_tables

        check_hash(self.weights, self.card.sha256)
        try:
            with torch.device("meta"):
                model = build_sam_med3d(self.card.builder, self.card.patch_size)
        except ValueError as error:
            raise ArtefactError(f"{self.folder / FOUNDATION_JSON}: {error}") from error
        expected = model.state_dict()
        state = {name: value.float() for name, value in load_file(self.weights).items()}
        state = resize_tables(state, expected)
        require_fit(state, expected, path=self.weights, network=f"builder '{self.card.builder}'")
        model.load_state_dict(state, strict=True, assign=True)
        model.requires_grad_(False).eval().to(device)
        encoder.apply(model)
        return model

    def verify(self) -> SamMed3D:
        """Loads the network with every check that loading makes, and looks at every value.

        Raises:
            ArtefactError: as in `load_model`, or a value is not finite.
        """
        import torch

        model = self.load_model()
        strange = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
        if strange:
            raise ArtefactError(
                f"{self.weights} has values that are NaN or infinite, in {strange[0]} and {len(strange) - 1} other "
                f"weights. Its training went wrong: take an earlier checkpoint."
            )
        return model


def find_foundation(name: str | None, results: Path) -> Foundation:
    """Finds a foundation by name or folder.

    Args:
        name: a folder that holds a `foundation.json`, the name of one trained into `results`, or of a bundled one. None
            takes `sammoe_default_foundation` from the environment, else `tiny`.
        results: the results root, where trained foundations lie.

    Raises:
        UsageError: there is none of that name; the message lists those there are.
    """
    wanted = name or default_foundation()
    candidates = [Path(wanted).expanduser(), *(place / wanted for place in _places(results))]
    for folder in candidates:
        if (folder / FOUNDATION_JSON).is_file():
            return Foundation(card=FoundationCard.load(folder / FOUNDATION_JSON), folder=folder)
    asked = f"--foundation {wanted!r}" if name else f"{DEFAULT_VARIABLE}={wanted}"
    if wanted in PUBLISHED:
        raise UsageError(f"{asked}: it is not installed. Install it with: sammoe_foundation download {wanted}")
    known = sorted({folder.name for folder in foundation_folders(results)} | set(PUBLISHED))
    raise UsageError(
        f"{asked}: there is no such foundation.{did_you_mean(wanted, known)} Known: {', '.join(known)}; or give a "
        f"folder that holds {FOUNDATION_JSON}."
    )


def default_foundation() -> str:
    """Returns the name or folder of the foundation that serves where none is given."""
    return os.environ.get(DEFAULT_VARIABLE) or "tiny"


def foundation_folders(results: Path) -> list[Path]:
    """Returns the folders of all foundations, those under `results` first; one that is being written is left out."""
    cards = (card for place in _places(results) for card in sorted(place.glob(f"[!.]*/{FOUNDATION_JSON}")))
    return [card.parent for card in cards]


def new_foundation_folder(name: str, results: Path) -> Path:
    """Returns the folder of a foundation that is to be installed.

    Raises:
        UsageError: a foundation, or its folder, has that name already, or it is not fit to be a folder's name.
    """
    if name != safe_name(name):
        raise UsageError(f"--name {name!r}: a name has letters, digits, '_' and '-' only, such as {safe_name(name)}.")
    for place in _places(results):
        if (place / name).exists():
            raise UsageError(
                f"{place / name} exists already and is never overwritten. Give another --name"
                + ("." if place == _BUNDLED else ", or remove that folder first.")
            )
    return results / FOUNDATIONS / name


def _places(results: Path) -> list[Path]:
    return [results / FOUNDATIONS, _BUNDLED]


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
