"""What prediction gives out: the classes of a mixture, with the names and values that they have in label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.any_size import configuration_for
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.prompts import Interaction
from sammoe_pipeline.inference.routing import Routing
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.model import MaskDecoder


@dataclass(frozen=True)
class OutputClass:
    """A class, or a target that stands for itself.

    Attributes:
        dataset: whose class it is; empty for a target that stands for itself.
        name: in its dataset.
        label: name in the output; with the dataset ahead of it where two datasets share the class name.
        value: in the label map.
    """

    dataset: str
    name: str
    label: str
    value: int

    def route(self, mixture: Mixture, case: EncodedCase, prompt: Interaction) -> Routing:
        """Lets the gate decide who answers: any expert, or only the one that serves the class."""

        def answer(clicks: Sequence[Click], routing: Routing) -> Answer:
            return self.answer(mixture, case, replace(prompt, clicks=tuple(clicks)), routing)

        if not self.dataset:
            return mixture.route(case, prompt.clicks, answer=answer)
        return mixture.route(case, prompt.clicks, dataset=self.dataset, class_name=self.name, answer=answer)

    def general_configuration(self, mixture: Mixture, case: EncodedCase, prompt: Interaction) -> Configuration:
        """Returns in which configuration the general expert answers: the plan's, or one for the size of the thing."""
        if self.dataset:
            return mixture.member(self.dataset).configurations[self.name]
        return configuration_for(case, prompt, mixture.foundation.native)

    def answer(self, mixture: Mixture, case: EncodedCase, prompt: Interaction, routing: Routing) -> Answer:
        """Answers a prompt as the gate decided, within its region: logits on the canonical grid."""
        region = prompt.region
        within = None if region is None else region.bounds
        if routing.chosen:
            answer = mixture.expert_answers(case, prompt.clicks, routing, within=within)
        else:
            answer = case.answer(prompt.clicks, self.general_configuration(mixture, case, prompt), within=within)
        return answer if region is None else region.limit(answer)

    def answered_by(
        self, mixture: Mixture, case: EncodedCase, prompt: Interaction, routing: Routing
    ) -> tuple[Configuration, Sequence[MaskDecoder | None]]:
        """Returns configuration and decoders of whoever has the largest share in the answer."""
        if routing.chosen:
            return mixture.expert(routing.label).configuration, mixture.decoders[routing.label]
        return self.general_configuration(mixture, case, prompt), (None,)

    def is_nested(self, mixture: Mixture) -> bool:
        """Tells whether it is written over the classes before it, wherever it is found."""
        return bool(self.dataset) and mixture.member(self.dataset).nested


def output_classes(mixture: Mixture, dataset: str | None = None) -> list[OutputClass]:
    """Lists the classes of a mixture: a dataset's with its own values, or all with those of the mixture's table.

    Args:
        mixture: whose classes.
        dataset: folder name of a member.

    Raises:
        UsageError: the mixture does not hold the dataset.
    """
    if dataset is not None:
        member = mixture.member(dataset)
        return [OutputClass(dataset, name, name, member.values[name]) for name in member.configurations]
    if mixture.card is None:
        return []
    entries = mixture.card.labels
    shared = {e.name for e in entries for other in entries if e.name == other.name and e.dataset != other.dataset}
    return [
        OutputClass(e.dataset, e.name, f"{e.dataset}:{e.name}" if e.name in shared else e.name, e.value)
        for e in entries
        if any(member.dataset == e.dataset for member in mixture.card.datasets)
    ]
