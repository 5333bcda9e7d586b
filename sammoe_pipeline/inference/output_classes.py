"""What prediction gives out: the classes of a mixture, with the names and values that they have in label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import Routing
from sammoe_pipeline.inference.segment import Answer


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

    def route(self, mixture: Mixture, case: EncodedCase, clicks: Sequence[Click]) -> Routing:
        """Lets the gate decide by the first click who answers: any expert, or only the one that serves the class."""
        if not self.dataset:
            return mixture.route(case, clicks[:1])
        return mixture.route(case, clicks[:1], dataset=self.dataset, class_name=self.name)

    def answer(self, mixture: Mixture, case: EncodedCase, clicks: Sequence[Click], routing: Routing) -> Answer:
        """Answers clicks (in canonical voxels) as the gate decided; the general expert in the class's configuration."""
        configuration = mixture.foundation.native
        if self.dataset:
            configuration = mixture.member(self.dataset).configurations[self.name]
        return mixture.answer(case, clicks, routing, general_configuration=configuration)

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
