import numpy as np
import pytest
import torch
from torch import Tensor

from sammoe_pipeline.model import SamMed3D, build_sam_med3d
from sammoe_pipeline.training.recognition import UNKNOWN, Recognition

STRUCTURES = 3


@pytest.fixture(scope="module")
def model() -> SamMed3D:
    return build_sam_med3d("tiny")


@pytest.fixture
def embedding(model: SamMed3D) -> Tensor:
    side = model.embedding_size
    return torch.randn(1, model.embedding_channels, side, side, side, generator=torch.Generator().manual_seed(0))


def _silent(model: SamMed3D) -> Recognition:
    recognition = Recognition(model, STRUCTURES).requires_grad_(False)
    for parameter in recognition.parameters():
        parameter.zero_()
    return recognition


def _loss(recognition: Recognition, embedding: Tensor, structures: Tensor) -> float:
    return recognition.loss(embedding, structures, np.random.default_rng(0)).item()


def _empty(model: SamMed3D) -> Tensor:
    return torch.zeros(1, *[model.patch_size] * 3, dtype=torch.int16)


def test_structure_is_read_at_the_mask_cell_that_it_lies_in(model: SamMed3D) -> None:
    from sammoe_pipeline.model.detailed_encoder import VOXELS, pack

    coarse = torch.randint(0, 2, (1, *[model.mask_size] * 3), generator=torch.Generator().manual_seed(0))
    detail = torch.zeros(*coarse.shape, model.detail_channels)
    detail[..., 0] = 20.0 * coarse
    detail[..., 1] = 20.0 * (1 - coarse)
    context = torch.zeros(1, model.context_channels, *[model.embedding_size] * 3)
    recognition = _silent(model)
    recognition.read.weight[1, 0] = recognition.read.weight[0, 1] = 1.0
    structures = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    voxels = torch.zeros(1, 64 * VOXELS, *context.shape[2:])
    embedding = torch.cat([context, pack(detail), voxels], dim=1)
    assert _loss(recognition, embedding, structures) < 1e-6
    assert _loss(recognition, embedding, 1 - structures) > 1


def test_unknown_voxels_teach_nothing(model: SamMed3D, embedding: Tensor) -> None:
    recognition = Recognition(model, STRUCTURES)
    structures = _empty(model)
    before = _loss(recognition, embedding, structures)
    structures[:, :, :, 24:] = UNKNOWN
    known_half = _loss(recognition, embedding, structures)
    assert known_half != before
    assert _loss(recognition, embedding, torch.full_like(structures, UNKNOWN)) == 0.0


def test_rare_structures_weigh_more_than_their_share(model: SamMed3D, embedding: Tensor) -> None:
    recognition = _silent(model)
    recognition.read.bias[0] = 5.0
    structures = _empty(model)
    structures[:, :4] = 1
    unweighted = 5 * 4 / model.patch_size
    assert _loss(recognition, embedding, structures) > 1.5 * unweighted
