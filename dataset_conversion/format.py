"""What is known of a layout of public datasets: how to read it, and what users are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataset_conversion.source import Source


@dataclass(frozen=True)
class Format:
    """One layout of public datasets.

    Attributes:
        read: takes the folder that the user named, and what `flags` say, and returns what lies there. Raises UsageError
            where that is not this format.
        summary: what it is, for `--list` and `--help`.
        modality: of the images.
        classes: in the order of their numbers; empty where the dataset itself says.
        licence: as far as it is established.
        where: from whom to get the data.
        tree: what the archive unpacks to.
        notes: what a user should know: traps, and what the converter does about them.
        flags: further flags of the command that the format takes.
    """

    read: Callable[..., Source]
    summary: str
    modality: str
    classes: tuple[str, ...]
    licence: str
    where: str
    tree: str
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def source(self, folder: Path, **flags: Any) -> Source:
        """Reads what lies in a folder; where that does not state its licence, the format's holds.

        Raises:
            UsageError: it is not this format, or a flag does not fit it.
        """
        source = self.read(folder, **flags)
        return replace(source, licence=source.licence or self.licence)
