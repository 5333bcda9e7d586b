import pytest
import torch
from torch import Tensor

from sammoe_pipeline.model import (
    DecoderStack,
    MaskDecoder,
    SamMed3D,
    build_sam_med3d,
    decoder_with,
    has_detail,
    new_decoder,
)
from sammoe_pipeline.model.detailed_encoder import VOXELS

CLICK, LABEL = torch.tensor([[[24.0, 20.0, 30.0]]]), torch.tensor([[1]])


@pytest.fixture(scope="module")
def model() -> SamMed3D:
    torch.manual_seed(0)
    return build_sam_med3d("tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def embedding(model: SamMed3D) -> Tensor:
    return model.encode(torch.randn(1, 1, 48, 48, 48))


@pytest.fixture
def looking(model: SamMed3D) -> MaskDecoder:
    """An expert whose second look has learnt something."""
    torch.manual_seed(1)
    decoder = new_decoder(model, second_look=True).eval().requires_grad_(False)
    assert decoder.second_look is not None
    torch.nn.init.normal_(decoder.second_look.leave.weight)
    return decoder


def test_an_untrained_second_look_changes_no_answer(model: SamMed3D, embedding: Tensor) -> None:
    decoder = new_decoder(model, second_look=True)
    assert torch.equal(
        model.decode(embedding, CLICK, LABEL, mask_decoder=decoder), model.decode(embedding, CLICK, LABEL)
    )
    assert model.mask_decoder.second_look is None


def test_it_sees_what_the_encoder_does_not_tell(model: SamMed3D, embedding: Tensor, looking: MaskDecoder) -> None:
    changed = embedding.clone()
    changed[:, -64 * VOXELS :, 2, 3, 4] += 1.0
    before, after = (looking.see(one).detail for one in (embedding, changed))
    assert before is not None and after is not None
    where = (before != after)[0].any(dim=-1).nonzero().float()
    assert len(where)
    # Some cells of the mask grid around the embedding's cell: as far as its convolutions reach.
    assert 2 < (where - torch.tensor([9.5, 13.5, 17.5])).abs().max() < 12
    assert torch.equal(model.decode(embedding, CLICK, LABEL), model.decode(changed, CLICK, LABEL))


def test_what_was_seen_once_serves_every_prompt(model: SamMed3D, embedding: Tensor, looking: MaskDecoder) -> None:
    seen = model.see(embedding, looking)
    for click in (CLICK, CLICK + 5):
        assert torch.equal(
            model.decode(seen, click, LABEL, mask_decoder=looking),
            model.decode(embedding, click, LABEL, mask_decoder=looking),
        )


def test_weights_say_whether_there_is_one(model: SamMed3D, embedding: Tensor, looking: MaskDecoder) -> None:
    again = decoder_with(model, looking.state_dict())
    assert torch.equal(
        model.decode(embedding, CLICK, LABEL, mask_decoder=again),
        model.decode(embedding, CLICK, LABEL, mask_decoder=looking),
    )
    assert decoder_with(model, model.mask_decoder.state_dict()).second_look is None


def test_an_expert_may_start_from_one_with_or_without_it(
    model: SamMed3D, embedding: Tensor, looking: MaskDecoder
) -> None:
    start = looking.state_dict()
    assert (
        new_decoder(model, second_look=False, start=start).state_dict().keys() == model.mask_decoder.state_dict().keys()
    )
    for second_look, like in ((True, looking), (False, model.mask_decoder)):
        begun = new_decoder(model, second_look=second_look, start=start)
        assert torch.equal(
            model.decode(embedding, CLICK, LABEL, mask_decoder=begun),
            model.decode(embedding, CLICK, LABEL, mask_decoder=like),
        )
    begun = new_decoder(model, second_look=True, start=model.mask_decoder.state_dict())
    assert torch.equal(model.decode(embedding, CLICK, LABEL, mask_decoder=begun), model.decode(embedding, CLICK, LABEL))


def test_several_experts_look_side_by_side(model: SamMed3D, embedding: Tensor, looking: MaskDecoder) -> None:
    plain = new_decoder(model, second_look=True)
    stack = DecoderStack([looking, plain])
    both = model.decode(embedding, CLICK.expand(2, -1, -1), LABEL.expand(2, -1), mask_decoder=stack)
    for row, decoder in enumerate((looking, plain)):
        alone = model.decode(embedding, CLICK, LABEL, mask_decoder=decoder)
        torch.testing.assert_close(both[[row]], alone, rtol=1e-4, atol=1e-4)


def test_a_network_without_detail_has_nothing_to_add_to() -> None:
    assert has_detail("tiny")
    assert not has_detail("vit_b")
    with torch.device("meta"):
        model = build_sam_med3d("vit_b")
    with pytest.raises(ValueError, match="has none"):
        new_decoder(model, second_look=True)
