"""The parts of a page. Text is escaped by whoever makes the part; `write_page` takes HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.page.canvas import PictureKind, data_uri
from sammoe_pipeline.page.style import STYLE_SHEET

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_page(path: Path, *, title: str, sections: Iterable[str], footer: str) -> None:
    """Writes a page that opens offline, atomically.

    Args:
        path: of the HTML file.
        title: of the window, as plain text.
        sections: HTML; empty ones are left out.
        footer: HTML.
    """
    body = "\n".join(section for section in sections if section)
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE_SHEET}</style>\n</head>\n<body>\n<main>\n{body}\n"
        f"<footer>{footer}</footer>\n</main>\n</body>\n</html>\n",
    )


def figure_block(figure: Figure, description: str, caption: str, *, kind: PictureKind = "svg") -> str:
    """Returns a figure with its caption; `description` is for those who cannot see it. Both are plain text."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{data_uri(figure, kind=kind)}" alt="{escape(description)}">{below}</figure>'


def tile(label: str, value: str, detail: str) -> str:
    """Returns one number, in large type, with its name and a remark; all three are HTML."""
    return (
        f'<div class="tile"><div class="label">{label}</div><div class="value">{value}</div>'
        f'<div class="detail">{detail}</div></div>'
    )


def facts(entries: Mapping[str, str]) -> str:
    """Returns a list of names and values, both plain text."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries.items())
    return f"<dl>{listed}</dl>"
