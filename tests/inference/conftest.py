"""A network and a gate whose answers are known, and the entries of a mixture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sammoe_pipeline.artefacts import (
    Configuration,
    LabelEntry,
    MixtureCard,
    MixtureDataset,
    MixtureExpert,
    Provenance,
)
from sammoe_pipeline.clicks import Click, component_at
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.predict import predict_folder
from sammoe_pipeline.inference.predictions import Predictions
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.inference.wanted import PromptSource
from sammoe_pipeline.model.gate import GateDataset


class BrightThing(nn.Module):
    """Stands for a foundation: the mask is the bright component under the newest positive click.

    The embedding is the window itself, and mask cells are voxels. `prompts` keeps the clicks of every decoding, as
    (position, label).
    """

    patch_size = mask_size = 16
    embedding_size = 4
    embedding_channels = context_channels = 1
    detail_channels = 0

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self.prompts: list[list[tuple[tuple[float, ...], int]]] = []
        self.encoded = 0

    def encode(self, image: Tensor) -> Tensor:
        self.encoded += len(image)
        return image

    def see(self, embedding: Tensor, mask_decoder: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        return embedding

    def decode(
        self,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        previous_logits: Tensor | None = None,
        *,
        mask_decoder: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        masks = []
        for window, at_each, label_each in zip(embedding[:, 0], points.tolist(), labels.tolist(), strict=True):
            clicks = [(tuple(at), label) for at, label in zip(at_each, label_each, strict=True)]
            self.prompts.append(clicks)
            x, y, z = next(at for at, label in reversed(clicks) if label == 1)
            masks.append(component_at((window > 0).numpy(), Click(position=(x, y, z))))
        logits = torch.from_numpy(np.where(np.stack(masks), 8.0, -8.0).astype(np.float32))[:, None]
        return logits if mask_decoder is None else mask_decoder(logits)

    def upsample(self, logits: Tensor) -> Tensor:
        return logits


@pytest.fixture
def bright_thing() -> BrightThing:
    return BrightThing()


def encode(model: nn.Module, mask: NDArray[np.bool_]) -> EncodedImage:
    """Returns an image that is bright on a mask (x, y, z), encoded by a stub."""
    image = torch.from_numpy(np.where(mask, 10.0, 1.0).astype(np.float32))
    return EncodedImage(image, model=model, normalisation="positive")  # type: ignore[arg-type]


def box(shape: Sequence[int], *sides: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns a mask of a shape, True in a box of half-open sides."""
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(slice(first, stop) for first, stop in sides)] = True
    return mask


class FixedGate:
    """Stands for a gate whose confidences are known, and that reads native descriptions only.

    Args:
        general: of the general decoder, beside those of the experts.
        experts: by index.
    """

    datasets = (GateDataset(owners=(), configurations=()),)

    def __init__(self, general: float, *experts: float) -> None:
        self._values = torch.tensor([general, *experts])

    def shares(self, native: Tensor, votes: Sequence[float] | None = None) -> Tensor:
        return torch.ones(len(native), 1)

    def confidences(
        self, descriptions: Tensor, looked_into: Sequence[int], votes: Sequence[float] | None = None
    ) -> Tensor:
        return (self._values / self._values.sum())[None]

    def confidence_of(
        self, descriptions: Tensor, *, dataset: int, expert: int, votes: Sequence[float] | None = None
    ) -> Tensor:
        return self._values[[1 + expert]] / (self._values[0] + self._values[1 + expert])


DATASET = "Dataset007_Boxes"
MakeMixture = Callable[..., Mixture]
PROVENANCE = Provenance(versions={}, commit=None, seed=0, device="cpu", threads=1)
NATIVE = Configuration(name="native", spacing_mm=1.0, patch_size=16)


def expert(task: str, *classes: str, configuration: Configuration = NATIVE, folds: int = 1) -> MixtureExpert:
    """Returns an expert's entry, without hashes."""
    serving = {str(fold): fold for fold in range(folds)}
    return MixtureExpert(
        dataset=DATASET,
        task=task,
        classes=classes,
        configuration=configuration,
        sha256=dict.fromkeys(serving, ""),
        expert_fold=serving,
        threshold=0.5,
    )


def member(
    values: dict[str, int],
    *,
    components: Sequence[str] = (),
    name: str = DATASET,
    located: bool = True,
    nested: bool = False,
) -> MixtureDataset:
    """Returns a dataset's entry: classes with their values, whether a locator finds them and whether they nest."""
    return MixtureDataset(
        dataset=name,
        num_folds=1,
        held_out_folds=(0,),
        configurations=dict.fromkeys(values, NATIVE),
        values=values,
        nested=nested,
        targets={c: "component" if c in components else "class" for c in values},
        experts={},
        locator_configuration=NATIVE if located else None,
        thresholds=dict.fromkeys(values, 0.5),
        locator_sha256={},
        locator_fold={"0": 0},
    )


def mixture_card(
    foundation: Foundation, datasets: Sequence[MixtureDataset], experts: Sequence[MixtureExpert], **changes: object
) -> MixtureCard:
    """Returns the card of a mixture of one fold, whose experts serve their own classes; output values count these."""
    served: dict[str, dict[str, str]] = {}
    for one in experts:
        served.setdefault(one.dataset, {}).update(dict.fromkeys(one.classes, expert_key(one.dataset, one.task)))
    datasets = [entry.model_copy(update={"experts": served.get(entry.dataset, {})}) for entry in datasets]
    names = [(entry.dataset, name) for entry in datasets for name in entry.values]
    card = MixtureCard(
        name="default",
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        folds=(0,),
        datasets=tuple(datasets),
        experts=tuple(experts),
        labels=tuple(LabelEntry(value=v, dataset=d, name=n) for v, (d, n) in enumerate(names, start=1)),
        gate_sha256={},
        top_k=2,
        max_general_loss=0.1,
        calibration=(),
        calibration_patients=0,
        seconds=0.0,
        provenance=PROVENANCE,
    )
    return card.model_copy(update=changes)


SHAPE = (30, 14, 12)
LEFT, RIGHT = box(SHAPE, (3, 9), (4, 9), (3, 8)), box(SHAPE, (20, 24), (4, 9), (3, 8))
IN_LEFT, IN_RIGHT = [5.0, 6.0, 5.0], [22.0, 6.0, 5.0]


@pytest.fixture
def make_mixture(nano_foundation: Foundation, bright_thing: BrightThing) -> MakeMixture:
    """Returns a function that makes a mixture whose decoders segment bright things and scale their logits."""
    foundation = replace(nano_foundation, card=nano_foundation.card.model_copy(update={"normalisation": "positive"}))

    def make(
        datasets: Sequence[MixtureDataset] = (),
        *,
        served: dict[str, float] | None = None,
        gate: FixedGate | None = None,
        locator: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Mixture:
        """Makes a mixture.

        Args:
            datasets: its members; the first is located by `locator`.
            served: for each class with an expert, what its decoder multiplies logits with.
            gate: by default sure of the experts.
            locator: logits of each class from a window and its place.
        """
        experts = tuple(expert(name, name) for name in served or {})
        return Mixture(
            foundation=foundation,
            model=bright_thing,  # type: ignore[arg-type]
            card=mixture_card(foundation, datasets, experts) if datasets else None,
            experts=experts,
            decoders={
                expert_key(DATASET, name): [lambda logits, factor=factor: factor * logits]  # type: ignore[dict-item,misc]
                for name, factor in (served or {}).items()
            },
            gates=[gate or FixedGate(0.01, *[1.0] * len(experts))],  # type: ignore[list-item]
            locators={datasets[0].dataset: [locator]} if datasets and locator else {},  # type: ignore[dict-item]
        )

    return make


def write_image(path: Path, mask: NDArray[np.bool_], affine: NDArray[np.float64] | None = None) -> Path:
    """Writes an image that is bright on a mask."""
    image = np.where(mask, 10.0, 1.0).astype(np.float32)
    write_volume(path, Volume(data=image, affine=np.eye(4) if affine is None else affine))
    return path


def write_prompts(folder: Path, *targets: tuple[str | None, Sequence[float]], frame: str = "voxel") -> Path:
    """Writes a prompt file: class and click of each target."""
    content = [{"class_name": name, "clicks": [{"position": list(position)}]} for name, position in targets]
    path = folder / "prompts.json"
    path.write_text(json.dumps({"frame": frame, "targets": content}))
    return path


def predict(
    mixture: Mixture, folder: Path, *, prompts: Path | PromptSource | None = None, **changes: Any
) -> Predictions:
    """Predicts the images in a folder's `in` into its `out`; without prompts, the locators look."""
    source = prompts if isinstance(prompts, PromptSource) else PromptSource("file" if prompts else "locator", prompts)
    settings = {"source": folder / "in", "target": folder / "out", "dataset": None, "device": "cpu"}
    return predict_folder(mixture, prompts=source, **{**settings, **changes})


def read_labels(folder: Path, name: str = "a.nii.gz") -> NDArray[Any]:
    """Returns a label map that was predicted."""
    return read_volume(folder / "out" / name).data
