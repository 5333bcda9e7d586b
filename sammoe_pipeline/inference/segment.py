"""From clicks to the logits of one target, in one configuration, as large as the target is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.clicks import Click, connected_to, deep_voxels
from sammoe_pipeline.geometry import Bounds, Shape, resample_region
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.model import MaskDecoder

OFF = -20.0
"""Logit of voxels that no window showed."""
MAX_WINDOWS = 16
_FACE_VOXELS = 4
_AGREEMENT = 0.5


@dataclass(frozen=True)
class Answer:
    """Logits in a box of a grid; everywhere else they are `OFF`.

    Attributes:
        logits: (x, y, z) float32 on the CPU.
        start: first voxel of the box within the grid; never negative.
        grid: shape of the whole grid.
        windows: first voxels of the windows that were looked at, in the configuration's voxels.
    """

    logits: Tensor
    start: Shape
    grid: Shape
    windows: tuple[Shape, ...]

    def on(self, grid: Shape) -> Answer:
        """Interpolates the logits onto another grid that covers the same box in space."""
        if grid == self.grid:
            return self
        logits, start = resample_region(self.logits, self.start, self.grid, grid)
        return Answer(logits=logits, start=start, grid=grid, windows=self.windows)

    def full(self) -> Tensor:
        """Returns the logits of the whole grid (x, y, z)."""
        whole = torch.full(self.grid, OFF)
        whole[self.box] = self.logits
        return whole

    def mask(self) -> NDArray[np.bool_]:
        """Returns where the logits are positive, on the whole grid (x, y, z)."""
        whole = np.zeros(self.grid, dtype=np.bool_)
        whole[self.box] = (self.logits > 0).numpy()
        return whole

    @property
    def box(self) -> tuple[slice, ...]:
        """Where the box lies in the grid."""
        return tuple(slice(s, s + n) for s, n in zip(self.start, self.logits.shape, strict=True))


def blend(answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """Returns the weighted sum of the logits of answers on one grid; outside its own box each counts with `OFF`."""
    starts = np.array([answer.start for answer in answers])
    stops = starts + [answer.logits.shape for answer in answers]
    low = starts.min(axis=0)
    total = torch.full(tuple((stops.max(axis=0) - low).tolist()), OFF * sum(weights))
    for answer, weight, start, stop in zip(answers, weights, starts - low, stops - low, strict=True):
        total[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] += weight * (answer.logits - OFF)
    windows = tuple(window for answer in answers for window in answer.windows)
    return Answer(logits=total, start=(int(low[0]), int(low[1]), int(low[2])), grid=answers[0].grid, windows=windows)


def segment(
    encoded: EncodedImage,
    clicks: Sequence[Click],
    decoders: Sequence[MaskDecoder | None] = (None,),
    *,
    within: Bounds | None = None,
    max_windows: int = MAX_WINDOWS,
) -> Answer:
    """Segments what the clicks point at.

    The window is centred on the first click. Where the mask touches a face of the window inside the image, another
    window is centred on the spot where it leaves, with a click there, and so on until the mask closes; overlapping
    logits are blended. A further window counts only if it agrees with what is known where they overlap.

    Args:
        encoded: the image in the configuration.
        clicks: in voxels of the configuration, in the order in which they were made; the first is positive.
        decoders: the general decoder (None) or those of an expert's folds, whose logits are averaged.
        within: where the target lies, in voxels of the configuration: the mask is not followed out of there.
        max_windows: at most this many windows.

    Returns:
        Logits on the configuration's grid.
    """
    positives = [click for click in clicks if click.positive]
    canvas = _Canvas(encoded.shape, encoded.size, positives, cell=encoded.size // encoded.model.mask_size)
    pending = [(click, True) for click in positives[:1]]
    centres: list[NDArray[np.float64]] = []
    windows: list[Shape] = []
    while pending and len(windows) < max_windows:
        seed, trusted = pending.pop(0)
        if any(np.abs(np.array(seed.position) - centre).max() < encoded.size / 3 for centre in centres):
            continue
        centres.append(np.array(seed.position))
        start = encoded.window_around(seed.position)
        logits = _decode(encoded, start, seed, clicks, decoders)
        if not trusted and not canvas.agrees(logits, start):
            continue
        canvas.add(logits, start)
        windows.append(start)
        if len(windows) == 1:
            # What was clicked on comes before where the mask leads.
            pending += [(click, True) for click in positives[1:] if not _inside(click, start, encoded.size)]
        exits = _exits(canvas.mask(start), start, encoded.shape)
        pending += [(click, False) for click in exits if within is None or _lies_within(click, within)]
    return canvas.answer(tuple(windows))


def _decode(
    encoded: EncodedImage, start: Shape, seed: Click, clicks: Sequence[Click], decoders: Sequence[MaskDecoder | None]
) -> Tensor:
    """Returns the logits (P, P, P) of one window; its first click is the one in its middle, which is positive."""
    local = window_clicks(clicks, seed, start, encoded.size)
    with torch.inference_mode():
        # Interpolation is linear: the mean of the folds' logits is taken where they are small.
        mean = encoded.logits(start, local, *decoders).float().mean(dim=0, keepdim=True)
        return encoded.model.upsample(mean)[0, 0].cpu()


def window_clicks(clicks: Sequence[Click], seed: Click, start: Shape, size: int) -> tuple[Click, ...]:
    """Returns the clicks that lie in a window, in its voxels; the seed, in its middle, comes first."""
    seen = [seed, *(click for click in clicks if click != seed and _inside(click, start, size))]
    return tuple(
        Click(position=tuple(p - s for p, s in zip(click.position, start, strict=True)), positive=click.positive)  # type: ignore[arg-type]
        for click in seen
    )


def _inside(click: Click, start: Shape, size: int) -> bool:
    return all(s <= p <= s + size - 1 for p, s in zip(click.position, start, strict=True))


def _lies_within(click: Click, bounds: Bounds) -> bool:
    return all(low <= p <= high for p, low, high in zip(click.position, *bounds, strict=True))


def _exits(mask: Tensor, start: Shape, grid: Shape) -> list[Click]:
    """Returns a click for every face of the window, within the image, through which the mask leaves."""
    clicks = []
    size = mask.shape[0]
    for axis in range(3):
        for index, beyond in ((0, start[axis] - 1), (size - 1, start[axis] + size)):
            if not 0 <= beyond < grid[axis]:
                continue
            face = mask.select(axis, index)
            if int(face.sum()) < _FACE_VOXELS:
                continue
            spots = deep_voxels(face.unsqueeze(axis).numpy())
            spot = spots[len(spots) // 2].astype(float)
            spot[axis] = index
            x, y, z = spot + np.array(start)
            clicks.append(Click(position=(float(x), float(y), float(z))))
    return clicks


class _Canvas:
    """Weighted sum of the logits of overlapping windows, over the box that they cover: grids may be very large.

    Args:
        grid: shape of the whole grid.
        size: voxels a side of a window.
        clicks: positive ones, in voxels of the grid, that the answer hangs together with.
        cell: voxels a side of a cell of the decoder's mask; parts that are closer hang together.
    """

    def __init__(self, grid: Shape, size: int, clicks: Sequence[Click], *, cell: int) -> None:
        self._clicks, self._cell = clicks, cell
        self._grid = np.array(grid, dtype=np.int64)
        self._size = size
        self._low = self._high = np.zeros(3, dtype=np.int64)
        self._sum = self._weight = torch.zeros(0, 0, 0)
        # A tent along each axis: the middle of a window knows best, its faces least.
        ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / (size / 2 + 0.5)
        self._tent = ramp[:, None, None] * ramp[None, :, None] * ramp[None, None, :]

    def _boxes(self, start: Shape) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Returns the box of a window in the canvas, which grows to hold it, and the part of the window in the grid."""
        first = np.array(start, dtype=np.int64)
        low, high = np.maximum(first, 0), np.minimum(first + self._size, self._grid)
        self._grow(low, high)
        return _box(low - self._low, high - self._low), _box(low - first, high - first)

    def _grow(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
        if self._sum.numel():
            low, high = np.minimum(low, self._low), np.maximum(high, self._high)
        if (low == self._low).all() and (high == self._high).all():
            return
        old = _box(self._low - low, self._high - low)
        total, weight = torch.zeros((2, *(high - low).tolist()))
        if self._sum.numel():
            total[old], weight[old] = self._sum, self._weight
        self._low, self._high, self._sum, self._weight = low, high, total, weight

    def add(self, logits: Tensor, start: Shape) -> None:
        canvas, window = self._boxes(start)
        self._sum[canvas] += (logits * self._tent)[window]
        self._weight[canvas] += self._tent[window]

    def mask(self, start: Shape) -> Tensor:
        """Returns the part in a window (x, y, z) of the mask that hangs together with a click."""
        canvas, window = self._boxes(start)
        out = torch.zeros((self._size,) * 3, dtype=torch.bool)
        out[window] = self._connected()[canvas]
        return out

    def agrees(self, logits: Tensor, start: Shape) -> bool:
        """Says whether a window's mask and what is known have a Dice of at least `_AGREEMENT` where they overlap."""
        canvas, window = self._boxes(start)
        known = self._weight[canvas] > 0
        old, new = (self._sum[canvas] > 0) & known, (logits[window] > 0) & known
        total = int(old.sum()) + int(new.sum())
        return total > 0 and 2 * int((old & new).sum()) / total >= _AGREEMENT

    def answer(self, windows: tuple[Shape, ...]) -> Answer:
        """Returns the blended logits of the box around the windows that were added."""
        low = np.maximum(np.min(windows, axis=0), 0)
        high = np.minimum(np.max(windows, axis=0) + self._size, self._grid)
        x, y, z = (int(side) for side in low)
        grid = (int(self._grid[0]), int(self._grid[1]), int(self._grid[2]))
        logits = torch.where(self._weight > 0, self._sum / self._weight.clamp(min=1e-6), OFF)
        # What was found elsewhere speaks as strongly against itself now as it did for itself.
        logits = torch.where((logits > 0) & ~self._connected(), -logits, logits)
        return Answer(
            logits=logits[_box(low - self._low, high - self._low)], start=(x, y, z), grid=grid, windows=windows
        )

    def _connected(self) -> Tensor:
        """Returns the part of the canvas's mask that hangs together with a click."""
        at = [tuple(p - s for p, s in zip(click.position, self._low.tolist(), strict=True)) for click in self._clicks]
        clicks = [Click(position=(x, y, z)) for x, y, z in at]
        # Weights are positive where anything was added, so the sum has the sign of the logits.
        return torch.from_numpy(connected_to((self._sum > 0).numpy(), clicks, cell=self._cell))


def _box(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
