"""A mixture's files are written when all of them are known, so that the one that is there works until then."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.paths import GATE_WEIGHTS, MIXTURE_JSON, Results
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.gate_fitting import write_gate
from sammoe_pipeline.training.routing_set import write_routing_set


def write_mixture(
    card: MixtureCard,
    gates: Mapping[int, Gate],
    clicks: Sequence[DescribedClicks],
    training: Sequence[Mapping[int, Collection[str]]],
    places: Results,
) -> MixtureCard:
    """Writes routing sets and gates of a mixture, and its card last.

    Args:
        card: all but the hashes of what is written.
        gates: fitted, by fold; none where there is no expert.
        clicks: that they were fitted to, of each dataset; likewise.
        training: of each dataset, the training cases of each fold.
        places: where results lie.

    Returns:
        The card with the hashes.
    """
    datasets = tuple(
        write_routing_set(places.routing_set(card.name, entry.dataset), entry, of, [cases[fold] for fold in card.folds])
        for entry, of, cases in zip(card.datasets, clicks, training, strict=bool(gates))
    )
    hashes = {
        str(fold): write_gate(gate, places.gate_fold(card.name, fold) / GATE_WEIGHTS) for fold, gate in gates.items()
    }
    finished = card.model_copy(update={"datasets": datasets or card.datasets, "gate_sha256": hashes})
    finished.save(places.mixture(card.name) / MIXTURE_JSON)
    return finished
