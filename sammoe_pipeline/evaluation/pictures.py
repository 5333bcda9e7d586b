"""One case in three planes: the image, the truth, and what the general expert and the mixture made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.evaluation.wording import percent
from sammoe_pipeline.page.style import GENERAL_LINE, INK, MIXTURE_LINE, MUTED, TRUTH_LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T", bound=np.generic)

RADIOLOGICAL = (
    "Radiological convention: the patient's right is on the left of axial and coronal planes, and the front is on the "
    "left of sagittal ones."
)

_PANEL_INCHES = 2.15
_GAP_INCHES = 0.07
_LEFT_INCHES, _TOP_INCHES = 0.3, 0.45
_MARGIN = 0.6
"""Surroundings on each side, as a share of the largest extent of what is drawn."""
_LEAST_VOXELS = 24
"""A side of the shown cube spans at least this many of the coarsest voxels."""


@dataclass(frozen=True)
class Picture:
    """A case to be drawn.

    Attributes:
        dataset: its dataset.
        case: its name.
        class_name: what is outlined.
        caption: what there is to see, in words.
        image: (x, y, z) in RAS+, any intensities.
        spacing_mm: voxel size along x, y, z.
        truth: the reference, boolean of the same shape; likewise what follows.
        general: mask of the general expert.
        mixture: mask of the mixture.
    """

    dataset: str
    case: str
    class_name: str
    caption: str
    image: NDArray[np.floating]
    spacing_mm: tuple[float, float, float]
    truth: NDArray[np.bool_]
    general: NDArray[np.bool_]
    mixture: NDArray[np.bool_]


@dataclass(frozen=True)
class _Plane:
    name: str
    normal: int
    across: int
    """Axis drawn from left to right, highest index first; likewise `up`, drawn from top to bottom."""
    up: int
    edges: tuple[str, str, str, str]
    """What lies left, right, above and below."""


_PLANES = (
    _Plane("Axial", normal=2, across=0, up=1, edges=("R", "L", "A", "P")),
    _Plane("Coronal", normal=1, across=0, up=2, edges=("R", "L", "S", "I")),
    _Plane("Sagittal", normal=0, across=1, up=2, edges=("A", "P", "S", "I")),
)


def write_picture_png(path: Path, picture: Picture) -> None:
    """Draws a case and writes it atomically as PNG.

    Args:
        path: ends in `.png`.
        picture: what to draw.
    """
    figure = draw_picture(picture)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130)


def draw_picture(picture: Picture) -> Figure:
    """Draws a case: a row a plane, through the truth's voxel nearest to its centre of mass; a column a mask.

    All panels have one scale in mm. The planes show the surroundings of all three masks, in radiological convention.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view = _view_of(picture)
    size_mm = np.array(view.image.shape) * view.spacing_mm
    scale = _PANEL_INCHES / max(size_mm)
    wide = max(size_mm[plane.across] for plane in _PLANES) * scale
    width = _LEFT_INCHES + 4 * (wide + _GAP_INCHES)
    height = _TOP_INCHES + sum(size_mm[plane.up] * scale + _GAP_INCHES for plane in _PLANES)
    lefts = [_LEFT_INCHES + column * (wide + _GAP_INCHES) for column in range(4)]

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    for left, (title, under) in zip(lefts, _headings(picture), strict=True):
        middle = (left + wide / 2) / width
        figure.text(middle, 1 - 0.19 / height, title, ha="center", va="center", size=9.5, weight="bold", color=INK)
        figure.text(middle, 1 - 0.36 / height, under, ha="center", va="center", size=8, color=MUTED)
    top = _TOP_INCHES
    for plane in _PLANES:
        across, tall = size_mm[plane.across] * scale, size_mm[plane.up] * scale
        middle = 1 - (top + tall / 2) / height
        figure.text(0.1 / width, middle, plane.name, rotation=90, va="center", size=8, color=MUTED)
        panels = [
            figure.add_axes(
                ((left + (wide - across) / 2) / width, 1 - (top + tall) / height, across / width, tall / height)
            )
            for left in lefts
        ]
        _draw_plane(panels, view, plane)
        top += tall + _GAP_INCHES
    return figure


def _headings(picture: Picture) -> list[tuple[str, str]]:
    """Returns title and subtitle of each column."""
    return [
        ("Image", ""),
        ("Truth", ""),
        ("General expert", f"Dice {percent(dice(picture.general, picture.truth))} %"),
        ("Mixture", f"Dice {percent(dice(picture.mixture, picture.truth))} %"),
    ]


def _draw_plane(panels: Sequence[Axes], view: _View, plane: _Plane) -> None:
    """Fills a row: the image alone, then with each mask."""
    image, truth = view.slice(view.image, plane), view.slice(view.truth, plane)
    rows, columns = image.shape
    low, high = view.grey
    aspect = view.spacing_mm[plane.up] / view.spacing_mm[plane.across]
    for axes in panels:
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")
        axes.set_axis_off()
    bare, of_truth, of_general, of_mixture = panels
    _name_edges(bare, plane.edges)
    _draw_ruler(bare, columns * view.spacing_mm[plane.across])
    _outline(of_truth, truth, TRUTH_LINE)
    for axes, mask, colour in ((of_general, view.general, GENERAL_LINE), (of_mixture, view.mixture, MIXTURE_LINE)):
        _outline(axes, truth, TRUTH_LINE, width=0.8, style="dotted")
        _outline(axes, view.slice(mask, plane), colour)
    for axes in panels:
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def centre_voxel(picture: Picture) -> NDArray[np.int64]:
    """Returns the voxel that the planes go through.

    That is the voxel of the truth nearest to its centre of mass, so that a curved or paired structure is met by all
    planes; where the truth is empty, of the mixture's mask, then of the general one's, then the middle of the image.
    """
    for mask in (picture.truth, picture.mixture, picture.general):
        voxels = np.argwhere(mask)
        if len(voxels):
            distance = (((voxels - voxels.mean(axis=0)) * picture.spacing_mm) ** 2).sum(axis=1)
            return np.asarray(voxels[distance.argmin()])
    return np.array(picture.image.shape, dtype=np.int64) // 2


@dataclass(frozen=True)
class _View:
    """The part of a picture that is shown, (x, y, z)."""

    image: NDArray[np.floating]
    truth: NDArray[np.bool_]
    general: NDArray[np.bool_]
    mixture: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    at: NDArray[np.int64]
    """Voxel that the planes go through."""

    def slice(self, volume: NDArray[T], plane: _Plane) -> NDArray[T]:
        """Returns a plane as rows from top to bottom; of each RAS axis the highest index comes first."""
        return np.asarray(np.take(volume, self.at[plane.normal], axis=plane.normal)[::-1, ::-1].T)

    @property
    def grey(self) -> tuple[float, float]:
        """Intensities shown as black and white: percentiles over the three planes."""
        shown = np.concatenate([self.slice(self.image, plane).ravel() for plane in _PLANES])
        low, high = np.percentile(shown, [1, 99.5])
        return float(low), float(high)


def _view_of(picture: Picture) -> _View:
    """Cuts out a cube, in mm, around all masks; it ends where the image does."""
    spacing, centre = np.array(picture.spacing_mm), centre_voxel(picture)
    voxels = np.vstack([np.argwhere(picture.truth | picture.general | picture.mixture), centre[None]])
    first, last = voxels.min(axis=0), voxels.max(axis=0) + 1
    side_mm = max(((last - first) * spacing).max() * (1 + 2 * _MARGIN), _LEAST_VOXELS * spacing.max())
    reach = np.ceil(side_mm / 2 / spacing).astype(np.int64)
    low = np.maximum(0, (first + last) // 2 - reach)
    box = tuple(slice(a, b) for a, b in zip(low, (first + last) // 2 + reach + 1, strict=True))
    return _View(
        image=picture.image[box],
        truth=picture.truth[box],
        general=picture.general[box],
        mixture=picture.mixture[box],
        spacing_mm=picture.spacing_mm,
        at=centre - low,
    )


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str, *, width: float = 1.5, style: str = "solid") -> None:
    if not mask.any():
        return
    # A ring of background closes outlines that reach the border of the picture.
    padded = np.pad(mask.astype(float), 1)
    rows, columns = np.arange(padded.shape[0]) - 1, np.arange(padded.shape[1]) - 1
    axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)


def _name_edges(axes: Axes, edges: Sequence[str]) -> None:
    places = ((0.03, 0.5, "left", "center"), (0.97, 0.5, "right", "center"), (0.5, 0.98, "center", "top"))
    for letter, (x, y, ha, va) in zip(edges, (*places, (0.5, 0.02, "center", "bottom")), strict=True):
        axes.text(x, y, letter, ha=ha, va=va, size=7.5, transform=axes.transAxes, **_legible())


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
