"""Files appear whole or not at all: everything is written beside its place and renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write to; on success it is renamed to `path`, on failure removed.

    The temporary name keeps the ending of `path`, since writers choose the format by it, and holds the process ID, so
    that two jobs writing the same file do not meet.

    Args:
        path: where the file shall be. Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` to fill; on success it is renamed to `path`, on failure removed.

    Args:
        path: where the folder shall be. Missing parent folders are made.

    Raises:
        OSError: there is such a folder already, and it is not empty.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes `content` to `path` atomically, in UTF-8."""
    write_bytes(path, content.encode("utf-8"))
