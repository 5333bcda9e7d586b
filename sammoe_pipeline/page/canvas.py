"""What all figures have in common; none touches matplotlib's global state."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Literal

from sammoe_pipeline.page.style import INK, MUTED, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PictureKind = Literal["svg", "png", "jpeg"]

_MIME_TYPES = {"svg": "image/svg+xml", "png": "image/png", "jpeg": "image/jpeg"}
_JPEG_QUALITY = 88
_DPI = {"svg": 72, "png": 150, "jpeg": 150}


def panels(width: float, height: float, number: int = 1) -> tuple[Figure, list[Axes]]:
    """Returns a figure, in inches, and its panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    drawn = [figure.add_subplot(1, number, place + 1) for place in range(number)]
    for axes in drawn:
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8.5, color=RULE, labelcolor=INK)
        axes.xaxis.label.set(size=9, color=MUTED)
        axes.yaxis.label.set(size=9, color=MUTED)
        for side, spine in axes.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=RULE)
    return figure, drawn


def legend_above(axes: Axes, **settings: Any) -> None:
    """Puts the legend above a panel, out of the way of what it names."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        frameon=False,
        fontsize=8.5,
        borderaxespad=0.2,
        labelcolor=INK,
        handletextpad=0.4,
        **settings,
    )


def plain(words: str) -> str:
    """Keeps matplotlib from reading dollar signs as formulas."""
    return words.replace("$", r"\$")


def data_uri(figure: Figure, *, kind: PictureKind = "svg") -> str:
    """Returns a figure as an address that holds the picture itself, so that a page needs no other file."""
    return f"data:{_MIME_TYPES[kind]};base64,{base64.b64encode(picture(figure, kind=kind)).decode()}"


def picture(figure: Figure, *, kind: PictureKind) -> bytes:
    """Returns the content of a figure's file."""
    content = io.BytesIO()
    settings: dict[str, Any] = {"pil_kwargs": {"quality": _JPEG_QUALITY}} if kind == "jpeg" else {}
    figure.savefig(content, format=kind, dpi=_DPI[kind], **settings)
    return content.getvalue()
