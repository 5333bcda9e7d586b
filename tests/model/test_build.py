import pytest
import torch

from sammoe_pipeline.model import BUILDERS, build_sam_med3d


def parameter_count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_unknown_name_lists_the_builders() -> None:
    with pytest.raises(ValueError, match="builder 'vit_h' is unknown; choose from vit_b, tiny"):
        build_sam_med3d("vit_h")


def test_tiny_fits_its_share_of_the_package() -> None:
    """The weights ship in float16, within 12 MB."""
    assert parameter_count(build_sam_med3d("tiny")) <= 5_900_000


def test_vit_b_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = build_sam_med3d("vit_b")
    encoder, decoder = parameter_count(model.image_encoder), parameter_count(model.mask_decoder)
    assert (round(encoder / 1e6, 2), round(decoder / 1e6, 2)) == (92.92, 7.58)
    assert (model.patch_size, model.embedding_size, model.embedding_channels, model.mask_size) == (128, 8, 384, 32)


@pytest.mark.parametrize("builder", BUILDERS)
def test_weights_can_be_assigned_to_a_network_without_memory(builder: str) -> None:
    with torch.device("meta"):
        empty = build_sam_med3d(builder)
    weights = {name: torch.zeros(value.shape) for name, value in empty.state_dict().items()}
    empty.load_state_dict(weights, assign=True)
    held = [*empty.parameters(), *empty.buffers()]
    assert not any(tensor.is_meta for tensor in held)
