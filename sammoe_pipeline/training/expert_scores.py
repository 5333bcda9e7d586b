"""How well a decoder answers views of calibration cases, by class and number of clicks, and how that looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.training.embedded_views import EmbeddedView
from sammoe_pipeline.training.interaction import click_tensors, correct
from sammoe_pipeline.training.optimisation import autocast
from sammoe_pipeline.training.pupil import Pupil
from sammoe_pipeline.training.task_views import View

CLICKS = (1, 3)
"""Numbers of clicks that are measured."""
_DECODED_TOGETHER = 8
_EXAMPLES = 6
_SEED = 5

ByClicks = dict[int, dict[str, float]]
"""Mean Dice by number of clicks, then by class."""


def dice_by_clicks(
    pupil: Pupil, views: Sequence[EmbeddedView], *, device: str, clicks: Sequence[int] = CLICKS
) -> ByClicks:
    """Returns the mean Dice of each class over views, with the clicks of a user who corrects.

    Args:
        pupil: who answers.
        views: of cases that were not trained on.
        device: where it runs.
        clicks: numbers of clicks, ascending.
    """
    scores: dict[int, dict[str, list[float]]] = {number: {} for number in clicks}
    for number, masks in answers(pupil, views, device=device, clicks=clicks).items():
        for view, mask in zip(views, masks, strict=True):
            scores[number].setdefault(view.class_name, []).append(dice(mask, view))
    return {
        number: {name: float(np.mean(values)) for name, values in sorted(by_class.items())}
        for number, by_class in scores.items()
    }


def dice(mask: Tensor, view: EmbeddedView | View) -> float:
    """Returns the Dice of a mask (P, P, P) and a view's target, where the truth is known."""
    mask, truth = mask & view.valid, view.target & view.valid
    return 2 * int((mask & truth).sum()) / max(1, int(mask.sum()) + int(truth.sum()))


def answers(
    pupil: Pupil, views: Sequence[EmbeddedView], *, device: str, clicks: Sequence[int]
) -> dict[int, list[Tensor]]:
    """Returns the masks (P, P, P) of views, by number of clicks.

    Args:
        pupil: who answers.
        views: each with its first click; the others are those of a user who corrects, by the number of the view.
        device: where it runs.
        clicks: numbers of clicks, ascending.
    """
    masks: dict[int, list[Tensor]] = {number: [] for number in clicks}
    for first in range(0, len(views), _DECODED_TOGETHER):
        some = views[first : first + _DECODED_TOGETHER]
        targets, valid = torch.stack([view.target for view in some]), torch.stack([view.valid for view in some])
        so_far = [[view.click] for view in some]
        chance = [np.random.default_rng([_SEED, first + index]) for index in range(len(some))]
        previous: Tensor | None = None
        held = torch.stack([view.embedding for view in some]).float().to(device)
        with torch.inference_mode(), autocast(device):
            seen = pupil.look(held)
            for number in range(1, clicks[-1] + 1):
                points, labels = click_tensors(so_far, device)
                previous = pupil.model.decode(seen, points, labels, previous, mask_decoder=pupil.decoder).float()
                mask = (pupil.model.upsample(previous)[:, 0] > 0).cpu()
                if number in clicks:
                    masks[number] += list(mask)
                if number < clicks[-1]:
                    correct(so_far, mask, targets, valid, chance)
    return masks


def draw_examples(
    path: Path, general: Pupil, expert: Pupil, views: Sequence[View], embedded: Sequence[EmbeddedView], *, device: str
) -> None:
    """Draws a view of each of the first classes: the truth, the general expert's answer, and the expert's.

    Args:
        path: of the picture.
        general: who answers first.
        expert: who answers then.
        views: of calibration cases, with their images.
        embedded: the same views.
        device: where it runs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    of_class = {view.class_name: index for index, view in reversed(list(enumerate(views)))}
    chosen = list(of_class.items())[::-1][:_EXAMPLES]
    some = [embedded[index] for _, index in chosen]
    columns: list[tuple[str, list[Tensor]]] = [("truth", [])]
    for title, pupil, clicks in (("general", general, CLICKS[:1]), ("expert", expert, CLICKS)):
        for number, masks in answers(pupil, some, device=device, clicks=clicks).items():
            columns.append((f"{title}, {number} click{'s' if number > 1 else ''}", masks))
    figure = Figure(figsize=(2.4 * len(columns), 2.6 * len(chosen)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(chosen), len(columns), squeeze=False)
    for row, (name, index) in enumerate(chosen):
        view = views[index]
        level = round(view.click.position[2])
        image, truth = view.image[:, :, level].T.numpy(), view.target[:, :, level].T.numpy()
        for column, (title, masks) in enumerate(columns):
            axis = axes[row, column]
            axis.imshow(image, cmap="gray", origin="lower")
            axis.set_title(f"{title}: {dice(masks[row], view):.2f}" if masks else f"{name}, {title}", fontsize=8)
            if masks and bool(masks[row][:, :, level].any()):
                axis.contour(masks[row][:, :, level].T.numpy(), levels=[0.5], colors="orangered", linewidths=1)
            if truth.any():
                axis.contour(truth, levels=[0.5], colors="deepskyblue", linewidths=1, linestyles="dotted")
            axis.plot(*view.click.position[:2], "+", color="yellow", markersize=6)
            axis.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
