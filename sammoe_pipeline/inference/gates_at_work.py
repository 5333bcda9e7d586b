"""The gates of a mixture at work: they read clicks in a case and say how confident they are of each expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sammoe_pipeline.artefacts import MixtureDataset, MixtureExpert
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.prompt_description import describe, gate_configurations
from sammoe_pipeline.inference.routing import GENERAL, LEAST_CONFIDENCE, expert_key
from sammoe_pipeline.model.gate import Gate


@dataclass(frozen=True)
class GatesAtWork:
    """The gates of the loaded folds; their confidences are averaged.

    Attributes:
        foundation: gives the native configuration.
        datasets: of the mixture, in the gate's order.
        experts: likewise.
        gates: one a fold.
    """

    foundation: Foundation
    datasets: Sequence[MixtureDataset]
    experts: Sequence[MixtureExpert]
    gates: Sequence[Gate]

    def confidences(self, case: EncodedCase, clicks: Sequence[Click], votes: Sequence[float]) -> dict[str, float]:
        """Judges a prompt that may mean anything; configurations of datasets that it cannot be of are not looked at.

        Args:
            case: the image.
            clicks: in canonical voxels.
            votes: what each click counts, as in `Gate.confidences`.

        Returns:
            By expert key and of `GENERAL`, summing to 1.
        """
        descriptions = self._described(case, clicks, [0])
        with torch.inference_mode():
            shares = torch.stack([gate.shares(descriptions[:, :, 0], votes)[0] for gate in self.gates]).mean(dim=0)
            likely = [index for index, share in enumerate(shares.tolist()) if share >= LEAST_CONFIDENCE]
            told = [self.gates[0].datasets[index] for index in likely]
            descriptions = self._described(case, clicks, sorted({0}.union(*(one.everything for one in told))))
            each = [gate.confidences(descriptions, likely, votes)[0] for gate in self.gates]
        keys = [GENERAL, *(expert_key(expert.dataset, expert.task) for expert in self.experts)]
        return dict(zip(keys, torch.stack(each).mean(dim=0).tolist(), strict=True))

    def confidences_in(
        self, case: EncodedCase, clicks: Sequence[Click], votes: Sequence[float], *, dataset: str, key: str
    ) -> dict[str, float]:
        """Judges a prompt that is said to mean a class: its expert and the general one are the choice.

        Args:
            case: the image.
            clicks: in canonical voxels.
            votes: as in `confidences`.
            dataset: whose class it is.
            key: of the expert that serves the class.

        Returns:
            Of `GENERAL` and of the expert, summing to 1.
        """
        _, indices = gate_configurations(self.foundation, self.experts)
        member = [one.dataset for one in self.datasets].index(dataset)
        expert = [expert_key(one.dataset, one.task) for one in self.experts].index(key)
        descriptions = self._described(case, clicks, sorted({0, indices[expert]}))
        with torch.inference_mode():
            each = [gate.confidence_of(descriptions, dataset=member, expert=expert, votes=votes) for gate in self.gates]
        confidence = float(torch.stack(each).mean())
        return {GENERAL: 1 - confidence, key: confidence}

    def _described(self, case: EncodedCase, clicks: Sequence[Click], needed: Sequence[int]) -> Tensor:
        """Returns (1, N, K, F), zeros in the configurations that are not needed."""
        configurations, _ = gate_configurations(self.foundation, self.experts)
        found = describe(case, clicks, [configurations[index] for index in needed])
        descriptions = found.new_zeros(1, len(clicks), len(configurations), found.shape[2])
        descriptions[0, :, list(needed)] = found
        return descriptions
