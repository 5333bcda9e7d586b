from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sammoe_pipeline.artefacts import Configuration, MixtureCard
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.model.prompt_features import num_prompt_features
from sammoe_pipeline.paths import Results
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.join_mixtures import join_mixtures
from sammoe_pipeline.training.mixture_files import write_mixture
from sammoe_pipeline.training.routing_set import read_routing_set
from tests.inference.conftest import expert, member, mixture_card

FINE = Configuration(name="0.5mm", spacing_mm=0.5, patch_size=16)
COARSE = Configuration(name="2mm", spacing_mm=2.0, patch_size=16)
CASES = ("a", "b", "c", "d")

Share = Callable[..., MixtureCard]


@pytest.fixture
def share(nano_foundation: Foundation, tmp_path: Path) -> Share:
    """Writes a mixture of one dataset with an expert in each configuration, whose clicks are as bright as each's mm."""
    model = nano_foundation.load_model("cpu")
    channels = num_prompt_features(model.context_channels, model.detail_channels)

    def write(name: str, *configurations: Configuration) -> MixtureCard:
        names = [f"class_{configuration.name}" for configuration in configurations]
        experts = [
            expert(f"at_{one.name}", named, configuration=one).model_copy(update={"dataset": f"Dataset001_{name}"})
            for named, one in zip(names, configurations, strict=True)
        ]
        entry = member({named: value for value, named in enumerate(names, 1)}, name=f"Dataset001_{name}")
        spacings = [nano_foundation.native.spacing_mm, *(one.spacing_mm for one in configurations)]
        clicks = DescribedClicks(
            names=tuple(names),
            classes=tuple(named for _ in CASES for named in names),
            cases=tuple(case for case in CASES for _ in names),
            descriptions=torch.tensor(spacings)[None, :, None].expand(len(CASES) * len(names), -1, channels).clone(),
        )
        card = mixture_card(nano_foundation, [entry], experts, name=name)
        return write_mixture(card, {}, [clicks], [{0: CASES}], _places(nano_foundation, tmp_path))

    return write


def _places(foundation: Foundation, root: Path) -> Results:
    return Results(root=root, foundation=foundation.card.name)


def test_clicks_follow_the_order_of_the_joined_mixture(
    share: Share, nano_foundation: Foundation, tmp_path: Path
) -> None:
    cards = [share("First", FINE), share("Second", COARSE, FINE)]
    places = _places(nano_foundation, tmp_path)
    joined = join_mixtures(cards, name="joined", foundation=nano_foundation, places=places, seed=0)
    native = nano_foundation.native.spacing_mm
    for entry, spacings in zip(joined.datasets, ([native, 0.5], [native, 0.5, 2.0]), strict=True):
        clicks, _ = read_routing_set(places.routing_set("joined", entry.dataset), entry)
        assert clicks.descriptions[0, :, 0].tolist() == spacings
