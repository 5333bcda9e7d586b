"""Time to a trained expert, beside the public training loop with its encoder frozen too.

    python -m tests.benchmarks.training_speed -d 4 --task Hippocampus_1mm --updates 60 --out training.json

The public loop (SAM-Med3D's `train.py`) encodes every batch anew and plays eleven rounds in each, the loss of each on
the whole patch. Ours encodes each view once and plays one or two. Both make the same number of decoder updates on
batches of the same size from the same cases.

First with `tiny` on a planned dataset, all that a training does included, with the Dice that each reaches on the
calibration cases at one and three clicks. Then seconds an update at full size, where the public loop has the network of
the package `medim`; its encoder is most of the work. Weights are random there, so it has no Dice; views are drawn by
neither, and an embedding of ours serves as many updates as the planner has it serve.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from medim.models.sam_med3d import build_sam3D_vit_b_ori
from safetensors.torch import load_file
from torch import Tensor, nn

from sammoe_pipeline.artefacts import Budget, Task, Training
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.model import MaskDecoder, SamMed3D, Seen, build_sam_med3d, decoder_with, new_decoder
from sammoe_pipeline.paths import Results, find_folders
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.data_parallel import ALONE
from sammoe_pipeline.training.embedded_views import embed_views
from sammoe_pipeline.training.expert_job import ExpertJob
from sammoe_pipeline.training.expert_lesson import Lesson, Rounds
from sammoe_pipeline.training.expert_scores import dice_by_clicks
from sammoe_pipeline.training.losses import MaskLoss
from sammoe_pipeline.training.optimisation import learning_rate_at, make_optimiser
from sammoe_pipeline.training.peak_memory import peak_memory_mb
from sammoe_pipeline.training.pupil import Pupil
from sammoe_pipeline.training.task_views import TaskViews, View
from sammoe_pipeline.training.train_expert import train_expert

PUBLIC_ROUNDS = 11
_FULL_PATCH = 128
_VIEWS_AN_UPDATE = 0.8
_BATCH = 4


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", required=True, metavar="ID", help="planned and preprocessed dataset")
    parser.add_argument("--task", required=True, metavar="NAME", help="of its plan")
    parser.add_argument("-f", type=int, default=0, metavar="FOLD", help="fold (default: 0)")
    parser.add_argument("--updates", type=int, default=60, metavar="N", help="of the small network (default: 60)")
    parser.add_argument("--full_updates", type=int, default=2, metavar="N", help="at full size (default: 2)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = find_folders()
    foundation = find_foundation("tiny", folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    result: dict[str, Any] = {
        "foundation_sha256": foundation.card.sha256,
        "dataset": planned.name,
        "task": arguments.task,
        "fold": arguments.f,
        "batch": planned.plan.training.batch_size,
        "updates": arguments.updates,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "tiny": small(planned, planned.task(arguments.task), arguments.f, foundation, arguments.updates),
        "full_size": full_size(arguments.full_updates),
        "peak_mb": round(peak_memory_mb("cpu")),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def small(planned: PlannedDataset, task: Task, fold: int, foundation: Foundation, updates: int) -> dict[str, Any]:
    """Trains an expert of `tiny` in both ways, and tells seconds and Dice of each."""
    budget = Budget(views=round(_VIEWS_AN_UPDATE * updates), iterations=updates)
    task = task.model_copy(update={"budget": budget})
    tasks = tuple(task if other.name == task.name else other for other in planned.plan.tasks)
    changed = replace(planned, plan=planned.plan.model_copy(update={"tasks": tasks}))
    model = foundation.load_model()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        job = ExpertJob(changed, task, fold, foundation, Results(root=Path(folder), foundation="tiny"), "cpu")
        train_expert(job)
        seconds = time.perf_counter() - began
        memory = peak_memory_mb("cpu")
        ours = decoder_with(model, load_file(job.weights))

    def views(cases: Sequence[str], seed: int) -> TaskViews:
        return TaskViews(
            changed,
            cases=cases,
            classes=task.classes,
            configuration=changed.plan.configurations[task.configuration],
            normalisation=foundation.card.normalisation,
            seed=(planned.plan.seed, fold, seed),
        )

    began = time.perf_counter()
    public = new_decoder(model, second_look=planned.plan.training.second_look).requires_grad_(True).train()
    _public_loop(model, public, views(changed.fold(fold).train, 1), changed.plan.training, updates)
    public_seconds = time.perf_counter() - began
    plain = views(changed.fold(fold).calibration, 2).plain_views(per_target=2, limit=10_000)
    embedded = embed_views(model.encode, plain, device="cpu", description="Calibration views")
    dice = {
        name: {
            str(clicks): round(float(np.mean(list(by_class.values()))), 4)
            for clicks, by_class in dice_by_clicks(Pupil(model, decoder), embedded, device="cpu").items()
        }
        for name, decoder in (("general", None), ("ours", ours), ("public", public.eval()))
    }
    return {
        "seconds": {"ours": round(seconds, 1), "public": round(public_seconds, 1)},
        "times_faster": round(public_seconds / seconds, 1),
        "dice_by_clicks": dice,
        "our_peak_mb": round(memory),
    }


def _public_loop(model: SamMed3D, decoder: MaskDecoder, views: TaskViews, settings: Training, updates: int) -> None:
    """Trains a decoder of our network as the public loop does: in float32, each batch encoded anew."""
    optimiser, loss_of = make_optimiser(decoder, settings.learning_rate), MaskLoss()
    for update in range(updates):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(update, updates, settings.learning_rate)
        batch = [views.training_view(update * settings.batch_size + index) for index in range(settings.batch_size)]
        with torch.no_grad():
            embedding = model.encode(torch.stack([view.image for view in batch])[:, None])
        seen = decoder.see(embedding)

        def decode(points: Tensor, labels: Tensor, previous: Tensor | None, of: Seen = seen) -> Tensor:
            return model.decode(of, points, labels, previous, mask_decoder=decoder)

        _step(decode, _targets(batch), loss_of, optimiser, list(decoder.parameters()))


def _step(
    decode: Any, targets: Tensor, loss_of: MaskLoss, optimiser: torch.optim.Optimizer, trained: list[nn.Parameter]
) -> None:
    """Makes one update of the public loop: a click in the error a round, drawn evenly, and the loss of every round."""
    rng = torch.Generator().manual_seed(0)
    valid, mask = torch.ones_like(targets), torch.zeros_like(targets)
    points, labels = torch.zeros(len(targets), 0, 3), torch.zeros(len(targets), 0, dtype=torch.int64)
    previous: Tensor | None = None
    total = torch.zeros(())
    for _ in range(PUBLIC_ROUNDS):
        clicks, signs = zip(*(_click(m[0], t[0], rng) for m, t in zip(mask, targets, strict=True)), strict=True)
        points = torch.cat([points, torch.stack(clicks)[:, None].float()], dim=1)
        labels = torch.cat([labels, torch.tensor(signs)[:, None]], dim=1)
        logits = decode(points, labels, previous)
        whole = F.interpolate(logits, size=targets.shape[-3:], mode="trilinear", align_corners=False)
        total = total + loss_of(whole, targets, valid)
        previous, mask = logits.detach(), (whole.detach() > 0).float()
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(total / PUBLIC_ROUNDS)
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()


def _click(mask: Tensor, target: Tensor, rng: torch.Generator) -> tuple[Tensor, int]:
    wrong = torch.nonzero(mask != target)
    places = wrong if len(wrong) else torch.nonzero(target)
    at = places[torch.randint(len(places), (1,), generator=rng)[0]]
    return at, int(target[tuple(at)] > 0)


def _targets(batch: Sequence[View]) -> Tensor:
    return torch.stack([view.target for view in batch])[:, None].float()


def full_size(updates: int) -> dict[str, Any]:
    """Measures seconds an update at full size, ours and the public loop with `medim`'s network."""
    torch.manual_seed(0)
    centre = torch.arange(_FULL_PATCH) - _FULL_PATCH / 2
    ball = (centre[:, None, None] ** 2 + centre[None, :, None] ** 2 + centre[None, None, :] ** 2) < 30**2
    images = torch.randn(_BATCH, _FULL_PATCH, _FULL_PATCH, _FULL_PATCH)
    middle = Click((_FULL_PATCH // 2,) * 3)
    views = [View(image, ball, torch.ones_like(ball), middle, "ball") for image in images]
    ours = _our_update(views, updates)
    public = _public_update(views, updates)
    return {
        "seconds_an_update": {"ours": round(ours, 2), "public": round(public, 2)},
        "times_faster": round(public / ours, 1),
        "views_an_update": _VIEWS_AN_UPDATE,
    }


def _our_update(views: list[View], updates: int) -> float:
    model = build_sam_med3d("vit_b").eval().requires_grad_(False)
    decoder = copy.deepcopy(model.mask_decoder).requires_grad_(True).train()
    began = time.perf_counter()
    embedded = embed_views(model.encode, views, device="cpu", description="Embedding at full size")
    encoding = (time.perf_counter() - began) / len(views)
    rounds = Rounds(
        lambda numbers: [embedded[n % len(embedded)] for n in numbers],
        Budget(views=_BATCH, iterations=100),
        batch_size=_BATCH,
        positions=range(_BATCH),
        bytes_a_view=1,
    )
    settings = Training(batch_size=_BATCH, learning_rate=1e-3, interactions=2, mirror_axes=())
    lesson = Lesson(Pupil(model, decoder), rounds, settings, seed=(0,), team=ALONE, device="cpu")
    optimiser = make_optimiser(decoder, 1e-3)
    seconds = []
    for update in range(4 * updates):
        began = time.perf_counter()
        loss = lesson.loss(update)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        seconds.append(time.perf_counter() - began)
    return _VIEWS_AN_UPDATE * encoding + float(np.mean(seconds[1:]))


def _public_update(views: list[View], updates: int) -> float:
    model = build_sam3D_vit_b_ori().requires_grad_(False)
    model.mask_decoder.requires_grad_(True)
    trained = [p for p in model.mask_decoder.parameters() if p.requires_grad]
    optimiser, loss_of = torch.optim.AdamW(trained, lr=1e-4), MaskLoss()
    images = torch.stack([view.image for view in views])[:, None]
    seconds = []
    for _ in range(updates):
        began = time.perf_counter()
        with torch.no_grad():
            embedding = model.image_encoder(images)

        def decode(points: Tensor, labels: Tensor, previous: Tensor | None, of: Tensor = embedding) -> Tensor:
            masks = torch.zeros(len(of), 1, 32, 32, 32) if previous is None else previous
            sparse, dense = model.prompt_encoder(points=[points, labels], boxes=None, masks=masks)
            logits, _ = model.mask_decoder(
                image_embeddings=of,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            found: Tensor = logits
            return found

        _step(decode, _targets(views), loss_of, optimiser, trained)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


if __name__ == "__main__":
    main()
