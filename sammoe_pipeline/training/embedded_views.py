"""Views embedded once by the frozen encoder, for a decoder to learn from as often as it likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.threads import one_thread, side_by_side
from sammoe_pipeline.training.embedding_cache import EmbeddingCache
from sammoe_pipeline.training.optimisation import autocast
from sammoe_pipeline.training.task_views import Draw, TaskViews, View

ENCODED_TOGETHER = 8

Encode = Callable[[Tensor], Tensor]
"""From images (B, 1, P, P, P) to what a decoder's training starts from: embeddings, or the images themselves."""


@dataclass(frozen=True)
class EmbeddedView:
    """One view whose image has become an embedding.

    Attributes:
        embedding: (C, g, g, g) float16 on the CPU; the image (1, P, P, P) itself where the encoder is trained too.
        target: (P, P, P) booleans.
        valid: (P, P, P) booleans.
        click: its first click, in voxels of the view.
        class_name: of its target.
    """

    embedding: Tensor
    target: Tensor
    valid: Tensor
    click: Click
    class_name: str


def embed_training_views(
    encode: Encode,
    views: TaskViews,
    numbers: Sequence[int],
    *,
    cache: EmbeddingCache | None,
    device: str,
    description: str,
) -> list[EmbeddedView]:
    """Draws training views and embeds those that the cache does not hold.

    Args:
        encode: the frozen encoder.
        views: draws the view of a number.
        numbers: which ones.
        cache: of earlier runs and other folds; None keeps nothing.
        device: where the encoder runs.
        description: for the progress bar.
    """

    def draw(number: int) -> EmbeddedView | View:
        for one in views.draws(number):
            if cache is not None and (found := cache.read(one)) is not None:
                return EmbeddedView(*found, class_name=one.class_name)
            view = views.view(one)
            if view is not None:
                drawn[number] = one
                return view
        raise views.nothing_to_show()

    def keep(number: int, made: EmbeddedView) -> None:
        if cache is not None and number in drawn:
            cache.write(drawn.pop(number), made.embedding, made.target, made.valid, made.click)

    drawn: dict[int, Draw] = {}
    return _embed(encode, draw, numbers, keep, device=device, description=description)


def embed_views(encode: Encode, views: Sequence[View], *, device: str, description: str) -> list[EmbeddedView]:
    """Embeds views that were drawn before.

    Args:
        encode: the frozen encoder.
        views: what to embed.
        device: where the encoder runs.
        description: for the progress bar.
    """
    return _embed(encode, views.__getitem__, range(len(views)), lambda *_: None, device=device, description=description)


def _embed(
    encode: Encode,
    draw: Callable[[int], EmbeddedView | View],
    numbers: Sequence[int],
    keep: Callable[[int, EmbeddedView], None],
    *,
    device: str,
    description: str,
) -> list[EmbeddedView]:
    from tqdm import tqdm

    def embed(some: Sequence[int]) -> list[EmbeddedView]:
        with one_thread():
            found = {number: draw(number) for number in some}
        new = {number: view for number, view in found.items() if isinstance(view, View)}
        made = {number: view for number, view in found.items() if isinstance(view, EmbeddedView)}
        if new:
            with torch.inference_mode(), autocast(device):
                images = torch.stack([view.image for view in new.values()])[:, None].to(device)
                embeddings = encode(images).half().cpu()
            for (number, view), embedding in zip(new.items(), embeddings, strict=True):
                made[number] = EmbeddedView(embedding, view.target, view.valid, view.click, view.class_name)
                keep(number, made[number])
        return [made[number] for number in some]

    embedded: list[EmbeddedView] = []
    groups = [numbers[first : first + ENCODED_TOGETHER] for first in range(0, len(numbers), ENCODED_TOGETHER)]
    with tqdm(total=len(numbers), desc=description, unit="view") as bar:
        for some in side_by_side(embed, groups):
            embedded += some
            bar.update(len(some))
    return embedded
