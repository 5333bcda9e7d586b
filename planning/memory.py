"""How much memory a configuration needs: measured on a card, counted from the shapes of tensors elsewhere."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from planning.tasks import INTERACTIONS
from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.model import at_patch_size, build_sam_med3d, new_decoder
from sammoe_pipeline.training.embedded_views import ENCODED_TOGETHER
from sammoe_pipeline.training.losses import MaskLoss
from sammoe_pipeline.training.optimisation import autocast

if TYPE_CHECKING:
    from sammoe_pipeline.model import MaskDecoder, SamMed3D

BATCH_SIZE = 4
"""Views a step where memory allows: on the phantoms, 400 steps of four views taught as much as 300 of eight, in two
thirds of the time."""
_USUAL_GB = 8.0
_SHARE_OF_CARD = 0.9
_DIGITS = 3
_MOMENTS = 2
"""Copies of the trained weights that AdamW keeps."""


class Memory:
    """What finetuning an expert takes of the memory of the device that computes, and what it may take.

    On a card the work is done once, on made-up data, and the card's own count is read. Elsewhere it is done with
    tensors that have a shape and no content, in float32, and the bytes of those that are alive at once are counted;
    what libraries take for themselves comes on top.

    Args:
        foundation: whose encoder and decoder they are.
        target_gb: what it may take, in gigabytes (10^9 bytes).
        device: "cuda" or "cpu".

    Raises:
        UsageError: not even one view at a time in the foundation's own window fits.
    """

    def __init__(self, foundation: Foundation, target_gb: float, device: str) -> None:
        self.target_gb = target_gb
        self._foundation, self._device = foundation, device
        self._needed: dict[tuple[int, int], float] = {}
        least = self.needed_gb(foundation.card.patch_size, 1)
        if least > target_gb:
            raise UsageError(
                f"-gpu_memory_target {target_gb:g}: finetuning an expert of '{foundation.card.name}' takes {least:.2g} "
                f"GB at least, with one view a step. Allow as much."
            )

    def needed_gb(self, patch_size: int, batch_size: int) -> float:
        """Returns the most that weights, embedding views, and a step forward and back take at a time, in gigabytes.

        Args:
            patch_size: voxels a side of a window.
            batch_size: views a step.

        Returns:
            Gigabytes; infinity where the card itself was not large enough to measure it.
        """
        key = patch_size, batch_size
        if key not in self._needed:
            self._needed[key] = round(self._bytes(patch_size, batch_size) / 1e9, _DIGITS)
        return self._needed[key]

    def _bytes(self, patch_size: int, batch_size: int) -> float:
        if self._device != "cuda":
            return _counted(self._foundation.card.builder, patch_size, batch_size)
        try:
            return _measured(self._foundation, patch_size, batch_size)
        except torch.OutOfMemoryError:
            return math.inf
        finally:
            torch.cuda.empty_cache()

    def fits(self, patch_size: int) -> bool:
        """Tells whether a window of so many voxels a side can be used, one view at a time."""
        return self.needed_gb(patch_size, 1) <= self.target_gb

    def largest_batch(self, patch_sizes: Iterable[int]) -> int:
        """Returns how many views a step takes: as many as are worth it, or as fit in every window."""
        sizes = set(patch_sizes)
        return next(
            batch
            for batch in range(BATCH_SIZE, 0, -1)
            if batch == 1 or all(self.needed_gb(size, batch) <= self.target_gb for size in sizes)
        )

    def remark_on(self, left_out: Configuration) -> str:
        """Says why a candidate was not tried."""
        return (
            f"{left_out.name} was not tried: finetuning in windows of {left_out.patch_size} voxels takes "
            f"{self.needed_gb(left_out.patch_size, 1):.1f} GB of the {self.target_gb:g} allowed (-gpu_memory_target)"
        )


def usual_target_gb(device: str) -> float:
    """Returns what finetuning may take where nobody says: nnU-Net's 8 GB, or what a smaller card has."""
    if device != "cuda":
        return _USUAL_GB
    return min(_USUAL_GB, round(_SHARE_OF_CARD * torch.cuda.get_device_properties(device).total_memory / 1e9, 1))


def _measured(foundation: Foundation, patch_size: int, batch_size: int) -> int:
    model = at_patch_size(foundation.load_model("cuda"), patch_size)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    with autocast("cuda"):
        decoder = _embed_and_step(model, batch_size, "cuda")
    return int(torch.cuda.max_memory_allocated()) + _of_optimiser(decoder)


@cache
def _counted(builder: str, patch_size: int, batch_size: int) -> int:
    with LiveBytes() as live, torch.device("meta"):
        model = build_sam_med3d(builder, patch_size).requires_grad_(False)
        decoder = _embed_and_step(model, batch_size, "meta")
    return int(live.most) + _of_optimiser(decoder)


def _embed_and_step(model: SamMed3D, batch_size: int, device: str) -> MaskDecoder:
    images = torch.zeros(ENCODED_TOGETHER, 1, *[model.patch_size] * 3, device=device)
    with torch.no_grad():
        model.encode(images)
    decoder = new_decoder(model, second_look=model.detail_channels > 0).requires_grad_(True)
    embedding = torch.zeros(batch_size, model.embedding_channels, *[model.embedding_size] * 3, device=device)
    target = torch.zeros(batch_size, 1, *[model.patch_size] * 3, device=device)
    points = torch.zeros(batch_size, INTERACTIONS, 3, device=device)
    labels = torch.ones(batch_size, INTERACTIONS, dtype=torch.int64, device=device)
    total, previous = torch.zeros((), device=device), None
    seen = decoder.see(embedding)
    for clicks in range(1, INTERACTIONS + 1):
        shown = points[:, :clicks], labels[:, :clicks]
        logits = model.decode(seen, *shown, previous, mask_decoder=decoder).float()
        total = total + MaskLoss()(model.upsample(logits), target, torch.ones_like(target))
        previous = logits.detach()
    torch.autograd.backward(total)
    return decoder


def _of_optimiser(decoder: MaskDecoder) -> int:
    return _MOMENTS * sum(int(parameter.nbytes) for parameter in decoder.parameters())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations make, as long as each of them is alive.

    Attributes:
        most: bytes alive at once, at most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._alive: dict[int, int] = {}
        self._now = 0

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operation and notes the memory of what it returns."""
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.most = max(self.most, self._now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._alive.pop(key)
