"""3D Slicer's markups as prompts: a list of points is one target, and so is a box (ROI)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

SLICER_ENDING = ".mrk.json"
_NUMBER = re.compile(r"-\d+$")
_UNNAMED = re.compile(r"(F|R|ROI)(_\d+)?")
"""What 3D Slicer calls a list of points or a box that nobody named."""


def from_slicer(content: Any) -> dict[str, object]:
    """Translates markups into the pipeline's own prompt format; the name of a markup is its class.

    A control point whose description is "negative" is a negative click. Points and a box of one name are one target.

    Raises:
        KeyError, TypeError, ValueError: it is no such file, or holds what cannot be a prompt.
    """
    targets: list[dict[str, object]] = []
    frames = set()
    for markup in content["markups"]:
        frames.add(markup.get("coordinateSystem", "LPS"))
        prompt = {"box": _box(markup)} if markup.get("type") == "ROI" else {"clicks": _clicks(markup)}
        name = _name(markup)
        partner = next((t for t in targets if name is not None and t["class_name"] == name), None)
        if partner is not None and not partner.keys() & prompt.keys():
            partner.update(prompt)
        else:
            targets.append({"class_name": name, **prompt})
    if len(frames) != 1:
        raise TypeError(f"its markups use the frames {sorted(frames)}; one is needed")
    return {"frame": frames.pop(), "targets": targets}


def _clicks(markup: Any) -> list[dict[str, object]]:
    return [
        {
            "position": [float(value) for value in point["position"]],
            "positive": str(point.get("description", "")).strip().lower() != "negative",
        }
        for point in markup["controlPoints"]
    ]


def _box(markup: Any) -> dict[str, object]:
    if markup.get("insideOut", False):
        raise ValueError("a box is inside out; switch that off in 3D Slicer")
    centre = np.array(markup["center"], dtype=np.float64)
    # Row by row, and the directions of the box are its columns.
    axes = np.array(markup.get("orientation", np.eye(3).ravel()), dtype=np.float64).reshape(3, 3).T
    reach = np.array(markup["size"], dtype=np.float64) / 2 @ axes
    return {"corners": [(centre - reach).tolist(), (centre + reach).tolist()], "axes": axes.tolist()}


def _name(markup: Any) -> str | None:
    """Returns the name of a markup; 3D Slicer writes it into the labels of the points only, before a number."""
    labels = [_NUMBER.sub("", str(point.get("label", ""))) for point in markup.get("controlPoints", [])]
    name = str(markup.get("name") or next(iter(labels), "")).strip()
    return None if _UNNAMED.fullmatch(name) else name or None
