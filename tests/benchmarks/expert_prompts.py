"""What an expert gains and loses when it is taught other prompts than clicks on its structure.

    python -m tests.benchmarks.expert_prompts -d 901 -f 0 --out prompts.json

Every task of a planned dataset is trained on a fold once for each lesson: clicks alone, with prompts beside the
structure, with coarse masks and boxes, and with all of them. Then everybody is asked about the fold's held-out cases,
the general expert included: Dice with 1, 3 and 5 clicks, with a click and a coarse mask, with a click and a box, with a
click that misses the structure by a little; and how large an answer a click well beside it gets, as a part of the
structure's median size. Means over classes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from sammoe_pipeline.artefacts import Task
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.mask_prompts import mask_logits
from sammoe_pipeline.model import MaskDecoder, decoder_with
from sammoe_pipeline.paths import Results, find_folders
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.coarse_prompts import coarse_mask, loose_box
from sammoe_pipeline.training.embedded_views import EmbeddedView, embed_training_views, embed_views
from sammoe_pipeline.training.expert_job import ExpertJob
from sammoe_pipeline.training.expert_scores import dice, dice_by_clicks
from sammoe_pipeline.training.interaction import click_tensors
from sammoe_pipeline.training.pupil import Pupil
from sammoe_pipeline.training.task_views import TaskViews
from sammoe_pipeline.training.train_expert import train_expert
from tests.benchmarks.plan_changes import with_training

LESSONS: dict[str, dict[str, float]] = {
    "clicks": {},
    "and beside": {"negatives": 0.1},
    "and masks and boxes": {"mask_prompts": 0.15, "box_prompts": 0.15},
    "all": {"negatives": 0.1, "mask_prompts": 0.15, "box_prompts": 0.15},
}
_CLICKS = (1, 3, 5)
_MISSED_BY = 2
_PER_TARGET = 4


def main() -> None:
    """Measures and writes the result, which grows line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", required=True, metavar="ID", help="planned and preprocessed dataset")
    parser.add_argument("-f", type=int, default=0, metavar="FOLD", help="fold (default: 0)")
    parser.add_argument("--task", nargs="+", metavar="NAME", help="tasks of its plan (default: all)")
    parser.add_argument("--lessons", nargs="+", choices=LESSONS, default=list(LESSONS), help="default: all")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu", help="default: cpu")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = find_folders()
    foundation = find_foundation("tiny", folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    rows: list[dict[str, Any]] = []
    for task in planned.plan.tasks:
        if arguments.task and task.name not in arguments.task:
            continue
        examiner = Examiner(planned, task, arguments.f, foundation, arguments.device)
        rows.append({"task": task.name, "who": "general", **examiner.ask(None)})
        for lesson in arguments.lessons:
            changed = with_training(planned, **LESSONS[lesson])
            with tempfile.TemporaryDirectory() as folder:
                job = ExpertJob(
                    changed,
                    task,
                    arguments.f,
                    foundation,
                    Results(root=Path(folder), foundation="tiny"),
                    arguments.device,
                    cache_bytes=4e9,
                )
                card = train_expert(job)
                assert card is not None
                weights = load_file(job.weights)
            rows.append({"task": task.name, "who": lesson, "seconds": round(card.seconds, 1), **examiner.ask(weights)})
            sha256 = foundation.card.sha256
            result = {"foundation_sha256": sha256, "dataset": planned.name, "fold": arguments.f, "rows": rows}
            arguments.out.write_text(json.dumps(result, indent=2) + "\n")
            print(rows[-2:], flush=True)


class Examiner:
    """The held-out cases of a fold, and what is asked about them."""

    def __init__(self, planned: PlannedDataset, task: Task, fold: int, foundation: Foundation, device: str) -> None:
        self._device = device
        self._model = foundation.load_model(device)
        views = TaskViews(
            planned,
            cases=planned.fold(fold).val,
            classes=task.classes,
            configuration=planned.plan.configurations[task.configuration],
            normalisation=foundation.card.normalisation,
            seed=(planned.plan.seed, fold, 77),
            negatives=0.999999,
        )
        encode = self._model.encode
        plain = views.plain_views(per_target=_PER_TARGET, limit=10_000)
        self._views = embed_views(encode, plain, device=device, description="Held-out views")
        count = max(16, len(plain) // 2)
        self._beside = embed_training_views(
            encode, views, range(count), cache=None, device=device, description="Beside structures"
        )

    def ask(self, weights: dict[str, torch.Tensor] | None) -> dict[str, float]:
        """Returns what a decoder, or else the general one, makes of everything."""
        decoder = self._decoder(weights)
        pupil = Pupil(self._model, decoder)
        by_clicks = dice_by_clicks(pupil, self._views, device=self._device, clicks=_CLICKS)
        result = {f"{number} clicks": mean(of.values()) for number, of in by_clicks.items()}
        rng = np.random.default_rng(0)
        cells = self._model.mask_size
        result["mask"] = self._dice(
            pupil, [mask_logits(coarse_mask(v.target, cells, rng)[None, None], cells) for v in self._views]
        )
        result["box"] = self._dice(
            pupil, [mask_logits(loose_box(v.target, cells, rng)[None, None], cells) for v in self._views]
        )
        result["missed"] = self._dice(pupil, None, [_missed(view, rng) for view in self._views])
        sizes = {
            name: median(int(v.target.sum()) for v in self._views if v.class_name == name) for name in by_clicks[1]
        }
        known = [view for view in self._beside if view.class_name in sizes]
        masks = self._masks(pupil, known, None, [view.click for view in known])
        result["beside"] = mean(
            min(10.0, int(m.sum()) / sizes[v.class_name]) for m, v in zip(masks, known, strict=True)
        )
        return {name: round(value, 4) for name, value in result.items()}

    def _decoder(self, weights: dict[str, torch.Tensor] | None) -> MaskDecoder | None:
        if weights is None:
            return None
        return decoder_with(self._model, weights)

    def _dice(self, pupil: Pupil, given: Sequence[torch.Tensor] | None, clicks: Sequence[Click] | None = None) -> float:
        masks = self._masks(pupil, self._views, given, clicks or [view.click for view in self._views])
        scores: dict[str, list[float]] = {}
        for mask, view in zip(masks, self._views, strict=True):
            scores.setdefault(view.class_name, []).append(dice(mask, view))
        return mean(mean(values) for values in scores.values())

    def _masks(
        self,
        pupil: Pupil,
        views: Sequence[EmbeddedView],
        given: Sequence[torch.Tensor] | None,
        clicks: Sequence[Click],
    ) -> list[torch.Tensor]:
        masks: list[torch.Tensor] = []
        for first in range(0, len(views), 8):
            some = slice(first, first + 8)
            points, labels = click_tensors([[click] for click in clicks[some]], self._device)
            embedding = torch.stack([view.embedding for view in views[some]]).float().to(self._device)
            previous = torch.cat(list(given[some])).to(self._device) if given is not None else None
            with torch.inference_mode():
                logits = pupil.model.decode(embedding, points, labels, previous, mask_decoder=pupil.decoder)
                masks += list((pupil.model.upsample(logits.float())[:, 0] > 0).cpu())
        return masks


def _missed(view: EmbeddedView, rng: np.random.Generator) -> Click:
    """Returns a click just outside the structure, at most two voxels away, or the view's own."""
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(~view.target.numpy())
    near = np.argwhere((away > 0) & (away <= _MISSED_BY) & view.valid.numpy())
    if len(near) == 0:
        return view.click
    x, y, z = near[rng.integers(len(near))]
    return Click(position=(float(x), float(y), float(z)))


if __name__ == "__main__":
    main()
