"""Embeddings of training views kept on disk: other folds, and later runs, need not encode the same view again."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.atomic import write_bytes
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.training.task_views import Draw

logger = logging.getLogger(__name__)

GIGABYTE = 1 << 30
CACHE_GB = 8.0
"""Size where none is given. What is found need not be drawn either, which takes longer than to read it."""


class EmbeddingCache:
    """A folder of embedded views that stays below a size: what was not used for longest makes room.

    A view is found again by a digest of all that it depends on, so nothing in the folder can be out of date; it may be
    removed at any time. Several processes may share it: each is then bounded by what it saw when it began, and by what
    it wrote.

    Args:
        folder: where the files lie.
        recipe: what all views of a run have in common: foundation, configuration, augmentation, labels, seed.
        limit: bytes that the folder may hold.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], *, limit: float) -> None:
        self._folder = folder
        self._recipe = json.dumps(recipe, sort_keys=True)
        self._limit = limit
        self._opened = time.time()
        self._lock = threading.Lock()
        # A file that another process removes in this moment counts for nothing.
        self._sizes: dict[Path, tuple[float, int]] = {}
        for path in folder.glob("*/*.safetensors"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            self._sizes[path] = (state.st_mtime, state.st_size)
        self._total = sum(size for _, size in self._sizes.values())
        self._full = False

    def read(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor, Click] | None:
        """Returns embedding, target, valid voxels and first click of a view; None where it is not there, or broken."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._path(draw)
        try:
            held = load(path.read_bytes())
            with suppress(OSError):  # On a medium that cannot be written to it is as good.
                path.touch()
            shape = tuple(held["shape"].tolist())
            position = held["click"].tolist()
            embedding, target, valid = (
                held["embedding"],
                _unpacked(held["target"], shape),
                _unpacked(held["valid"], shape),
            )
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            logger.warning("%s cannot be read (%s); its view is embedded again", path, error)
            return None
        with self._lock:
            if path in self._sizes:
                self._sizes[path] = (time.time(), self._sizes[path][1])
        return embedding, target, valid, Click(position=(position[0], position[1], position[2]))

    def write(self, draw: Draw, embedding: Tensor, target: Tensor, valid: Tensor, click: Click) -> None:
        """Keeps a view, if it fits beside those that this run needs and the disk takes it."""
        from safetensors.torch import save

        content = save(
            {
                "embedding": embedding.contiguous(),
                "target": _packed(target),
                "valid": _packed(valid),
                "shape": torch.tensor(target.shape),
                "click": torch.tensor(click.position, dtype=torch.float32),
            }
        )
        path = self._path(draw)
        with self._lock:
            if not self._make_room(len(content)):
                return
            self._sizes[path] = (time.time(), len(content))
            self._total += len(content)
        try:
            write_bytes(path, content)
        except OSError as error:
            with self._lock:
                del self._sizes[path]
                self._total -= len(content)
                if not self._full:
                    self._full = True
                    logger.warning("%s cannot be written to (%s): views are embedded and not kept", self._folder, error)

    def _make_room(self, needed: int) -> bool:
        if self._full:
            return False
        if self._total + needed > self._limit:
            for path, (used, size) in sorted(self._sizes.items(), key=lambda item: item[1][0]):
                if used >= self._opened or self._total + needed <= self._limit:
                    break
                path.unlink(missing_ok=True)
                del self._sizes[path]
                self._total -= size
        if self._total + needed > self._limit:
            self._full = True
            logger.warning(
                "%s holds its %.1f GB: further views are embedded and not kept. Allow more with --cache_gb.",
                self._folder,
                self._limit / GIGABYTE,
            )
        return not self._full

    def _path(self, draw: Draw) -> Path:
        properties = draw.case.properties
        words = (self._recipe, properties.case, properties.source_digest, draw.class_name, draw.number, draw.beside)
        digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:32]}.safetensors"


def _packed(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.numpy()))


def _unpacked(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=int(np.prod(shape))).astype(bool).reshape(shape))
