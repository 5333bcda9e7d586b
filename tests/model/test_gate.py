import pytest
import torch

from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.model.gate import Gate, prompt_features


@pytest.fixture
def gate() -> Gate:
    """Three experts; the first and last share configuration 1, the second is at home in the native one."""
    torch.manual_seed(0)
    return Gate(channels=6, expert_configurations=[1, 0, 1], hidden=5).eval().requires_grad_(False)


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


def test_each_decoder_is_judged_on_native_and_on_its_own_configuration_only(gate: Gate) -> None:
    descriptions = torch.randn(1, 2, 6)
    elsewhere = descriptions.clone()
    elsewhere[:, 1] += 1
    changed = (gate(descriptions) != gate(elsewhere))[0].tolist()
    assert changed == [False, True, False, True]


def test_descriptions_are_judged_relative_to_those_it_was_fitted_to(gate: Gate) -> None:
    descriptions = torch.randn(3, 2, 6)
    expected = gate(descriptions)
    gate.mean.fill_(10.0)
    gate.deviation.fill_(4.0)
    torch.testing.assert_close(gate(4 * descriptions + 10), expected)


@pytest.mark.parametrize("builder", ["tiny", "vit_b"])
def test_gate_is_small_beside_one_decoder(builder: str) -> None:
    with torch.device("meta"):
        model = build_sam_med3d(builder)
        gate = Gate(channels=3 * model.embedding_channels, expert_configurations=[0, 1, 2], hidden=48)
    sizes = [sum(parameter.numel() for parameter in part.parameters()) for part in (gate, model.mask_decoder)]
    assert sizes[0] <= 0.15 * sizes[1]


def _embedding() -> torch.Tensor:
    """One channel (1, 1, 4, 4, 4) whose value tells the cell: 100 x + 10 y + z."""
    x, y, z = torch.meshgrid(*[torch.arange(4.0)] * 3, indexing="ij")
    return (100 * x + 10 * y + z)[None, None]


def test_features_at_a_click_are_those_of_the_cell_under_it() -> None:
    # Cells of four voxels: voxel 5.5 is the middle of cell 1, 13.5 of cell 3, 1.5 of cell 0.
    points = torch.tensor([[[5.5, 13.5, 1.5]]])
    features = prompt_features(_embedding(), points, torch.zeros(1, 1, 16, 16, 16), patch_size=16)
    assert features[0, 0].item() == pytest.approx(130.0, abs=1e-3)


def test_features_of_several_clicks_are_averaged() -> None:
    points = torch.tensor([[[5.5, 13.5, 1.5], [13.5, 1.5, 5.5]]])
    features = prompt_features(_embedding(), points, torch.zeros(1, 1, 16, 16, 16), patch_size=16)
    assert features[0, 0].item() == pytest.approx((130 + 301) / 2, abs=1e-3)


def test_features_under_the_mask_are_those_of_its_cells() -> None:
    mask = torch.full((1, 1, 16, 16, 16), -30.0)
    mask[0, 0, 8:12, 0:4, 4:12] = 30.0
    features = prompt_features(_embedding(), torch.zeros(1, 1, 3), mask, patch_size=16)
    assert features[0, 1].item() == pytest.approx((201 + 202) / 2, abs=1e-3)


def test_last_features_are_the_mean_over_the_window() -> None:
    features = prompt_features(_embedding(), torch.zeros(1, 1, 3), torch.zeros(1, 1, 16, 16, 16), patch_size=16)
    assert features.shape == (1, 3)
    assert features[0, 2].item() == pytest.approx(166.5)
