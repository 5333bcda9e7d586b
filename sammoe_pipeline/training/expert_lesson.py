"""What an expert is asked in training: batches of prompts, as prediction will have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Budget, Training
from sammoe_pipeline.clicks import Click, first_click, next_click
from sammoe_pipeline.mask_prompts import mask_logits
from sammoe_pipeline.training.coarse_prompts import coarse_mask, loose_box
from sammoe_pipeline.training.data_parallel import Team
from sammoe_pipeline.training.embedded_views import EmbeddedView
from sammoe_pipeline.training.interaction import interactive_loss
from sammoe_pipeline.training.losses import MaskLoss
from sammoe_pipeline.training.optimisation import autocast
from sammoe_pipeline.training.pupil import Pupil

_CLICK_IN_THE_MIDDLE = 0.7
_CORRECTED_AT_ONCE = 0.5
"""Of the prompts that begin with a coarse mask, so many come with a click on its largest error."""
_HELD_BYTES = 1.5e9

Embed = Callable[[Sequence[int]], list[EmbeddedView]]


class Rounds:
    """The views of a training, a round of them at a time, so that memory is bounded whatever the budget.

    Position `j` of a batch of `B` draws from the views whose number is `j` modulo `B`, so a process that has some of
    the positions needs the views of those alone.

    Args:
        embed: makes the views of some numbers.
        budget: views and iterations.
        batch_size: B.
        positions: of the batch, that this process has.
        bytes_a_view: that an embedded view takes.
    """

    def __init__(
        self, embed: Embed, budget: Budget, *, batch_size: int, positions: Sequence[int], bytes_a_view: int
    ) -> None:
        self._embed, self._budget = embed, budget
        self._batch_size, self._positions = batch_size, positions
        share = max(1, round(budget.views * len(positions) / batch_size))
        self.count = max(1, -(-share * bytes_a_view // int(_HELD_BYTES)))
        self.views_a_round = max(batch_size, -(-budget.views // self.count))
        self._round, self._views = -1, dict[int, EmbeddedView]()

    def draw(self, iteration: int, position: int, rng: np.random.Generator) -> EmbeddedView:
        """Draws the view of a position in the batch of an iteration."""
        self._turn_to(min(self.count - 1, iteration * self.count // self._budget.iterations))
        turns = -(-(self.views_a_round - position) // self._batch_size)
        return self._views[position + self._batch_size * int(rng.integers(turns))]

    def _turn_to(self, number: int) -> None:
        if number == self._round:
            return
        self._views.clear()
        inside = [n for n in range(self.views_a_round) if n % self._batch_size in self._positions]
        views = self._embed([number * self.views_a_round + n for n in inside])
        self._round, self._views = number, dict(zip(inside, views, strict=True))


class Lesson:
    """Asks an expert, iteration by iteration.

    Args:
        pupil: who is asked.
        rounds: the views.
        settings: of the plan.
        seed: of everything random.
        team: the processes that share each batch.
        device: where it runs.
    """

    def __init__(
        self,
        pupil: Pupil,
        rounds: Rounds,
        settings: Training,
        *,
        seed: Sequence[int],
        team: Team,
        device: str,
    ) -> None:
        self._pupil, self._rounds, self._settings = pupil, rounds, settings
        self._seed, self._positions = tuple(seed), team.own(settings.batch_size)
        self._device = device
        self._loss_of = MaskLoss()

    def loss(self, iteration: int) -> Tensor:
        """Returns this process's part of the loss of a batch: over all processes they add up to the mean."""
        interactions = np.random.default_rng([*self._seed, 3, iteration]).integers(1, self._settings.interactions + 1)
        # A generator for each: what a prompt is like depends on no other, whoever has it.
        chance = [np.random.default_rng([*self._seed, 4, iteration, position]) for position in self._positions]
        views = [self._rounds.draw(iteration, p, rng) for p, rng in zip(self._positions, chance, strict=True)]
        begun = [self._begin(view, rng) for view, rng in zip(views, chance, strict=True)]
        given = torch.cat([logits for _, logits in begun])
        held = torch.stack([view.embedding for view in views]).float().to(self._device)
        with autocast(self._device):
            loss = interactive_loss(
                self._pupil.model,
                self._pupil.look(held),
                [clicks for clicks, _ in begun],
                torch.stack([view.target for view in views])[:, None].to(self._device),
                torch.stack([view.valid for view in views])[:, None].to(self._device),
                loss_of=self._loss_of,
                rounds=int(interactions),
                rng=chance,
                decoder=self._pupil.decoder,
                given_logits=given.to(self._device) if bool(given.any()) else None,
            )
        return loss * (len(views) / self._settings.batch_size)

    def _begin(self, view: EmbeddedView, rng: np.random.Generator) -> tuple[list[Click], Tensor]:
        """Draws what a prompt begins with: its clicks, and the logits (1, 1, m, m, m) of a mask, or zeros."""
        cells = self._pupil.model.mask_size
        clicks, nothing = [view.click], torch.zeros(1, 1, *[cells] * 3)
        if not bool(view.target.any()):
            return clicks, nothing
        if rng.random() > _CLICK_IN_THE_MIDDLE:
            # Prediction centres the window on the click; some clicks elsewhere in the target keep the decoder flexible.
            clicks = [first_click(view.target.numpy(), rng) or view.click]
        kind = rng.random()
        if kind >= self._settings.mask_prompts + self._settings.box_prompts:
            return clicks, nothing
        simulate = coarse_mask if kind < self._settings.mask_prompts else loose_box
        coarse = simulate(view.target, cells, rng)
        if rng.random() < _CORRECTED_AT_ONCE:
            shown = coarse.bool()
            for axis in range(3):
                shown = shown.repeat_interleave(view.target.shape[axis] // cells, dim=axis)
            click = next_click(shown.numpy(), view.target.numpy(), rng, view.valid.numpy())
            clicks += [click] if click else []
        return clicks, mask_logits(coarse[None, None], cells)
