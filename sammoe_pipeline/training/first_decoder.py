"""The decoder that an expert's finetuning starts from."""

from __future__ import annotations

import torch

from sammoe_pipeline.foundations import check_hash
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.model import MaskDecoder, SamMed3D, build_sam_med3d, new_decoder
from sammoe_pipeline.paths import EXPERT_WEIGHTS
from sammoe_pipeline.plan_check import SCRATCH
from sammoe_pipeline.training.expert_job import ExpertJob


def first_decoder(job: ExpertJob, model: SamMed3D) -> MaskDecoder:
    """Returns the decoder that finetuning starts from: the general one, another expert's, or one of random weights.

    Args:
        job: what is to be trained.
        model: the foundation's network, frozen.

    Raises:
        ArtefactError: the expert to start from is not there any more, or was trained again.
    """
    from safetensors.torch import load_file

    # A network that is trained whole learns to see without one, and has to remain a foundation.
    second_look = job.planned.plan.training.second_look and job.unfrozen == "nothing"
    torch.manual_seed(job.planned.plan.seed)
    if job.task.start_from == SCRATCH:
        model = build_sam_med3d(job.foundation.card.builder, model.patch_size).to(job.device)
    start = None
    if job.task.start_from not in (GENERAL, SCRATCH):
        other = job.planned.start_of(job.task)
        dataset, name = other.expert.split("/")
        weights = job.places.expert_fold(dataset, name, other.fold) / EXPERT_WEIGHTS
        check_hash(weights, other.sha256)
        start = load_file(weights)
    return new_decoder(model, second_look=second_look, start=start).requires_grad_(True).train()
