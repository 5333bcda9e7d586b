import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.training.dense_lessons import UNKNOWN, DenseLessons

CHANNELS, CELLS, SIDE = 8, 2, 3
PATCH = 2 * CELLS * SIDE


def _remembered(values: Tensor) -> Tensor:
    """Embeds an image (B, 1, P, P, P) so that channel i holds the i-th of the eight mask cells of each cell."""
    cells = torch.nn.functional.adaptive_avg_pool3d(values, CELLS * SIDE)[:, 0]
    cells = cells.reshape(-1, SIDE, CELLS, SIDE, CELLS, SIDE, CELLS).permute(0, 2, 4, 6, 1, 3, 5)
    return cells.reshape(-1, CHANNELS, SIDE, SIDE, SIDE)


def _lessons() -> DenseLessons:
    lessons = DenseLessons(channels=CHANNELS, cells=CELLS, structures=2).requires_grad_(False)
    for parameter in lessons.parameters():
        parameter.zero_()
    lessons.image.weight.copy_(torch.eye(CHANNELS).reshape(CHANNELS, 1, CELLS, CELLS, CELLS))
    return lessons


def _loss(lessons: DenseLessons, embedding: Tensor, images: Tensor, structures: Tensor) -> float:
    return lessons.loss(embedding, images, structures, np.random.default_rng(0)).item()


def test_embedding_that_remembers_the_mask_grid_gives_the_image_back() -> None:
    images = torch.randn(2, 1, PATCH, PATCH, PATCH)
    unknown = torch.full((2, PATCH, PATCH, PATCH), UNKNOWN)
    assert _loss(_lessons(), _remembered(images), images, unknown) < 1e-10
    assert _loss(_lessons(), torch.zeros(2, CHANNELS, SIDE, SIDE, SIDE), images, unknown) > 0.01


def test_structures_are_read_at_the_cell_that_they_lie_in() -> None:
    lessons = _lessons()
    lessons.structure.weight[:, 1] = 20 * torch.eye(CHANNELS).reshape(CHANNELS, CELLS, CELLS, CELLS)
    coarse = torch.randint(0, 2, (1, 1, CELLS * SIDE, CELLS * SIDE, CELLS * SIDE)).float()
    structures = torch.nn.functional.interpolate(coarse, size=(PATCH,) * 3)
    signed = 2 * structures - 1
    assert _loss(lessons, _remembered(signed), signed, structures[:, 0].long()) < 1e-6
    assert _loss(lessons, _remembered(signed), signed, 1 - structures[:, 0].long()) > 1


def test_rare_structures_weigh_more_than_their_share() -> None:
    lessons = _lessons()
    lessons.structure.bias[0] = 5.0
    structures = torch.zeros(1, PATCH, PATCH, PATCH, dtype=torch.int16)
    structures[:, :2] = 1
    images = torch.zeros(1, 1, PATCH, PATCH, PATCH)
    unweighted = 0.25 * 5 * 2 / PATCH
    assert _loss(lessons, _remembered(images), images, structures) > 1.5 * unweighted
