"""Plain finetuning, which the mixture is compared with: the image encoder, or its neck, is trained too.

It may answer its own task better. But it is another network: what it forgets of all other tasks no gate can give back,
and no mixture that shares the frozen encoder takes it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sammoe_pipeline.artefacts import FoundationCard, Task, sha256_of
from sammoe_pipeline.model import MaskDecoder, SamMed3D
from sammoe_pipeline.paths import FOUNDATION_JSON, safe_name
from sammoe_pipeline.training.optimisation import make_optimiser

SLOWER = 0.3
"""Learning rate of the encoder, as a part of the decoder's: it has learnt already, and should change less."""


def unfreeze(model: SamMed3D, decoder: MaskDecoder, part: str) -> nn.Module:
    """Returns what is trained: the decoder alone, or the whole network with this decoder.

    Args:
        model: frozen.
        decoder: to be trained.
        part: of the image encoder that is trained too: "nothing", "neck" or "all".
    """
    if part == "nothing":
        return decoder
    model.mask_decoder = decoder
    trained = model.image_encoder if part == "all" else model.image_encoder.neck
    trained.requires_grad_(True).train()
    return model


def add_encoder(optimiser: torch.optim.Optimizer, model: SamMed3D) -> None:
    """Lets an optimiser of the decoder train what is not frozen of the image encoder too, more slowly."""
    for group in make_optimiser(model.image_encoder, optimiser.param_groups[0]["lr"]).param_groups:
        optimiser.add_param_group({"params": group["params"], "weight_decay": group["weight_decay"], "scale": SLOWER})


def save_as_foundation(
    origin: FoundationCard, dataset: str, task: Task, part: str, fold: int, weights: Path
) -> FoundationCard:
    """Writes the card that makes a finetuned network a foundation of its own, so that every command can use it.

    Args:
        origin: card of the foundation that was finetuned, with the patch size of the task.
        dataset: folder name of the dataset.
        task: that it was finetuned for.
        part: of the image encoder that was trained.
        fold: which fold.
        weights: of the whole network; the card is written beside them.

    Returns:
        The card.
    """
    card = origin.model_copy(
        update={
            "name": safe_name(f"{origin.name}_{dataset}_{task.name}_{part}_{fold}"),
            "trained_on": (*origin.trained_on, f"{dataset}: {', '.join(task.classes)}"),
            "sha256": sha256_of(weights),
            "source": f"sammoe_train_expert -d {dataset} --task {task.name} -f {fold} --unfreeze {part}",
        }
    )
    card.save(weights.parent / FOUNDATION_JSON)
    return card
