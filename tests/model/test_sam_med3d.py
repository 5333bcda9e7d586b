import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sammoe_pipeline.model import SamMed3D, build_sam_med3d

POINTS = torch.tensor([[[10.0, 20.0, 30.0], [5.0, 6.0, 40.0]], [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]])
LABELS = torch.tensor([[1, 0], [1, -1]])


@pytest.fixture(scope="module")
def model() -> SamMed3D:
    torch.manual_seed(0)
    return build_sam_med3d("tiny").eval()


@pytest.fixture(scope="module")
def embedding(model: SamMed3D) -> Tensor:
    with torch.no_grad():
        return model.encode(torch.randn(2, 1, 48, 48, 48))


def test_sizes_are_those_of_the_tensors(model: SamMed3D, embedding: Tensor) -> None:
    assert model.patch_size == 48
    assert embedding.shape == (2, model.embedding_channels, *[model.embedding_size] * 3)
    assert model.decode(embedding, POINTS, LABELS).shape == (2, 1, *[model.mask_size] * 3)


def test_image_of_another_size_is_refused(model: SamMed3D) -> None:
    with pytest.raises(ValueError, match=r"image has shape \(2, 1, 48, 48, 40\); expected \(batch, 1, 48, 48, 48\)"):
        model.encode(torch.zeros(2, 1, 48, 48, 40))


def test_upsampling_is_trilinear_on_cell_centres(model: SamMed3D) -> None:
    logits = torch.randn(2, 1, 24, 24, 24)
    expected = functional.interpolate(logits, scale_factor=2.0, mode="trilinear", align_corners=False)
    torch.testing.assert_close(model.upsample(logits), expected)


def test_first_decoding_starts_from_an_all_zero_mask(model: SamMed3D, embedding: Tensor) -> None:
    expected = model.decode(embedding, POINTS, LABELS, torch.zeros(2, 1, 24, 24, 24))
    torch.testing.assert_close(model.decode(embedding, POINTS, LABELS), expected)


def test_previous_logits_change_the_mask(model: SamMed3D, embedding: Tensor) -> None:
    first = model.decode(embedding, POINTS, LABELS)
    assert not torch.allclose(model.decode(embedding, POINTS, LABELS, torch.randn(2, 1, 24, 24, 24)), first)


def test_place_of_a_padding_click_does_not_matter(model: SamMed3D, embedding: Tensor) -> None:
    moved = POINTS.clone()
    moved[1, 1] = 33.0
    torch.testing.assert_close(model.decode(embedding, moved, LABELS), model.decode(embedding, POINTS, LABELS))


def test_one_embedding_serves_several_prompts(model: SamMed3D, embedding: Tensor) -> None:
    expected = model.decode(embedding[:1].expand(2, -1, -1, -1, -1), POINTS, LABELS)
    torch.testing.assert_close(model.decode(embedding[:1], POINTS, LABELS), expected)


def test_expert_answers_in_place_of_the_general_decoder(model: SamMed3D, embedding: Tensor) -> None:
    expert = copy.deepcopy(model.mask_decoder)
    general = model.decode(embedding, POINTS, LABELS)
    assert torch.equal(model.decode(embedding, POINTS, LABELS, mask_decoder=expert), general)
    with torch.no_grad():
        expert.mask_tokens.weight.add_(torch.randn_like(expert.mask_tokens.weight))
    assert not torch.allclose(model.decode(embedding, POINTS, LABELS, mask_decoder=expert), general)


def test_training_an_expert_leaves_the_foundation_untouched(embedding: Tensor) -> None:
    model = build_sam_med3d("tiny").requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    expert = copy.deepcopy(model.mask_decoder).requires_grad_(True)
    optimiser = torch.optim.AdamW(expert.parameters(), lr=1e-2)
    model.decode(embedding, POINTS, LABELS, mask_decoder=expert).mean().backward()
    optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(expert.mask_tokens.weight, model.mask_decoder.mask_tokens.weight)


def test_one_decoding_reaches_every_parameter_of_tiny() -> None:
    torch.manual_seed(0)
    model = build_sam_med3d("tiny")
    # What lies behind weights that begin as zeros is reached from the second step on.
    torch.nn.init.normal_(model.mask_decoder.refinement.leave.weight)
    logits = model.decode(model.encode(torch.randn(2, 1, 48, 48, 48)), POINTS, LABELS)
    logits.square().mean().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision_changes_little(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = build_sam_med3d("tiny").eval()
    image = torch.randn(2, 1, 48, 48, 48)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = model.decode(model.encode(image), POINTS, LABELS)
    with torch.no_grad():
        model.double()
        exact = model.decode(model.encode(image.double()), POINTS, LABELS)
    assert exact.dtype == torch.float64
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    assert (logits.double() - exact).abs().max() < tolerance * exact.abs().max()


def test_encoder_in_bfloat16_gives_a_float32_embedding_that_differs_little(model: SamMed3D) -> None:
    lowered = copy.deepcopy(model)
    lowered.encode_in(torch.bfloat16)
    image = torch.randn(2, 1, 48, 48, 48)
    with torch.no_grad():
        exact, found = model.encode(image), lowered.encode(image)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() < 0.01 * exact.norm()


def test_decoding_does_not_depend_on_the_precision_of_the_encoder(model: SamMed3D, embedding: Tensor) -> None:
    lowered = copy.deepcopy(model)
    lowered.encode_in(torch.bfloat16)
    assert torch.equal(lowered.decode(embedding, POINTS, LABELS), model.decode(embedding, POINTS, LABELS))
