import copy

import pytest
import torch
from torch import Tensor, nn

from sammoe_pipeline.model import DecoderStack, MaskDecoder, SamMed3D, build_sam_med3d

POINTS, LABELS = torch.tensor([[[10.0, 20.0, 30.0], [5.0, 6.0, 40.0]]]), torch.tensor([[1, 0]])


@pytest.fixture(scope="module")
def model() -> SamMed3D:
    torch.manual_seed(0)
    return build_sam_med3d("tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def experts(model: SamMed3D) -> list[MaskDecoder]:
    decoders = [copy.deepcopy(model.mask_decoder) for _ in range(3)]
    for decoder in decoders:
        for parameter in decoder.parameters():
            nn.init.normal_(parameter, std=0.1)
    return decoders


@pytest.fixture(scope="module")
def embedding(model: SamMed3D) -> Tensor:
    return torch.randn(1, model.embedding_channels, *[model.embedding_size] * 3)


@pytest.mark.parametrize("first", [True, False])
def test_each_row_is_the_answer_of_one_decoder(
    model: SamMed3D, experts: list[MaskDecoder], embedding: Tensor, first: bool
) -> None:
    previous = None if first else torch.randn(3, 1, *[model.mask_size] * 3)
    points, labels = POINTS.expand(3, -1, -1), LABELS.expand(3, -1)
    found = model.decode(embedding, points, labels, previous, mask_decoder=DecoderStack(experts))
    each = [
        model.decode(embedding, POINTS, LABELS, None if previous is None else previous[[row]], mask_decoder=decoder)
        for row, decoder in enumerate(experts)
    ]
    assert not torch.allclose(each[0], each[1], atol=1e-2)
    torch.testing.assert_close(found, torch.cat(each))


def test_decoders_stay_as_they_are(experts: list[MaskDecoder]) -> None:
    before = copy.deepcopy(experts[0].state_dict())
    DecoderStack(experts)
    torch.testing.assert_close(experts[0].state_dict(), before, rtol=0, atol=0)


def test_embedding_is_not_copied_for_every_decoder(
    model: SamMed3D, experts: list[MaskDecoder], embedding: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = MaskDecoder.forward

    def watch(self: MaskDecoder, image_embedding: Tensor, *others: Tensor, **more: Tensor) -> Tensor:
        seen.append(image_embedding.data_ptr())
        return forward(self, image_embedding, *others, **more)

    monkeypatch.setattr(MaskDecoder, "forward", watch)
    model.decode(embedding, POINTS.expand(3, -1, -1), LABELS.expand(3, -1), mask_decoder=DecoderStack(experts))
    assert seen == [embedding.data_ptr()]
