"""Further clicks: each says of the answer that it follows whether it slipped at the border or is of another thing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.routing import GENERAL, Routing, doubted, reconsider, select
from sammoe_pipeline.inference.segment import Answer

SHALLOW, DEEP = 0.2, 0.5
"""Depths of a click, in radii of the mask: nearer to its border than the first, a click only corrects the mask. A mask
that is of another thing is corrected further in or out; beyond the second depth nothing else is likely."""


@dataclass(frozen=True)
class Correction:
    """A further click, seen from the answer that it follows.

    Attributes:
        trust: how far what lies where it was made tells what is meant, 0 to 1. At the border of a mask, where things
            of two kinds meet, it tells nothing.
        doubt: how clearly it says that the answer is of another thing, 0 to 1; 0 where it confirms the answer.
    """

    trust: float
    doubt: float

    @classmethod
    def of(cls, answer: Answer, click: Click, spacing_mm: tuple[float, float, float]) -> Correction:
        """Judges a click by how deep it lies in what is wrong, or right, for the size of the mask.

        Args:
            answer: to the clicks before.
            click: in voxels of the answer's grid.
            spacing_mm: of that grid.
        """
        import edt

        mask = answer.logits.numpy() > 0
        voxels = int(mask.sum())
        if voxels == 0:
            return cls(trust=1.0, doubt=1.0)
        at = np.clip(np.round(click.position).astype(int), 0, np.array(answer.grid) - 1)
        # A voxel more on each side, so that a mask ends where its box does, but not where the image does.
        low = np.maximum(np.minimum(answer.start, at) - 1, 0)
        high = np.minimum(np.maximum(np.add(answer.start, mask.shape), at + 1) + 1, answer.grid)
        around = np.zeros(high - low, dtype=np.bool_)
        around[tuple(slice(s - a, s - a + n) for s, a, n in zip(answer.start, low, mask.shape, strict=True))] = mask
        place = tuple(at - low)
        inside = bool(around[place])
        # The border lies half a voxel nearer than the middle of the nearest voxel beyond it.
        side_mm = math.prod(spacing_mm) ** (1 / 3)
        depth_mm = float(edt.edt(around if inside else ~around, anisotropy=spacing_mm)[place]) - side_mm / 2
        radius_mm = side_mm * (voxels * 3 / (4 * math.pi)) ** (1 / 3)
        trust = min(1.0, max(0.0, (depth_mm / radius_mm - SHALLOW) / (DEEP - SHALLOW)))
        return cls(trust=trust, doubt=0.0 if click.positive == inside else trust)


def decide(
    clicks: Sequence[Click],
    judge: Callable[[Sequence[Click], Sequence[float]], dict[str, float]],
    answer: Callable[[Sequence[Click], Routing], Answer],
    *,
    spacing_mm: tuple[float, float, float],
    thresholds: Mapping[str, float],
    top_k: int,
) -> Routing:
    """Decides who answers a prompt: by its first click, and again by each that finds the answer wrong.

    Args:
        clicks: in voxels of the answers' grid, in the order in which they were made; the first is positive.
        judge: gives the confidences, by key, in clicks that count what their votes say: below 0 speaks against.
        answer: gives the answer to the clicks so far of whom was chosen.
        spacing_mm: of the answers' grid.
        thresholds: as in `select`.
        top_k: as in `select`.
    """
    heard, votes, doubts = [clicks[0]], [1.0], dict[str, float]()
    routing = select(judge(heard, votes), thresholds=thresholds, top_k=top_k)
    for number, click in enumerate(clicks[1:], start=1):
        correction = Correction.of(answer(clicks[:number], routing), click, spacing_mm)
        if correction.trust > 0:
            heard.append(click)
            votes.append(correction.trust if click.positive else -correction.trust)
            for answering in routing.chosen or (GENERAL,):
                doubts[answering] = max(doubts.get(answering, 0.0), correction.doubt)
            likely = doubted(judge(heard, votes), doubts)
            routing = reconsider(routing, likely, thresholds=thresholds, top_k=top_k)
    return routing
