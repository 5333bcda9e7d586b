"""What training an expert has reached: all that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sammoe_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from sammoe_pipeline.training.watching import TrainingLog


@dataclass
class ExpertState:
    """State of a training. Batches are drawn from the number of their iteration, so no random state belongs to it.

    Attributes:
        recipe: of all that decides the training.
        lesson: the same without how long it takes.
        student: what is trained: a decoder, or a whole network.
        optimiser: of the student.
        log: rows so far.
        budget: iterations that the learning rate is laid out for.
        iteration: steps that were taken.
        seconds: that they took.
        best_iteration: when the calibration cases were answered best.
        best_dice: mean Dice then.
        best_weights: of the student then.
        rate: learning rate of the last step.
        extended: iteration at which another budget was taken up, and the rate then; None where none was.
    """

    recipe: str
    lesson: str
    student: nn.Module
    optimiser: torch.optim.Optimizer
    log: TrainingLog
    budget: int
    iteration: int = 0
    seconds: float = 0.0
    best_iteration: int = 0
    best_dice: float = -1.0
    best_weights: dict[str, Tensor] | None = None
    rate: float = 0.0
    extended: tuple[int, float] | None = None

    def save(self, path: Path) -> None:
        """Writes a checkpoint, the best weights so far in it."""
        save_checkpoint(
            path,
            {
                "recipe": self.recipe,
                "lesson": self.lesson,
                "student": self.student.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "log": self.log.rows,
                "budget": self.budget,
                "iteration": self.iteration,
                "seconds": self.seconds,
                "best_iteration": self.best_iteration,
                "best_dice": self.best_dice,
                "best_weights": self.best_weights,
                "rate": self.rate,
                "extended": self.extended,
            },
        )

    def restore(self, path: Path, *, other_budget: bool) -> bool:
        """Takes up the state of a checkpoint, unless that of another recipe.

        Args:
            path: of the checkpoint.
            other_budget: go on from one of the same lesson with another budget, too.
        """
        state = load_checkpoint(path)
        same = state.get("recipe") == self.recipe
        if not same and not (other_budget and state.get("lesson") == self.lesson):
            return False
        self.student.load_state_dict(state["student"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.log.rows[:] = state["log"]
        self.iteration, self.seconds, self.rate = state["iteration"], state["seconds"], state["rate"]
        self.best_iteration, self.best_dice = state["best_iteration"], state["best_dice"]
        self.best_weights, self.extended = state["best_weights"], state["extended"]
        if state["budget"] != self.budget:
            self.extended = (self.iteration, self.rate)
        return True
