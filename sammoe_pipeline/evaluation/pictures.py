"""Cases in three planes: the image, and on it the truth and what the general expert and the mixture made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.evaluation.wording import percent
from sammoe_pipeline.label_boxes import box_around
from sammoe_pipeline.page.canvas import plain
from sammoe_pipeline.page.style import GENERAL_LINE, INK, MIXTURE_LINE, MUTED, TRUTH_LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RADIOLOGICAL = (
    "Radiological convention: the patient's right is on the left of axial and coronal planes, and the front is on the "
    "left of sagittal ones."
)

_PANEL_INCHES = 2.2
_GAP_INCHES = 0.07
_LEGEND_INCHES, _HEADING_INCHES = 0.5, 0.3
_MARGIN = 0.6
"""Surroundings on each side, as a share of the largest extent of what is drawn."""
_LEAST_VOXELS = 24
"""A side of the shown cube spans at least this many of the coarsest voxels."""
_MOST_PIXELS = 320
"""Along a side of a plane; finer ones are thinned out."""


@dataclass(frozen=True)
class _Direction:
    name: str
    normal: int
    across: int
    """Axis drawn from left to right, highest index first; likewise `up`, drawn from top to bottom."""
    up: int
    edges: tuple[str, str, str, str]
    """What lies left, right, above and below."""


DIRECTIONS = (
    _Direction("Axial", normal=2, across=0, up=1, edges=("R", "L", "A", "P")),
    _Direction("Coronal", normal=1, across=0, up=2, edges=("R", "L", "S", "I")),
    _Direction("Sagittal", normal=0, across=1, up=2, edges=("A", "P", "S", "I")),
)


@dataclass(frozen=True)
class Plane:
    """A cut through a case, as it is drawn.

    Attributes:
        image: grey levels (rows, columns).
        truth: the reference, of the same shape; likewise what follows.
        general: mask of the general expert.
        mixture: mask of the mixture.
        pixel_mm: height and width of a pixel.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    general: NDArray[np.bool_]
    mixture: NDArray[np.bool_]
    pixel_mm: tuple[float, float]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width."""
        rows, columns = self.image.shape
        return rows * self.pixel_mm[0], columns * self.pixel_mm[1]


@dataclass(frozen=True)
class Picture:
    """One class of one case, to be drawn.

    Attributes:
        dataset: of the case.
        case: its name.
        class_name: what is outlined.
        general_dice: of the general expert's mask.
        mixture_dice: of the mixture's.
        planes: in the order of `DIRECTIONS`.
    """

    dataset: str
    case: str
    class_name: str
    general_dice: float | None
    mixture_dice: float | None
    planes: tuple[Plane, ...]


def take_planes(
    image: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    truth: NDArray[np.bool_],
    general: NDArray[np.bool_],
    mixture: NDArray[np.bool_],
) -> tuple[Plane, ...]:
    """Cuts a case through the truth's voxel nearest to its centre of mass, so little is kept of it.

    Args:
        image: (x, y, z) in RAS+, any intensities.
        spacing_mm: voxel size along x, y, z.
        truth: the reference, of the same shape; likewise the masks.
        general: the general expert's mask.
        mixture: the mixture's.

    Returns:
        The surroundings of all masks, in the order of `DIRECTIONS`.
    """
    spacing = np.array(spacing_mm, dtype=np.float64)
    at = centre_voxel([truth, mixture, general], spacing)
    box = _box_around(truth | general | mixture, at, spacing)
    at = at - [side.start for side in box]
    volumes = [np.asarray(volume[box]) for volume in (image, truth, general, mixture)]
    cuts = [[_cut(volume, at, direction) for volume in volumes] for direction in DIRECTIONS]
    shown = np.concatenate([grey.astype(np.float64).ravel() for grey, *_ in cuts])
    low, high = np.percentile(shown[np.isfinite(shown)], [1, 99.5]) if np.isfinite(shown).any() else (0.0, 1.0)
    planes = []
    for direction, (grey, *masks) in zip(DIRECTIONS, cuts, strict=True):
        step = -(-max(grey.shape) // _MOST_PIXELS)
        levels = np.clip((np.nan_to_num(grey.astype(np.float64)) - low) / max(high - low, 1e-9), 0, 1)
        thin_truth, thin_general, thin_mixture = (mask[::step, ::step] for mask in masks)
        planes.append(
            Plane(
                image=(levels[::step, ::step] * 255).round().astype(np.uint8),
                truth=thin_truth,
                general=thin_general,
                mixture=thin_mixture,
                pixel_mm=(float(spacing[direction.up]) * step, float(spacing[direction.across]) * step),
            )
        )
    return tuple(planes)


def centre_voxel(masks: Sequence[NDArray[np.bool_]], spacing_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the voxel that the planes go through.

    That is the voxel of the first mask nearest to its centre of mass, so that a curved or paired structure is met by
    all planes; where that mask is empty, of the next; where all are, the middle of the image.
    """
    for mask in masks:
        voxels = np.argwhere(mask)
        if len(voxels):
            distance = (((voxels - voxels.mean(axis=0)) * spacing_mm) ** 2).sum(axis=1)
            return np.asarray(voxels[distance.argmin()])
    return np.array(masks[0].shape, dtype=np.int64) // 2


def best_median_worst(pictures: Sequence[Picture]) -> list[tuple[str, Picture]]:
    """Chooses the cases of one class to show, by Dice of the mixture, the worst last; each once where there are few."""
    ordered = sorted(pictures, key=lambda one: (-(one.mixture_dice or 0.0), one.case))
    places = {"Best": 0, "Worst": len(ordered) - 1, "Median": len(ordered) // 2}
    chosen: dict[int, str] = {}
    for words, place in places.items():
        chosen.setdefault(place, words)
    return [(words, ordered[place]) for place, words in sorted(chosen.items())]


def draw_pictures(pictures: Sequence[tuple[str, Picture]]) -> Figure:
    """Draws cases under each other: the bare axial plane, then three planes with outlines, in radiological convention.

    Args:
        pictures: at least one, with the word that its heading begins with.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 1 + len(DIRECTIONS)
    heights = [max(plane.size_mm[0] for plane in one.planes) * _scale(one) for _, one in pictures]
    width = columns * _PANEL_INCHES + (columns - 1) * _GAP_INCHES
    height = _LEGEND_INCHES + sum(heights) + len(pictures) * _HEADING_INCHES
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    _add_legend(figure, height)
    top = _LEGEND_INCHES
    for (words, picture), tall in zip(pictures, heights, strict=True):
        figure.text(0, 1 - (top + 0.17) / height, f"{words}: {plain(picture.case)}", size=9, weight="bold", color=INK)
        said = f"Dice of the general expert {percent(picture.general_dice)}, of the mixture "
        figure.text(1, 1 - (top + 0.17) / height, said + percent(picture.mixture_dice), size=9, color=MUTED, ha="right")
        top += _HEADING_INCHES
        shown = ((DIRECTIONS[0], picture.planes[0], False), *((d, p, True) for d, p in _pairs(picture)))
        for column, (direction, plane, outlined) in enumerate(shown):
            up, across = (side * _scale(picture) for side in plane.size_mm)
            left = column * (_PANEL_INCHES + _GAP_INCHES) + (_PANEL_INCHES - across) / 2
            place = (left / width, 1 - (top + (tall + up) / 2) / height, across / width, up / height)
            _draw_plane(figure.add_axes(place), direction, plane, outlined=outlined)
        top += tall
    return figure


def _pairs(picture: Picture) -> list[tuple[_Direction, Plane]]:
    return list(zip(DIRECTIONS, picture.planes, strict=True))


def _scale(picture: Picture) -> float:
    """Returns inches a mm, one for all planes of a case."""
    return _PANEL_INCHES / max(side for plane in picture.planes for side in plane.size_mm)


def _cut(volume: NDArray[Any], at: NDArray[np.int64], direction: _Direction) -> NDArray[Any]:
    """Returns a plane as rows from top to bottom; of each RAS axis the highest index comes first."""
    return np.asarray(np.take(volume, at[direction.normal], axis=direction.normal)[::-1, ::-1].T)


def _box_around(
    masks: NDArray[np.bool_], centre: NDArray[np.int64], spacing: NDArray[np.float64]
) -> tuple[slice, slice, slice]:
    """Returns a cube, in mm, around all masks; it ends where the image does."""
    found = box_around(masks) or tuple(slice(int(c), int(c) + 1) for c in centre)
    first, last = (np.array([getattr(side, end) for side in found]) for end in ("start", "stop"))
    side_mm = max(((last - first) * spacing).max() * (1 + 2 * _MARGIN), _LEAST_VOXELS * spacing.max())
    reach = np.ceil(side_mm / 2 / spacing).astype(np.int64)
    low = np.maximum(0, (first + last) // 2 - reach)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, (first + last) // 2 + reach + 1, strict=True))
    return x, y, z


def _add_legend(figure: Figure, height: float) -> None:
    from matplotlib.lines import Line2D

    lines = [("Truth", TRUTH_LINE), ("General expert", GENERAL_LINE), ("Mixture", MIXTURE_LINE)]
    legend = figure.legend(
        handles=[Line2D([], [], color=colour, linewidth=2.5, label=words) for words, colour in lines],
        loc="upper left",
        bbox_to_anchor=(0, 1 - 0.04 / height),
        ncols=3,
        frameon=True,
        facecolor=INK,
        edgecolor=INK,
        fontsize=8.5,
        borderaxespad=0.0,
    )
    for text in legend.get_texts():
        text.set_color("white")


def _draw_plane(axes: Axes, direction: _Direction, plane: Plane, *, outlined: bool) -> None:
    rows, columns = plane.image.shape
    aspect = plane.pixel_mm[0] / plane.pixel_mm[1]
    axes.imshow(plane.image, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="bilinear")
    axes.set_axis_off()
    if outlined:
        _outline(axes, plane.truth, TRUTH_LINE, width=1.8)
        _outline(axes, plane.general, GENERAL_LINE, width=1.1)
        _outline(axes, plane.mixture, MIXTURE_LINE, width=1.4)
    else:
        _draw_ruler(axes, plane.size_mm[1])
    _name_edges(axes, direction)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str, *, width: float) -> None:
    if not mask.any():
        return
    # A ring of background closes outlines that reach the border of the picture.
    padded = np.pad(mask.astype(float), 1)
    rows, columns = np.arange(padded.shape[0]) - 1, np.arange(padded.shape[1]) - 1
    axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linewidths=width)


def _name_edges(axes: Axes, direction: _Direction) -> None:
    places = ((0.03, 0.5, "left", "center"), (0.97, 0.5, "right", "center"), (0.5, 0.98, "center", "top"))
    for letter, (x, y, ha, va) in zip(direction.edges, (*places, (0.5, 0.02, "center", "bottom")), strict=True):
        axes.text(x, y, letter, ha=ha, va=va, size=7, transform=axes.transAxes, **_legible())


def _draw_ruler(axes: Axes, width_mm: float) -> None:
    """Draws a bar of a round length, about a quarter of the picture's width, into the lower left corner."""
    wanted = width_mm / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    end = 0.05 + length / width_mm
    axes.plot([0.05, end], [0.06, 0.06], linewidth=1.6, transform=axes.transAxes, **_legible())
    axes.text(0.05, 0.085, f"{length:g} mm", ha="left", va="bottom", size=6.5, transform=axes.transAxes, **_legible())


def _legible() -> dict[str, Any]:
    """Returns settings for what is written onto an image, bright with a dark rim."""
    from matplotlib.patheffects import withStroke

    return {"color": "white", "path_effects": [withStroke(linewidth=2.2, foreground="black")]}
