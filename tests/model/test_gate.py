from dataclasses import replace

import pytest
import torch

from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.model.gate import MOST_AGAINST, OFF_TASK_COMPONENTS, Discriminant, Gate, GateDataset
from sammoe_pipeline.model.prompt_features import num_prompt_features

DATASETS = (
    GateDataset(owners=(0, None, 1, 0), configurations=(1, 2)),
    GateDataset(owners=(None, None), configurations=()),
    GateDataset(owners=(2,), configurations=(2,)),
)
CHANNELS = 6


@pytest.fixture
def gate() -> Gate:
    """Random discriminants for three experts in three datasets; expert 0 is at home in configuration 1, others in 2."""
    made = Gate(channels=CHANNELS, expert_configurations=[1, 2, 2], datasets=DATASETS)
    random = torch.Generator().manual_seed(0)
    for part in made.modules():
        if isinstance(part, Discriminant):
            part.weight.copy_(torch.randn(part.weight.shape, generator=random))
            part.bias.copy_(torch.randn(part.bias.shape, generator=random))
    return made.eval()


@pytest.fixture
def descriptions() -> torch.Tensor:
    """(5, 1, 3, 6): five prompts of one click."""
    return torch.randn(5, 1, 3, CHANNELS, generator=torch.Generator().manual_seed(1))


def test_a_dataset_is_judged_on_native_on_each_configuration_beside_it_and_on_all() -> None:
    assert DATASETS[0].views == ((0,), (0, 1), (0, 2), (0, 1, 2))
    assert [dataset.views for dataset in DATASETS[1:]] == [((0,),), ((0,), (0, 2))]


def test_what_nobody_names_is_the_general_experts() -> None:
    unnamed = list(range(4, 4 + OFF_TASK_COMPONENTS))
    assert DATASETS[0].components_of(0) == [0, 3]
    assert DATASETS[0].components_of(None) == [1, *unnamed]


def test_confidences_sum_to_one(gate: Gate, descriptions: torch.Tensor) -> None:
    confidences = gate.confidences(descriptions, [0, 2])
    assert confidences.shape == (5, 4) and (confidences >= 0).all()
    torch.testing.assert_close(confidences.sum(dim=1), torch.ones(5))


def test_an_experts_confidence_is_its_classes_share_in_the_datasets_share(
    gate: Gate, descriptions: torch.Tensor
) -> None:
    classes = gate.discriminant(0, (0, 1, 2))(descriptions.flatten(1)).softmax(dim=1)
    expected = gate.shares(descriptions[:, :, 0])[:, 0] * (classes[:, 0] + classes[:, 3])
    torch.testing.assert_close(gate.confidences(descriptions, [0])[:, 1], expected)


def test_datasets_that_are_not_looked_into_are_judged_on_native_alone(gate: Gate, descriptions: torch.Tensor) -> None:
    elsewhere = descriptions.clone()
    elsewhere[:, :, 1:] += 1
    before, after = gate.confidences(descriptions, [2]), gate.confidences(elsewhere, [2])
    assert torch.equal(before[:, 1:3], after[:, 1:3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_no_dataset_has_a_share_in_what_is_unlike_all_of_them(gate: Gate, descriptions: torch.Tensor) -> None:
    gate.whose.weight.fill_(0.01)
    gate.whose.bias.fill_(-0.5)
    gate.reach.fill_(-30.0)
    far = 20 * descriptions / descriptions[:, :, :1].norm(dim=3, keepdim=True)
    assert (gate.shares(descriptions[:, :, 0]).sum(dim=1) > 0.99).all() and (
        gate.shares(far[:, :, 0]).sum(dim=1) < 0.01
    ).all()
    torch.testing.assert_close(gate.confidences(far, [])[:, 0], torch.ones(5), atol=0.01, rtol=0)


def test_a_named_class_is_judged_on_native_and_its_experts_configuration(
    gate: Gate, descriptions: torch.Tensor
) -> None:
    before = gate.confidence_of(descriptions, dataset=0, expert=1)
    changed = []
    for index in range(3):
        elsewhere = descriptions.clone()
        elsewhere[:, :, index] += 1
        changed.append(not torch.equal(gate.confidence_of(elsewhere, dataset=0, expert=1), before))
    assert changed == [True, False, True]


def test_a_named_classes_expert_and_the_general_one_share_one(gate: Gate, descriptions: torch.Tensor) -> None:
    classes = gate.discriminant(0, (0, 2))(descriptions[:, :, [0, 2]].flatten(1)).softmax(dim=1)
    own, general = classes[:, 2], classes[:, DATASETS[0].components_of(None)].sum(dim=1)
    torch.testing.assert_close(gate.confidence_of(descriptions, dataset=0, expert=1), own / (own + general))


def test_class_of_which_nothing_was_seen_gets_no_confidence(gate: Gate, descriptions: torch.Tensor) -> None:
    for view in DATASETS[2].views:
        gate.discriminant(2, view).bias[0] = -torch.inf
    assert (gate.confidences(descriptions, [0, 1, 2])[:, 3] == 0).all()
    assert (gate.confidence_of(descriptions, dataset=2, expert=2) == 0).all()


def test_gate_that_has_seen_nothing_leaves_all_to_the_general_expert(descriptions: torch.Tensor) -> None:
    gate = Gate(channels=CHANNELS, expert_configurations=[1, 2, 2], datasets=DATASETS)
    gate.reach.fill_(0.0)
    assert gate.confidences(descriptions, [0, 1, 2]).tolist() == [[1.0, 0.0, 0.0, 0.0]] * 5


def _told(gate: Gate, clicks: torch.Tensor, votes: list[float] | None = None) -> torch.Tensor:
    """Returns (1 + E) for the clicks (N, 3, 6) of one prompt, in an image that is surely of dataset 0."""
    gate.shares = lambda *given: torch.tensor([[1.0, 0.0, 0.0]])  # type: ignore[method-assign]
    return gate.confidences(clicks[None], [0], votes)[0]


def _classes(gate: Gate, clicks: torch.Tensor) -> torch.Tensor:
    return gate.discriminant(0, (0, 1, 2))(clicks.flatten(1)).softmax(dim=1)


def test_each_click_is_evidence_that_counts_as_much_as_its_vote(gate: Gate, descriptions: torch.Tensor) -> None:
    first, second = _classes(gate, descriptions[:2, 0])
    expected = first * second.sqrt()
    expected /= expected.sum()
    torch.testing.assert_close(_told(gate, descriptions[:2, 0], [1.0, 0.5])[1], expected[0] + expected[3])


def test_click_on_what_is_not_meant_speaks_against_its_class(gate: Gate, descriptions: torch.Tensor) -> None:
    expected, other = _classes(gate, descriptions[:2, 0])
    assert other[:4].max() > 0.01
    expected[:4] *= (1 - other[:4]).clamp(min=MOST_AGAINST).sqrt()
    expected /= expected.sum()
    torch.testing.assert_close(_told(gate, descriptions[:2, 0], [1.0, -0.5])[1], expected[0] + expected[3])


def test_click_on_another_component_of_a_class_does_not_speak_against_it(
    gate: Gate, descriptions: torch.Tensor
) -> None:
    before = _told(gate, descriptions[:2, 0], [1.0, -1.0])
    gate.datasets = (replace(DATASETS[0], in_parts=frozenset({0, 3})), *DATASETS[1:])
    assert _told(gate, descriptions[:2, 0], [1.0, -1.0])[1] > before[1]


def test_all_clicks_tell_whose_image_it_is(gate: Gate, descriptions: torch.Tensor) -> None:
    first, second = (gate.shares(one[None])[0] for one in descriptions[:2, :, 0])
    expected = first * second.sqrt()
    expected /= expected.sum() + (1 - first.sum()) * (1 - second.sum()).sqrt()
    torch.testing.assert_close(gate.shares(descriptions[:2, 0, 0][None], [1.0, -0.5])[0], expected)


@pytest.mark.parametrize("builder", ["tiny", "vit_b"])
def test_gate_is_small_beside_one_decoder(builder: str) -> None:
    with torch.device("meta"):
        model = build_sam_med3d(builder)
        datasets = [GateDataset(owners=(*range(8), *[None] * 12), configurations=(1, 2, 3)) for _ in range(4)]
        channels = num_prompt_features(model.context_channels, model.detail_channels)
        gate = Gate(channels=channels, expert_configurations=[1, 2, 3] * 11, datasets=datasets)
    numbers = sum(held.numel() for held in gate.state_dict().values())
    assert numbers <= 0.15 * sum(parameter.numel() for parameter in model.mask_decoder.parameters())
