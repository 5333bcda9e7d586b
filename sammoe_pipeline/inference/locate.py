"""Prompts without a user: the locator looks through the whole image and clicks on what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.clicks import Click, deep_voxels
from sammoe_pipeline.extents import Extents
from sammoe_pipeline.geometry import Shape
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.zoomed import Zoomed
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.locator import Locator

_CLEARLY_INSIDE = 0.5
_SIZABLE = 0.2
_MOST_COMPONENTS = 5


@dataclass(frozen=True)
class Sighting:
    """What the locator says of one class in one image.

    Attributes:
        clicks: one a component, the likeliest first, in voxels of the configuration; one only where a click means the
            whole class. Given whether or not the class counts as found.
        peak: highest probability anywhere.
    """

    clicks: tuple[Click, ...]
    peak: float


def new_locator(model: SamMed3D, num_classes: int, *, second_look: bool) -> Locator:
    """Builds a locator for a network's embeddings, with random weights."""
    return Locator(
        channels=model.context_channels,
        num_classes=num_classes,
        detail_channels=model.detail_channels,
        second_look=second_look,
    )


def probability_maps(encoded: EncodedImage, locators: Sequence[Locator]) -> Tensor:
    """Looks through an image in half-overlapping windows.

    Args:
        encoded: the image in the locator's configuration.
        locators: one a fold; their probabilities are averaged.

    Returns:
        (K, x, y, z) on the mask grid, whose cells are `P / m` voxels of the configuration: those whose middle lies in
        the image, at least one along each axis.
    """
    cell = encoded.size // encoded.model.mask_size
    grid = tuple(max(1, (2 * n + cell) // (2 * cell)) for n in encoded.shape)
    side = encoded.model.mask_size
    total: Tensor | None = None
    weight = torch.zeros(grid)
    ramp = 1 - (torch.arange(side) - (side - 1) / 2).abs() / (side / 2 + 0.5)
    tent = ramp[:, None, None] * ramp[None, :, None] * ramp[None, None, :]
    extents = _extents(encoded)
    for start in _starts(grid, side):
        first = (start[0] * cell, start[1] * cell, start[2] * cell)
        embedding = encoded.embedding(first)
        places = window_places(extents, np.array(first, dtype=np.float64), np.eye(3), encoded.model)
        with torch.inference_mode():
            logits = [locator(embedding, places[None].to(embedding.device)) for locator in locators]
            maps = torch.stack([one[0].float().sigmoid() for one in logits]).mean(dim=0).cpu()
        if total is None:
            total = torch.zeros(maps.shape[0], *grid)
        inside = [(max(0, s), min(n, s + side)) for s, n in zip(start, grid, strict=True)]
        box = tuple(slice(low, high) for low, high in inside)
        part = tuple(slice(low - s, high - s) for (low, high), s in zip(inside, start, strict=True))
        total[(slice(None), *box)] += (maps * tent)[(slice(None), *part)]
        weight[box] += tent[part]
    assert total is not None
    return total / weight


def _extents(encoded: EncodedImage) -> Extents:
    if isinstance(encoded.image, Zoomed):
        return Extents.of(encoded.image.source).on(encoded.shape)
    return Extents.of(encoded.image.numpy())


def window_places(extents: Extents, start: NDArray[np.float64], matrix: NDArray[np.float64], model: SamMed3D) -> Tensor:
    """Says where the embedding's cells of a window lie.

    Args:
        extents: of the image.
        start: voxel position (3,) in the image of the middle of the window's first voxel.
        matrix: (3, 3); a step of one voxel in the window is this step in voxels of the image.
        model: whose windows they are.

    Returns:
        (g, g, g, 6), see `Extents.places`.
    """
    token = model.patch_size // model.embedding_size
    return extents.places(start + matrix @ np.full(3, (token - 1) / 2), matrix * token, model.embedding_size)


def _starts(grid: Sequence[int], side: int) -> list[Shape]:
    """Returns first cells of windows that cover a grid; a grid smaller than a window is centred in it."""
    along = []
    for n in grid:
        if n <= side:
            along.append([(n - side) // 2])
        else:
            steps = -(-2 * (n - side) // side) + 1
            along.append([round(i * (n - side) / (steps - 1)) for i in range(steps)])
    return [(x, y, z) for x in along[0] for y in along[1] for z in along[2]]


def sight(probability: Tensor, *, cell: int, components: bool) -> Sighting:
    """Turns a probability map into clicks.

    Args:
        probability: (x, y, z) on the mask grid.
        cell: voxels of the configuration a cell.
        components: whether each component gets a click of its own.
    """
    import cc3d

    peak = float(probability.max())
    likely = (probability >= _CLEARLY_INSIDE * peak).numpy()
    labelled = cc3d.connected_components(likely, connectivity=26)
    mass = np.bincount(labelled.ravel(), weights=probability.numpy().ravel())
    mass[0] = 0.0
    order = np.argsort(mass)[::-1]
    kept = [int(label) for label in order if label and mass[label] >= _SIZABLE * mass.max()][
        : _MOST_COMPONENTS if components else 1
    ]
    return Sighting(clicks=tuple(_click(labelled == label, probability, cell) for label in kept), peak=peak)


def _click(component: NDArray[np.bool_], probability: Tensor, cell: int) -> Click:
    deep = deep_voxels(component)
    likely = probability.numpy()
    x, y, z = _between_cells(likely, deep[int(np.argmax(likely[tuple(deep.T)]))])
    # From cells to voxels.
    return Click(position=((x + 0.5) * cell - 0.5, (y + 0.5) * cell - 0.5, (z + 0.5) * cell - 0.5))


def _between_cells(likely: NDArray[np.float32], best: NDArray[np.int64]) -> tuple[float, float, float]:
    """Returns the mean place (x, y, z) of a cell and its neighbours, the likely ones counting more.

    The middle of a cell may lie beside a thing that is thinner than it.
    """
    low, high = np.maximum(best - 1, 0), np.minimum(best + 2, likely.shape)
    weights = likely[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))].astype(np.float64) + 1e-12
    x, y, z = (
        float(np.average(np.arange(low[axis], high[axis]), weights=weights.sum(axis=others)))
        for axis, others in enumerate(((1, 2), (0, 2), (0, 1)))
    )
    return x, y, z
