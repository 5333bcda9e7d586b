"""The public inference protocol with the public network and with ours: the same masks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sammoe_pipeline.clicks import Click, deep_voxels
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.model import MaskDecoder, SamMed3D, build_sam_med3d
from sammoe_pipeline.model.attention import WindowAttention
from sammoe_pipeline.model.image_encoder import Block, ImageEncoder
from sammoe_pipeline.model.prompt_encoder import PromptEncoder
from sammoe_pipeline.model.transformer import TwoWayTransformer
from sammoe_pipeline.preprocessing import to_configuration
from sammoe_pipeline.protocol_parity import (
    UNDECIDED,
    Agreement,
    compare,
    made_up_volume,
    public_network,
    usual_clicks,
)

published = pytest.importorskip("medim.models.sam_med3d", reason="medim holds the public implementation")

SIZE, WIDTH, CHANNELS = 64, 24, 48


def make_every_part_matter(model: nn.Module) -> None:
    """Draws what is initialised to zero, so that a part left out would show."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.3)


def small_public_network() -> Any:
    """The public network on patches of 64 voxels, with a global and a windowed block."""
    torch.manual_seed(0)
    network = published.build_sam3D_vit_b_ori(
        encoder_embed_dim=WIDTH,
        encoder_depth=2,
        encoder_num_heads=2,
        encoder_global_attn_indexes=[0],
        prompt_embed_dim=CHANNELS,
        image_size=SIZE,
    ).eval()
    make_every_part_matter(network)
    return network


def ours_like(network: Any) -> SamMed3D:
    """Our network with the weights of the small public one."""
    side = SIZE // 16
    blocks = [
        Block(attention=WindowAttention(width=WIDTH, num_heads=2, window_size=window), width=WIDTH, mlp_width=4 * WIDTH)
        for window in (side, 14)
    ]
    model = SamMed3D(
        image_encoder=ImageEncoder(patch_size=SIZE, stride=16, width=WIDTH, blocks=blocks, embedding_channels=CHANNELS),
        prompt_encoder=PromptEncoder(
            patch_size=SIZE,
            embedding_size=side,
            channels=CHANNELS,
            mask_channels=16,
            dense_axes=(1, 0, 2),
            draw_clicks=False,
            no_mask_embedding=True,
        ),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(
                depth=2, width=CHANNELS, cross_width=CHANNELS // 2, num_heads=8, mlp_width=2048
            ),
            channels=CHANNELS,
            num_mask_tokens=4,
            quality_width=256,
        ),
    )
    model.load_state_dict(network.state_dict())
    return model.eval()


@pytest.fixture(scope="module")
def image() -> Tensor:
    """Bright blobs in noise, smaller than a patch along one axis."""
    rng = np.random.default_rng(0)
    data = rng.normal(20, 30, (60, 70, 40))
    data[20:35, 30:50, 10:30] += 100
    return torch.from_numpy(data.astype(np.float32))


@pytest.fixture(scope="module")
def clicks() -> tuple[Click, Click]:
    return Click(position=(25.0, 40.0, 20.0)), Click(position=(40.0, 25.0, 33.0))


@pytest.fixture(scope="module")
def agreements(image: Tensor, clicks: tuple[Click, Click]) -> list[Agreement]:
    network = small_public_network()
    return list(compare(ours_like(network), network, image, clicks, normalisation="positive"))


def test_each_click_is_compared_at_each_precision(agreements: list[Agreement]) -> None:
    assert [agreement.precision for agreement in agreements] == [precision for precision in UNDECIDED for _ in range(2)]


def test_masks_of_a_small_network_are_the_public_ones(agreements: list[Agreement]) -> None:
    assert [agreement.differing for agreement in agreements] == [0, 0, 0, 0]


def test_logits_agree_to_the_precision(agreements: list[Agreement]) -> None:
    for agreement in agreements:
        assert agreement.largest_difference < (1e-12 if agreement.precision == torch.float64 else 1e-4)


def test_clicks_are_given_in_voxels_of_the_cube_around_the_first(agreements: list[Agreement]) -> None:
    assert [agreement.click.position for agreement in agreements[:2]] == [(32, 32, 32), (47, 17, 45)]


def test_another_network_is_noticed(image: Tensor, clicks: tuple[Click, Click]) -> None:
    network = small_public_network()
    model = ours_like(network)
    with torch.no_grad():
        model.image_encoder.pos_embed += 1
    assert all(agreement.differing for agreement in compare(model, network, image, clicks, normalisation="positive"))


def test_clicks_of_a_made_up_volume_are_on_different_things() -> None:
    image = to_configuration(made_up_volume(), 1.5)
    for click in usual_clicks((128, 128, 128), 128):
        x, y, z = (int(value) for value in click.position)
        assert image[x - 3 : x + 4, y - 3 : y + 4, z - 3 : z + 4].mean() > 200


def test_second_click_stays_in_a_thin_image() -> None:
    assert usual_clicks((100, 100, 4), 128)[1].position[2] == 3


def test_missing_public_network_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "medim.models.sam_med3d", None)
    with pytest.raises(UsageError, match=r"pip install medim==0\.1\.2"):
        public_network({})


@pytest.mark.slow
def test_masks_of_a_real_scan_are_the_public_ones(shared_data: Path) -> None:
    case = shared_data / "totalsegmentator_v2" / "s0001"
    image = to_configuration(read_volume(case / "ct.nii.gz"), 1.5)
    clicks = []
    for name in ("aorta", "vertebrae_L1"):
        label = to_configuration(read_volume(case / "segmentations" / f"{name}.nii.gz"), 1.5).numpy() > 0.5
        x, y, z = deep_voxels(label)[0]
        clicks.append(Click(position=(float(x), float(y), float(z))))
    model = build_sam_med3d("vit_b").eval()
    make_every_part_matter(model)
    network = public_network({name: value.clone() for name, value in model.state_dict().items()})
    agreements = list(compare(model, network, image, clicks, normalisation="positive"))
    assert [agreement.differing for agreement in agreements] == [0, 0, 0, 0]
    for first, second in (agreements[:2], agreements[2:]):
        assert 0 < first.theirs.float().mean() < 1
        assert 0 < second.theirs.float().mean() < 1
        assert not torch.equal(first.theirs, second.theirs)
        assert second.theirs.shape == (128, 128, 128)
