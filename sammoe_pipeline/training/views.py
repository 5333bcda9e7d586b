"""Views: a case as the network sees it, cut around a click, turned and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import CaseProperties
from sammoe_pipeline.clicks import deep_voxels
from sammoe_pipeline.paths import PreprocessedDataset
from sammoe_pipeline.preprocessing import open_array

OUTSIDE = -1
"""Label of voxels outside the image in a view."""
_NEARBY = 7


@dataclass(frozen=True)
class PreparedCase:
    """One preprocessed case in one configuration. Arrays are opened when read, so that it can go to another process.

    Attributes:
        image_file: blosc2 array (x, y, z), float32.
        segmentation_file: blosc2 array (x, y, z), int16.
        properties: where its classes lie.
    """

    image_file: Path
    segmentation_file: Path
    properties: CaseProperties

    @classmethod
    def of(cls, dataset: PreprocessedDataset, configuration: str, case: str) -> PreparedCase:
        """Finds a case of a preprocessed dataset.

        Raises:
            ArtefactError: it has not been preprocessed in this configuration.
        """
        return cls(
            image_file=dataset.image(configuration, case),
            segmentation_file=dataset.segmentation(configuration, case),
            properties=CaseProperties.load(dataset.properties(configuration, case)),
        )

    @property
    def image(self) -> Any:
        """The image, not decoded; slicing reads the blocks that are touched."""
        return open_array(self.image_file)

    @property
    def segmentation(self) -> Any:
        """The label map, not decoded."""
        return open_array(self.segmentation_file)


def whole_image(case: PreparedCase) -> Tensor:
    """Returns a case's image (x, y, z), float32."""
    return torch.from_numpy(np.asarray(case.image[:], dtype=np.float32))


@dataclass(frozen=True)
class Placement:
    """Where a view lies in its case.

    Attributes:
        centre: voxel position (3,) in the case that the middle of the view falls on.
        matrix: (3, 3); a step of one voxel in the view is this step in voxels of the case (rotation, scale, flips).
    """

    centre: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def to_view(self, position: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Maps a voxel position (3,) of the case into the view of `size` voxels a side."""
        return np.asarray(np.linalg.solve(self.matrix, position - self.centre) + (size - 1) / 2, dtype=np.float64)

    def start(self, size: int) -> NDArray[np.float64]:
        """Returns the voxel position (3,) in the case of the first voxel of the view of `size` voxels a side."""
        return np.asarray(self.centre - self.matrix @ np.full(3, (size - 1) / 2), dtype=np.float64)


def cut(case: PreparedCase, placement: Placement, size: int) -> tuple[Tensor, Tensor]:
    """Cuts a view out of a case, decoding only the part that it touches.

    Args:
        case: the arrays.
        placement: where, how turned and how scaled.
        size: voxels a side.

    Returns:
        The image (x, y, z), trilinear, NaN outside the case; and the labels (x, y, z), nearest, `OUTSIDE` outside.
    """
    shape = np.array(case.properties.shape)
    reach = np.abs(placement.matrix).sum(axis=1) * (size - 1) / 2
    low = np.clip(np.floor(placement.centre - reach).astype(int) - 1, 0, shape - 1)
    high = np.clip(np.ceil(placement.centre + reach).astype(int) + 2, low + 1, shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    image = torch.from_numpy(np.asarray(case.image[box], dtype=np.float32))
    labels = torch.from_numpy(np.asarray(case.segmentation[box], dtype=np.int16))
    # The position in the box of every voxel of the view, axis by axis: its middle plus a step a voxel along each side.
    steps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    matrix = torch.from_numpy(placement.matrix.astype(np.float32))
    middle = torch.from_numpy((placement.centre - low).astype(np.float32))
    inside = torch.ones((size,) * 3, dtype=torch.bool)
    coordinates, voxels = [], []
    for axis in range(3):
        along_x, along_y, along_z = (matrix[axis, side] * steps for side in range(3))
        position = middle[axis] + along_x[:, None, None] + along_y[None, :, None] + along_z[None, None, :]
        first, last = -0.5 - float(low[axis]), float(shape[axis] - low[axis]) - 0.5
        inside &= (position >= first) & (position <= last)
        coordinates.append((position + 0.5) * (2 / image.shape[axis]) - 1)
        # Half-way between two voxels it is always the upper one: rounding to even would skip every other voxel.
        voxels.append((position + 0.5).floor().long().clamp(0, image.shape[axis] - 1))
    # grid_sample wants the last axis first, and positions in [-1, 1] from edge to edge of the box.
    grid = torch.stack(coordinates[::-1], dim=-1)[None]
    turned = F.grid_sample(image[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    nearest = labels[voxels[0], voxels[1], voxels[2]]
    return turned.masked_fill(~inside, torch.nan), nearest.masked_fill(~inside, OUTSIDE)


def members(labels: Tensor, values: tuple[int, ...]) -> NDArray[np.bool_]:
    """Returns where a label map (x, y, z) has one of a class's values."""
    array = labels.numpy()
    return np.asarray(array == values[0] if len(values) == 1 else np.isin(array, values))


def place_inside(
    case: PreparedCase, class_name: str, values: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws a voxel (3,) anywhere in a class, and goes from there to one well inside it nearby, as people click.

    Args:
        case: has the class.
        class_name: of it.
        values: its label values.
        rng: where chance comes from.
    """
    locations = case.properties.class_locations[class_name]
    at = np.array(locations[rng.integers(len(locations))])
    low = np.maximum(at - _NEARBY, 0)
    box = tuple(slice(int(first), int(last) + 1) for first, last in zip(low, at + _NEARBY, strict=True))
    deep = deep_voxels(members(torch.from_numpy(np.asarray(case.segmentation[box], dtype=np.int16)), values))
    return np.asarray(deep[rng.integers(len(deep))] + low)


def random_matrix(
    rng: np.random.Generator, *, scale: tuple[float, float], rotation: float, mirror_axes: tuple[int, ...]
) -> NDArray[np.float64]:
    """Draws the matrix of a placement.

    Args:
        rng: where chance comes from.
        scale: smallest and largest voxel of the view in voxels of the case, drawn log-uniformly.
        rotation: largest angle in radians about each axis.
        mirror_axes: axes that are flipped in half of the views.
    """
    matrix = np.eye(3)
    for axis in range(3):
        angle = rng.uniform(-rotation, rotation)
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    flips = np.array([-1.0 if axis in mirror_axes and rng.random() < 0.5 else 1.0 for axis in range(3)])
    return np.asarray(matrix * flips * np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1]))), dtype=np.float64)
