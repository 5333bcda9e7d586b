"""A mixture at work: the foundation, its experts, the gate that joins them and the locators that prompt them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Configuration, MixtureCard, MixtureDataset, MixtureExpert
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.device import choose_device
from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.errors import ArtefactError, UsageError, did_you_mean
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.geometry import Bounds, spacing_of
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.corrections import decide
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.gates_at_work import GatesAtWork
from sammoe_pipeline.inference.routing import GENERAL, Routing, expert_key
from sammoe_pipeline.inference.segment import Answer, blend
from sammoe_pipeline.inference.stored_networks import load_experts, load_gates, load_locators
from sammoe_pipeline.model import MaskDecoder, SamMed3D
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.paths import MIXTURE_JSON, Results, find_results

if TYPE_CHECKING:
    from sammoe_pipeline.inference.image_kinds import Image
    from sammoe_pipeline.inference.session import Session

logger = logging.getLogger(__name__)

DEFAULT = "default"
"""Name of the mixture that is used where none is named."""


@dataclass
class Mixture:
    """A loaded mixture. One without experts is the foundation alone.

    Attributes:
        foundation: its card and folder.
        model: the foundation's network, frozen.
        card: the mixture's, or None for the foundation alone.
        experts: the experts in the gate's order.
        decoders: by expert key, one decoder a loaded fold.
        gates: one a loaded fold.
        locators: by dataset, one a loaded fold.
        folds: that were loaded.
        encoder: how the image encoder computes.
    """

    foundation: Foundation
    model: SamMed3D
    card: MixtureCard | None = None
    experts: tuple[MixtureExpert, ...] = ()
    decoders: dict[str, list[MaskDecoder]] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)
    locators: dict[str, list[Locator]] = field(default_factory=dict)
    folds: tuple[int, ...] = ()
    encoder: EncoderOptions = EXACT

    @classmethod
    def load(
        cls,
        name: str = DEFAULT,
        *,
        foundation: Foundation | str | None = None,
        results: Path | None = None,
        device: str | None = None,
        folds: Sequence[int] | None = None,
        encoder: EncoderOptions = EXACT,
    ) -> Mixture:
        """Loads a mixture, checking every weight against the hash that its card names.

        Args:
            name: the mixture's.
            foundation: what it belongs to, or its name or folder; by default that of the commands.
            results: root of results; by default that of the commands.
            device: "cuda" or "cpu"; by default "cuda" where there is a card.
            folds: mixture folds to load; all of them by default.
            encoder: how the image encoder computes.

        Raises:
            ArtefactError: the card or a weight is missing, was changed, or belongs to another foundation.
            UsageError: there is no such mixture or fold.

        Example:
            >>> mixture = Mixture.load("default")  # doctest: +SKIP
            >>> session = mixture.open(nibabel.load("case_0000.nii.gz"))  # doctest: +SKIP
        """
        foundation, results, device = _found(foundation, results, device)
        places = Results(root=results, foundation=foundation.card.name)
        folder = places.mixture(name)
        if not (folder / MIXTURE_JSON).is_file():
            known = sorted(path.parent.name for path in folder.parent.glob(f"*/{MIXTURE_JSON}"))
            raise UsageError(
                f"-m {name!r}: there is no such mixture in {folder.parent}.{did_you_mean(name, known)} "
                f"There are: {', '.join(known) or 'none'}. Make one with sammoe_train_gate -m {name}"
            )
        card = MixtureCard.load(folder / MIXTURE_JSON)
        if card.foundation_sha256 != foundation.card.sha256:
            raise ArtefactError(
                f"{folder / MIXTURE_JSON} belongs to foundation weights {card.foundation_sha256[:12]}..., not to "
                f"'{foundation.card.name}' ({foundation.card.sha256[:12]}...). Choose its own with --foundation."
            )
        wanted = card.folds if folds is None else tuple(folds)
        if missing := [fold for fold in wanted if fold not in card.folds]:
            raise UsageError(f"-f {missing[0]}: mixture '{name}' has folds {', '.join(map(str, card.folds))}.")
        model = foundation.load_model(device, encoder)
        return cls(
            foundation=foundation,
            model=model,
            card=card,
            experts=card.experts,
            decoders=load_experts(model, card.experts, wanted, places),
            gates=load_gates(name, foundation, model, card, wanted, places),
            locators=load_locators(model, card.datasets, wanted, places),
            folds=wanted,
            encoder=encoder,
        )

    @classmethod
    def load_or_general(
        cls,
        name: str | None = None,
        *,
        foundation: Foundation | str | None = None,
        results: Path | None = None,
        device: str | None = None,
        folds: Sequence[int] | None = None,
        encoder: EncoderOptions = EXACT,
    ) -> Mixture:
        """Loads a mixture as `load` does; where none was named and there is no `default`, the foundation alone."""
        foundation, results, device = _found(foundation, results, device)
        places = Results(root=results, foundation=foundation.card.name)
        if name is None and not (places.mixture(DEFAULT) / MIXTURE_JSON).is_file():
            logger.warning("There is no mixture '%s': foundation '%s' answers alone", DEFAULT, foundation.card.name)
            return cls(foundation=foundation, model=foundation.load_model(device, encoder), encoder=encoder)
        return cls.load(
            name or DEFAULT, foundation=foundation, results=results, device=device, folds=folds, encoder=encoder
        )

    @property
    def device(self) -> torch.device:
        """On which it computes."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> None:
        """Moves all networks to a device; cases that are encoded already stay where they are."""
        decoders = [decoder for folds in self.decoders.values() for decoder in folds]
        locators = [locator for folds in self.locators.values() for locator in folds]
        for network in (self.model, *decoders, *self.gates, *locators):
            network.to(device)

    def open(
        self,
        image: Image | Sequence[Image],
        *,
        affine: NDArray[np.float64] | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        dataset: str | None = None,
    ) -> Session:
        """Opens an image for clicks.

        Args:
            image: an array (x, y, z), a SimpleITK or a nibabel image; or a sequence of these, one a channel.
            affine: of an array, 4 x 4, voxel index to millimetres in RAS+.
            spacing_mm: of an array, in place of its affine: its axes are then taken to run along RAS+.
            dataset: ID or name of the dataset whose classes can be clicked on; all of the mixture's by default.

        Raises:
            UsageError: the image is of another kind, is not three-dimensional, or does not say where it lies; or the
                mixture does not hold the dataset.
        """
        from sammoe_pipeline.inference.session import Session

        return Session(
            self, image, affine=affine, spacing_mm=spacing_mm, dataset=self.dataset_named(dataset) if dataset else None
        )

    def encode(self, image: CaseImage, *, sparing: bool = False) -> EncodedCase:
        """Prepares a case for prompts; windows are embedded when they are first looked at.

        Args:
            image: the case.
            sparing: keep little in the memory of the device.
        """
        normalisation = self.foundation.card.normalisation
        return EncodedCase(image, model=self.model, normalisation=normalisation, sparing=sparing)

    def member(self, dataset: str) -> MixtureDataset:
        """Returns a member dataset's entry.

        Raises:
            UsageError: the mixture does not hold it.
        """
        members = self.card.datasets if self.card else ()
        found = next((member for member in members if member.dataset == dataset), None)
        if found is None:
            names = [member.dataset for member in members]
            raise UsageError(
                f"-d {dataset}: the mixture does not hold it.{did_you_mean(dataset, names)} It holds: "
                f"{', '.join(names) or 'no dataset'}. Refit it with sammoe_train_gate."
            )
        return found

    def dataset_named(self, dataset: str) -> str:
        """Returns the folder name of a member dataset by ID or name.

        Raises:
            UsageError: the mixture does not hold it.
        """
        wanted = dataset.strip("'\" ")
        for member in self.card.datasets if self.card else ():
            number, _, short = member.dataset.removeprefix("Dataset").partition("_")
            if wanted in (member.dataset, short) or (wanted.isdigit() and int(wanted) == int(number)):
                return member.dataset
        return self.member(wanted).dataset

    def expert_of(self, dataset: str, class_name: str) -> str | None:
        """Returns the key of the expert that serves a class, or None where the general expert does."""
        members = self.card.datasets if self.card else ()
        return next((member.experts.get(class_name) for member in members if member.dataset == dataset), None)

    def route(
        self,
        case: EncodedCase,
        clicks: Sequence[Click],
        *,
        dataset: str | None = None,
        class_name: str | None = None,
        answer: Callable[[Sequence[Click], Routing], Answer] | None = None,
    ) -> Routing:
        """Lets the gate decide who answers a prompt: by its first click, and again by those that find the answer wrong.

        Args:
            case: the image.
            clicks: in canonical voxels, in the order in which they were made; the first is positive.
            dataset: restricts the candidates to the expert of `class_name` in this dataset, beside the general one.
            class_name: what the prompt is said to mean, if it is said.
            answer: to the clicks so far, as whom the gate chose gives it; by default as `answer` does, the general
                expert in native.
        """
        if not self.experts or not self.gates or self.card is None:
            return Routing(confidences={GENERAL: 1.0}, chosen={})
        gates = GatesAtWork(self.foundation, self.card.datasets, self.experts, self.gates)
        if dataset is None or class_name is None:
            judge = partial(gates.confidences, case)
        elif (key := self.expert_of(dataset, class_name)) is not None:
            judge = partial(gates.confidences_in, case, dataset=dataset, key=key)
        else:
            return Routing(confidences={GENERAL: 1.0}, chosen={})
        return decide(
            clicks,
            judge,
            answer or partial(self.answer, case, general_configuration=self.foundation.native),
            spacing_mm=spacing_of(case.image.affine),
            thresholds={expert_key(expert.dataset, expert.task): expert.threshold for expert in self.experts},
            top_k=self.card.top_k,
        )

    def answer(
        self, case: EncodedCase, clicks: Sequence[Click], routing: Routing, *, general_configuration: Configuration
    ) -> Answer:
        """Answers a prompt as the gate decided.

        Args:
            case: the image.
            clicks: in canonical voxels.
            routing: the decision.
            general_configuration: in which the general expert answers, where it does.

        Returns:
            Logits on the canonical grid.
        """
        if not routing.chosen:
            return case.answer(clicks, general_configuration)
        return self.expert_answers(case, clicks, routing)

    def expert_answers(
        self, case: EncodedCase, clicks: Sequence[Click], routing: Routing, *, within: Bounds | None = None
    ) -> Answer:
        """Answers with the experts that the gate chose, weighted as it said.

        Args:
            case: the image.
            clicks: in canonical voxels.
            routing: the decision, for at least one expert.
            within: in canonical voxels; masks are not followed out of there.
        """
        answers = [self.expert_answer(case, clicks, key, within=within) for key in routing.chosen]
        return answers[0] if len(answers) == 1 else blend(answers, list(routing.chosen.values()))

    def expert_answer(
        self, case: EncodedCase, clicks: Sequence[Click], key: str, *, within: Bounds | None = None
    ) -> Answer:
        """Segments with one expert, its folds' logits averaged."""
        return case.answer(clicks, self.expert(key).configuration, self.decoders[key], within=within)

    def expert(self, key: str) -> MixtureExpert:
        """Returns the expert of a key."""
        return next(e for e in self.experts if expert_key(e.dataset, e.task) == key)


def _found(
    foundation: Foundation | str | None, results: Path | None, device: str | None
) -> tuple[Foundation, Path, str]:
    """Fills in what the commands would take where nothing is said."""
    root = find_results() if results is None else results
    if not isinstance(foundation, Foundation):
        foundation = find_foundation(foundation, root)
    return foundation, root, device or choose_device(None)
