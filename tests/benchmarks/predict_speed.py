"""Time of `sammoe_predict` beside the public inference code's steps, and with 32 experts beside one.

    python -m tests.benchmarks.predict_speed --shared ../shared/data --out result.json

One torso CT, as it is and interpolated to clinical size, with ten clicks on ten classes. Both networks are `vit_b` with
the same random weights and get the same clicks; the public one is that of the package `medim`. The steps of the public
code, for each class: read the file, resample it to 1.5 mm, turn it to RAS+, crop 128 voxels a side around the click,
normalise, embed, decode, and put the mask back onto the file's grid. Ours are those of the command, with its record and
review, from reading to the written label map. Masks of random weights
never close, so ours is held to one window a click, like the public code; where masks are large, each window more costs
what the first does. Loading weights is not counted for either.

Experts are copies of the decoder with noise, in one configuration; clicks do not name a class, so that the gate chooses
among all. Takes five minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from sammoe_pipeline.artefacts import (
    FoundationCard,
    LabelEntry,
    MixtureCard,
    MixtureDataset,
    MixtureExpert,
    provenance,
    sha256_of,
)
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from sammoe_pipeline.inference import encoded_case, predict_case
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.input_cases import InputCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.predict import predict_folder
from sammoe_pipeline.inference.prompt_description import new_gate
from sammoe_pipeline.inference.routing import GENERAL, expert_key
from sammoe_pipeline.inference.wanted import PromptSource
from sammoe_pipeline.model import SamMed3D, build_sam_med3d
from sammoe_pipeline.model.gate import Discriminant, Gate
from sammoe_pipeline.paths import FOUNDATION_WEIGHTS
from sammoe_pipeline.protocol_parity import public_network

CLASSES = tuple(f"class_{number}" for number in range(10))
SPACING_MM, PATCH = 1.5, 128
CLINICAL_MM = 0.75
DATASET = "Dataset001_Speed"


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="real volumes of the tests")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--classes", type=int, default=len(CLASSES), help=f"clicks a case (default: {len(CLASSES)})")
    parser.add_argument("--experts", type=int, nargs=2, default=(1, 32), help="numbers to compare (default: 1 32)")
    arguments = parser.parse_args()
    classes = CLASSES[: arguments.classes]
    encoded_case.segment = partial(encoded_case.segment, max_windows=1)  # type: ignore[assignment,attr-defined]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        foundation = write_foundation(folder / "speed")
        model = foundation.load_model()
        public = public_network(model.state_dict())
        cases = {}
        for case, path in write_cases(arguments.shared, folder / "images").items():
            cases[case] = beside_public(model, public, foundation, path, classes, folder / case)
            print(json.dumps({case: cases[case]}, indent=2), flush=True)
        experts = experts_beside_each_other(model, foundation, path, classes, tuple(arguments.experts), folder)
    result = {"threads": torch.get_num_threads(), "classes": len(classes), "cases": cases, "experts": experts}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def write_foundation(folder: Path) -> Foundation:
    """Writes random weights."""
    torch.manual_seed(0)
    model = build_sam_med3d("vit_b")
    folder.mkdir()
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / FOUNDATION_WEIGHTS)
    card = FoundationCard(
        name=folder.name,
        builder="vit_b",
        spacing_mm=SPACING_MM,
        patch_size=PATCH,
        normalisation="positive",
        trained_on=(),
        sha256=sha256_of(folder / FOUNDATION_WEIGHTS),
        licence="Apache-2.0",
        source="random weights",
        for_research_only=False,
    )
    return Foundation(card=card, folder=folder)


def write_cases(shared: Path, folder: Path) -> dict[str, Path]:
    """Writes the torso CT as it is, and at clinical size."""
    volume = read_volume(shared / "totalsegmentator_v2" / "s0001" / "ct.nii.gz")
    made = {"as it is": volume}
    factor = volume.spacing_mm[0] / CLINICAL_MM
    fine = F.interpolate(
        torch.from_numpy(volume.data.astype(np.float32))[None, None], scale_factor=factor, mode="trilinear"
    )[0, 0]
    affine = volume.affine @ np.diag([1 / factor, 1 / factor, 1 / factor, 1.0])
    made["at clinical size"] = Volume(data=fine.round().numpy().astype(np.int16), affine=affine)
    paths = {}
    for name, one in made.items():
        paths[name] = folder / name.replace(" ", "_") / "ct.nii.gz"
        write_volume(paths[name], one)
    return paths


def beside_public(
    model: SamMed3D, public: nn.Module, foundation: Foundation, path: Path, classes: tuple[str, ...], out: Path
) -> dict[str, Any]:
    """Times one case both ways, and says where our time goes."""
    clicks = clicks_in(path, len(classes))
    prompts = write_prompts(out, clicks, classes)
    mixture = Mixture(foundation=foundation, model=model, card=card_of(foundation, (), classes))
    began = time.perf_counter()
    theirs = [
        public_steps(public, path, click, out / f"{name}.nii.gz") for name, click in zip(classes, clicks, strict=True)
    ]
    public_seconds = time.perf_counter() - began
    with stages() as spent:
        began = time.perf_counter()
        predictions = predict(mixture, path, prompts, out / "ours")
        seconds = time.perf_counter() - began
    (case,) = predictions.cases
    assert case.error is None, case.error
    spent["other"] = seconds - sum(spent.values())
    return {
        "voxels": list(read_volume(path).data.shape),
        "windows": sum(target.windows for target in case.targets),
        "mask_voxels_public": int(sum(theirs)),
        "public_seconds": round(public_seconds, 2),
        "seconds": round(seconds, 2),
        "times_faster": round(public_seconds / seconds, 2),
        "where": {name: round(value, 3) for name, value in spent.items()},
    }


def experts_beside_each_other(
    model: SamMed3D,
    foundation: Foundation,
    path: Path,
    classes: tuple[str, ...],
    numbers: tuple[int, ...],
    folder: Path,
) -> dict[str, Any]:
    """Times prediction of the same prompts with few and many experts, by turns."""
    clicks = clicks_in(path, len(classes))
    prompts = write_prompts(folder / "free", clicks, (None,) * len(classes))
    mixtures = {}
    for number in numbers:
        served = {expert_key(DATASET, f"task_{k}"): (f"thing_{k}",) for k in range(number)}
        card = card_of(foundation, tuple(served.values()), classes)
        torch.manual_seed(number)
        gate = sure_of_experts(new_gate(foundation, model, card.datasets, card.experts))
        decoders = {key: [noisy(model.mask_decoder, seed)] for seed, key in enumerate(served)}
        mixtures[number] = Mixture(
            foundation=foundation, model=model, card=card, experts=card.experts, decoders=decoders, gates=[gate]
        )
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    for turn in range(3):
        for number, mixture in mixtures.items():
            began = time.perf_counter()
            (case,) = predict(mixture, path, prompts, folder / f"experts_{number}_{turn}").cases
            seconds[number].append(time.perf_counter() - began)
            assert case.error is None and all(target.chosen != GENERAL for target in case.targets), case
    medians = {str(number): round(statistics.median(values), 2) for number, values in seconds.items()}
    return {"seconds": medians, "ratio": round(medians[str(numbers[1])] / medians[str(numbers[0])], 3)}


def public_steps(network: Any, path: Path, click: Click, out: Path) -> int:
    """Segments one class as the public code does, and returns how many voxels its mask has."""
    image = SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32)
    size = [max(1, round(n * mm / SPACING_MM)) for n, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    coarse = SimpleITK.Resample(
        image,
        size,
        SimpleITK.Transform(),
        SimpleITK.sitkLinear,
        image.GetOrigin(),
        [SPACING_MM] * 3,
        image.GetDirection(),
        0.0,
    )
    canonical = SimpleITK.DICOMOrient(coarse, "RAS")
    array = SimpleITK.GetArrayFromImage(canonical)
    physical = image.TransformContinuousIndexToPhysicalPoint(click.position)
    at = canonical.TransformPhysicalPointToContinuousIndex(physical)[::-1]
    start = [round(value) - PATCH // 2 for value in at]
    window = np.zeros((PATCH,) * 3, dtype=np.float32)
    inside = [(max(0, s), min(n, s + PATCH)) for s, n in zip(start, array.shape, strict=True)]
    here = tuple(slice(low - s, high - s) for (low, high), s in zip(inside, start, strict=True))
    there = tuple(slice(low, high) for low, high in inside)
    window[here] = array[there]
    known = window[window > 0]
    window = (window - known.mean()) / known.std()
    with torch.inference_mode():
        embedding = network.image_encoder(torch.from_numpy(window)[None, None])
        point = torch.tensor([[[value - s for value, s in zip(at, start, strict=True)]]], dtype=torch.float32)
        sparse, dense = network.prompt_encoder(
            points=(point, torch.ones(1, 1, dtype=torch.int64)),
            boxes=None,
            masks=torch.zeros(1, 1, *[PATCH // 4] * 3),
        )
        logits, _ = network.mask_decoder(
            image_embeddings=embedding,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        mask = torch.sigmoid(F.interpolate(logits, size=(PATCH,) * 3, mode="trilinear"))[0, 0] > 0.5
    whole = np.zeros(array.shape, dtype=np.uint8)
    whole[there] = mask.numpy()[here]
    placed = SimpleITK.GetImageFromArray(whole)
    placed.CopyInformation(canonical)
    back = SimpleITK.Resample(
        placed, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0, SimpleITK.sitkUInt8
    )
    SimpleITK.WriteImage(back, str(out), useCompression=True)
    return int(mask.sum())


def clicks_in(path: Path, count: int) -> list[Click]:
    """Draws clicks (voxels of the file) in the inner half of an image, the same in space whatever its spacing."""
    shape = np.array(read_volume(path).data.shape)
    places = np.random.default_rng(0).uniform(0.25, 0.75, (count, 3)) * (shape - 1)
    return [Click(position=(float(x), float(y), float(z))) for x, y, z in places.round()]


def write_prompts(folder: Path, clicks: list[Click], classes: tuple[str | None, ...]) -> Path:
    """Writes the clicks as a prompt file."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [
        {"class_name": name, "clicks": [{"position": click.position}]}
        for name, click in zip(classes, clicks, strict=True)
    ]
    path = folder / "prompts.json"
    path.write_text(json.dumps({"frame": "voxel", "targets": targets}))
    return path


def predict(mixture: Mixture, path: Path, prompts: Path, target: Path) -> Any:
    """Runs what the command runs."""
    return predict_folder(
        mixture, source=path, target=target, dataset=None, prompts=PromptSource("file", prompts), device="cpu"
    )


def sure_of_experts(gate: Gate) -> Gate:
    """Fills a gate at random: it takes every image for the dataset's, and everything in it for a class of an expert."""
    for part in gate.modules():
        if isinstance(part, Discriminant):
            part.weight.normal_(std=0.01)
            part.bias.zero_()
    for dataset, told in enumerate(gate.datasets):
        for view in told.views:
            gate.discriminant(dataset, view).bias[told.components_of(None)] = -torch.inf
    return gate.eval()


def card_of(foundation: Foundation, tasks: tuple[tuple[str, ...], ...], classes: tuple[str, ...]) -> MixtureCard:
    """Returns the card of a mixture of a dataset, all of it in the native configuration."""
    experts = tuple(
        MixtureExpert(
            dataset=DATASET,
            task=f"task_{k}",
            classes=of,
            configuration=foundation.native,
            sha256={"0": ""},
            expert_fold={"0": 0},
            threshold=0.0,
        )
        for k, of in enumerate(tasks)
    )
    names = [*classes, *(name for of in tasks for name in of)]
    member = MixtureDataset(
        dataset=DATASET,
        num_folds=1,
        held_out_folds=(0,),
        configurations=dict.fromkeys(names, foundation.native),
        values={name: value for value, name in enumerate(names, start=1)},
        nested=False,
        targets=dict.fromkeys(names, "class"),
        experts={name: expert_key(DATASET, one.task) for one in experts for name in one.classes},
        locator_configuration=None,
        thresholds={},
        locator_sha256={},
        locator_fold={"0": 0},
    )
    return MixtureCard(
        name="speed",
        foundation=foundation.card.name,
        foundation_sha256=foundation.card.sha256,
        folds=(0,),
        datasets=(member,),
        experts=experts,
        labels=tuple(LabelEntry(value=value, dataset=DATASET, name=name) for value, name in enumerate(names, start=1)),
        gate_sha256={},
        top_k=1,
        max_general_loss=0.1,
        calibration=(),
        calibration_patients=0,
        seconds=0.0,
        provenance=provenance(seed=0, device="cpu", threads=torch.get_num_threads()),
    )


def noisy(decoder: nn.Module, seed: int) -> Any:
    """Returns a copy of a decoder that is slightly another."""
    torch.manual_seed(seed)
    made = copy.deepcopy(decoder)
    for parameter in made.parameters():
        parameter.data += 1e-3 * torch.randn_like(parameter)
    return made


@contextmanager
def stages() -> Iterator[dict[str, float]]:
    """Adds up the seconds that parts of the prediction take."""
    spent: dict[str, float] = {}
    parts: list[tuple[Any, str, str]] = [
        (InputCase, "read", "reading"),
        (CaseImage, "in_configuration", "resampling the image"),
        (SamMed3D, "encode", "encoding"),
        (EncodedImage, "window", "cutting windows"),
        (predict_case, "agreements", "review"),
        (predict_case.Canvas, "add", "competing"),
        (predict_case.SegmentedCase, "write", "writing"),
        (predict_case.OutputClass, "answer", "decoding and placing"),
        (predict_case.OutputClass, "route", "choosing"),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
    running: list[list[float]] = []

    def timed(work: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            running.append([0.0])
            began = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                whole = time.perf_counter() - began
                (within,) = running.pop()
                # What a part within takes counts there alone.
                spent[stage] = spent.get(stage, 0.0) + whole - within
                if running:
                    running[-1][0] += whole

        return run

    for (owner, name, work), (_, _, stage) in zip(kept, parts, strict=True):
        setattr(owner, name, timed(work, stage))
    try:
        yield spent
    finally:
        for owner, name, work in kept:
            setattr(owner, name, work)


if __name__ == "__main__":
    main()
