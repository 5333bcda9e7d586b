import pytest
import torch

from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.model.prompt_features import num_prompt_features


@pytest.fixture
def gate() -> Gate:
    """Three experts; the first and last share configuration 1, the second is at home in the native one."""
    torch.manual_seed(0)
    made = Gate(channels=6, general_classes=2, expert_classes=[1, 3, 2], expert_configurations=[1, 0, 1], hidden=5)
    return made.eval().requires_grad_(False)


def test_confidences_sum_to_one_and_others_than_candidates_get_none(gate: Gate) -> None:
    confidences = gate.confidences(torch.randn(4, 2, 6), [0, 2])
    assert confidences.shape == (4, 4)
    torch.testing.assert_close(confidences.sum(dim=1), torch.ones(4))
    assert (confidences[:, 2] == 0).all()
    assert (confidences[:, [0, 1, 3]] > 0).all()


def test_without_candidates_the_general_decoder_has_all_confidence(gate: Gate) -> None:
    torch.testing.assert_close(gate.confidences(torch.randn(1, 2, 6), []), torch.tensor([[1.0, 0.0, 0.0, 0.0]]))


def test_candidates_are_judged_as_if_the_others_did_not_exist(gate: Gate) -> None:
    descriptions = torch.randn(2, 2, 6)
    among_all = gate.confidences(descriptions, [0, 1, 2])
    pair = gate.confidences(descriptions, [1])
    torch.testing.assert_close(pair[:, 2] / pair[:, 0], among_all[:, 2] / among_all[:, 0])


def test_a_decoders_confidence_is_the_sum_over_its_classes(gate: Gate) -> None:
    descriptions = torch.randn(4, 2, 6)
    each = torch.cat(gate(descriptions), dim=1).softmax(dim=1).split([2, 1, 3, 2], dim=1)
    summed = torch.stack([of_one.sum(dim=1) for of_one in each], dim=1)
    torch.testing.assert_close(gate.confidences(descriptions, [0, 1, 2]), summed)


def test_each_decoder_is_judged_on_native_and_on_its_own_configuration_only(gate: Gate) -> None:
    descriptions = torch.randn(1, 2, 6)
    elsewhere = descriptions.clone()
    elsewhere[:, 1] += 1
    changed = [bool((a != b).any()) for a, b in zip(gate(descriptions), gate(elsewhere), strict=True)]
    assert changed == [False, True, False, True]


def test_descriptions_are_judged_relative_to_those_it_was_fitted_to(gate: Gate) -> None:
    descriptions = torch.randn(3, 2, 6)
    expected = gate(descriptions)
    gate.mean.fill_(10.0)
    gate.deviation.fill_(4.0)
    for found, before in zip(gate(4 * descriptions + 10), expected, strict=True):
        torch.testing.assert_close(found, before)


@pytest.mark.parametrize("builder", ["tiny", "vit_b"])
def test_gate_is_small_beside_one_decoder(builder: str) -> None:
    with torch.device("meta"):
        model = build_sam_med3d(builder)
        gate = Gate(
            channels=num_prompt_features(model.context_channels, model.detail_channels),
            general_classes=20,
            expert_classes=[5, 5, 5],
            expert_configurations=[0, 1, 2],
            hidden=48,
        )
    sizes = [sum(parameter.numel() for parameter in part.parameters()) for part in (gate, model.mask_decoder)]
    assert sizes[0] <= 0.15 * sizes[1]
