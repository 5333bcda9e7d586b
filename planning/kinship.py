"""Which classes are the two sides of one organ, and which look so alike that only their place tells them apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sammoe_pipeline.artefacts import ClassFingerprint

ALIKE_INTENSITY = 0.25
"""Mean intensities that differ by less, in standard deviations of the foreground, count as equal."""
ALIKE_SIZE = 1.5
"""Thicknesses that differ by less than this factor count as equal."""
_SIDES = re.compile(r"left|right|(?<![a-z0-9])(l|r|lh|rh)(?![a-z0-9])", re.IGNORECASE)
_OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l", "lh": "rh", "rh": "lh"}


def has_side(name: str) -> bool:
    """Says whether a class name has a left or a right.

    >>> has_side("kidney_left"), has_side("hippocampus-l"), has_side("liver")
    (True, True, False)
    """
    return _SIDES.search(name) is not None


def partner_of(name: str, names: Iterable[str]) -> str | None:
    """Returns the class of the other side, if a dataset has it.

    >>> partner_of("Left-Kidney", ["Right-Kidney", "Left-Kidney", "Liver"])
    'Right-Kidney'
    """
    other = _SIDES.sub(lambda found: _OTHER_SIDE[found[0].lower()], name).lower()
    return next((one for one in names if one.lower() == other and one != name), None)


def alike(name: str, classes: Mapping[str, ClassFingerprint]) -> tuple[str, ...]:
    """Returns the classes with about the same intensity in every channel and the same thickness, partners included.

    Args:
        name: a class.
        classes: by name, as far as they are measured.
    """
    one = classes[name]
    return tuple(
        other
        for other, measured in classes.items()
        if other != name and one.cases and measured.cases and _looks_like(one, measured)
    )


def _looks_like(one: ClassFingerprint, other: ClassFingerprint) -> bool:
    thin, thick = sorted((one.thickness_mm, other.thickness_mm))
    pairs = zip(one.intensities, other.intensities, strict=True)
    return thick < ALIKE_SIZE * thin and all(abs(a - b) < ALIKE_INTENSITY for a, b in pairs)
