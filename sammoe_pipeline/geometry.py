"""Between the file's grid and the frame the network works in, and back.

Frames, from outside in:

* *file*: array (x, y, z) in whatever axis order and direction the file has.
* *canonical*: axes permuted and flipped so that they run as nearly as possible along RAS+. Exact; oblique directions
  stay.
* *configuration*: the canonical array resampled to an isotropic spacing. Voxel centres map as in torch's
  `align_corners=False`: `configuration = (canonical + 0.5) * n_configuration / n_canonical - 0.5`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]
"""First and last voxel of a box along each axis."""


@dataclass(frozen=True)
class Orientation:
    """How a file's axes become canonical ones.

    Attributes:
        permutation: canonical axis i is the file's axis `permutation[i]`.
        flips: whether canonical axis i runs against the file's axis.
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine: NDArray[np.float64]) -> Orientation:
        """Finds the axis assignment that lies nearest to RAS+.

        Args:
            affine: 4 x 4, voxel index to millimetres in RAS+.
        """
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        # The best assignment of file axes to world axes, not the greedy one: near 45 degrees two file axes may share
        # their largest component.
        best = max(permutations(range(3)), key=lambda p: sum(abs(directions[i, p[i]]) for i in range(3)))
        flips = tuple(bool(directions[i, best[i]] < 0) for i in range(3))
        return cls(permutation=(best[0], best[1], best[2]), flips=(flips[0], flips[1], flips[2]))

    def to_canonical(self, data: NDArray[Any]) -> NDArray[Any]:
        """Reorders a file's array (x, y, z) into the canonical frame. Returns a view."""
        turned = data.transpose(self.permutation)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def from_canonical(self, data: NDArray[Any]) -> NDArray[Any]:
        """Undoes `to_canonical`. Returns a view."""
        flipped = data[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return flipped.transpose(np.argsort(self.permutation))

    def canonical_affine(self, affine: NDArray[np.float64], shape: Shape) -> NDArray[np.float64]:
        """Returns the affine of the canonical array.

        Args:
            affine: the file's, 4 x 4.
            shape: the file's, voxels.
        """
        canonical = affine.copy()
        for axis, (source, flip) in enumerate(zip(self.permutation, self.flips, strict=True)):
            canonical[:3, axis] = -affine[:3, source] if flip else affine[:3, source]
            if flip:
                canonical[:3, 3] += affine[:3, source] * (shape[source] - 1)
        return canonical


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Returns the distance in mm between neighbouring voxels along each axis of an affine."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def resampled_shape(shape: Shape, spacing_mm: tuple[float, float, float], target_mm: float) -> Shape:
    """Returns the shape at isotropic `target_mm`, at least one voxel along each axis."""
    x, y, z = (max(1, round(n * mm / target_mm)) for n, mm in zip(shape, spacing_mm, strict=True))
    return x, y, z


def to_grid(points: NDArray[np.float64], source: Shape, target: Shape) -> NDArray[np.float64]:
    """Maps voxel positions (N, 3) from one grid onto another that covers the same box (see the module's formula)."""
    scale = np.array(target, dtype=np.float64) / np.array(source, dtype=np.float64)
    return np.asarray((points + 0.5) * scale - 0.5, dtype=np.float64)


def resample_image(image: Tensor, shape: Shape) -> Tensor:
    """Resamples an image (x, y, z) to `shape` by trilinear interpolation, as the published protocol does."""
    import torch.nn.functional as F

    if tuple(image.shape) == shape:
        return image
    return F.interpolate(image[None, None], size=shape, mode="trilinear", align_corners=False)[0, 0]


def resample_labels(labels: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Resamples a label map (x, y, z) to `shape` by nearest neighbour, keeping its number type."""
    if labels.shape == shape:
        return labels
    indices = [
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(np.int64), m - 1)
        for n, m in zip(shape, labels.shape, strict=True)
    ]
    return np.ascontiguousarray(labels[np.ix_(*indices)])


def crop(array: Tensor, start: Shape, size: int, pad_value: float = 0.0) -> Tensor:
    """Cuts the cube [start, start + size) out of an array (x, y, z); what lies outside is `pad_value`.

    Args:
        array: (x, y, z).
        start: first voxel, may be negative.
        size: voxels a side.
        pad_value: value outside the array.
    """
    out = array.new_full((size, size, size), pad_value)
    inside = [(max(0, s), min(n, s + size)) for s, n in zip(start, array.shape, strict=True)]
    if all(low < high for low, high in inside):
        source = tuple(slice(low, high) for low, high in inside)
        target = tuple(slice(low - s, high - s) for (low, high), s in zip(inside, start, strict=True))
        out[target] = array[source]
    return out


def resample_region(values: Tensor, start: Shape, source: Shape, target: Shape) -> tuple[Tensor, Shape]:
    """Brings a cube of logits from the configuration's grid onto another grid, without touching the rest of the volume.

    Args:
        values: (x, y, z) box of the source grid that begins at `start`.
        start: first source voxel of the box, may be negative.
        source: shape of the whole source grid.
        target: shape of the whole target grid, covering the same box in space.

    Returns:
        The target voxels whose centres lie within the box, trilinearly interpolated, and the first of them. The result
        has a side of zero where the box covers no centre.
    """
    import torch

    first: list[int] = []
    out = values
    for axis in range(3):
        n_source, n_target, length = source[axis], target[axis], values.shape[axis]
        # Target centres in source voxels: (t + 0.5) * n_source / n_target - 0.5, kept where inside the box.
        position = (torch.arange(n_target, dtype=torch.float64) + 0.5) * (n_source / n_target) - 0.5 - start[axis]
        kept = torch.nonzero((position >= -0.5) & (position < length - 0.5)).flatten()
        first.append(int(kept[0]) if len(kept) else 0)
        at = position[kept].clamp(0, length - 1).to(values.device)
        low = at.floor().long()
        high = (low + 1).clamp(max=length - 1)
        weight = (at - low).to(values.dtype).reshape([-1 if a == axis else 1 for a in range(3)])
        out = out.index_select(axis, low) * (1 - weight) + out.index_select(axis, high) * weight
    return out, (first[0], first[1], first[2])
