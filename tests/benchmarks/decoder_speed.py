"""Time of decodings at full size: together and one at a time, and of a click more.

    python -m tests.benchmarks.decoder_speed --out result.json

One embedding of the `vit_b` network with random weights. Several prompts on it, in one call and one after another;
several experts on one prompt, likewise, each continuing its own mask; and a row of clicks in one window, each answered
from what the clicks before it left, beside answering them all again. Times are medians. Takes about a minute on two
cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.model import DecoderStack, MaskDecoder, SamMed3D, build_sam_med3d
from tests.benchmarks.full_size import median_seconds

PROMPTS = (1, 4, 16)
EXPERTS = (2, 5)
CLICKS = 10


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--builder", default="vit_b", help="network (default: vit_b)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu", help="default: cpu")
    parser.add_argument("--runs", type=int, default=7, help="of each (default: 7)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = build_sam_med3d(arguments.builder).eval().requires_grad_(False).to(arguments.device)
    embedding = torch.randn(1, model.embedding_channels, *[model.embedding_size] * 3, device=arguments.device)
    with torch.inference_mode():
        result = {
            "builder": arguments.builder,
            "device": torch.cuda.get_device_name()
            if arguments.device == "cuda"
            else f"{torch.get_num_threads()} threads",
            "prompts_ms": {count: prompts(model, embedding, count, arguments.runs) for count in PROMPTS},
            "experts_ms": {count: experts(model, embedding, count, arguments.runs) for count in EXPERTS},
            "clicks_ms": clicks(model),
        }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def prompts(model: SamMed3D, embedding: Tensor, count: int, runs: int) -> dict[str, float]:
    """Times some prompts on one embedding, at their first and at a later decoding."""
    points, labels = _prompts(model, count, embedding.device)
    previous = model.decode(embedding, points, labels)

    def one_at_a_time(masks: Tensor | None) -> None:
        for row in range(count):
            mask = None if masks is None else masks[[row]]
            model.decode(embedding, points[[row]], labels[[row]], mask)

    return _milliseconds(
        {
            "first, one at a time": lambda: one_at_a_time(None),
            "first, together": lambda: model.decode(embedding, points, labels),
            "later, one at a time": lambda: one_at_a_time(previous),
            "later, together": lambda: model.decode(embedding, points, labels, previous),
        },
        runs,
    )


def experts(model: SamMed3D, embedding: Tensor, count: int, runs: int) -> dict[str, float]:
    """Times some experts on one prompt, each continuing its own mask."""
    decoders = [_expert(model, seed) for seed in range(count)]
    stack = DecoderStack(decoders)
    points, labels = _prompts(model, 1, embedding.device)
    several = points.expand(count, -1, -1), labels.expand(count, -1)
    previous = model.decode(embedding, *several, mask_decoder=stack)

    def one_at_a_time() -> None:
        for row, decoder in enumerate(decoders):
            model.decode(embedding, points, labels, previous[[row]], mask_decoder=decoder)

    return _milliseconds(
        {
            "one at a time": one_at_a_time,
            "together": lambda: model.decode(embedding, *several, previous, mask_decoder=stack),
        },
        runs,
    )


def clicks(model: SamMed3D) -> dict[str, float]:
    """Times the answers to a growing row of clicks in one window, with what was kept and without."""
    image = torch.randn([model.patch_size] * 3)
    places, _ = _prompts(model, CLICKS, "cpu")
    made = tuple(Click(position=tuple(place)) for place in places[:, 0].tolist())
    kept = EncodedImage(image, model=model, normalisation="positive")
    seconds = {"with what was kept": 0.0, "all again on the embedding": 0.0}
    for count in range(1, CLICKS + 1):
        anew = EncodedImage(image, model=model, normalisation="positive")
        for name, encoded in zip(seconds, (kept, anew), strict=True):
            encoded.embedding((0, 0, 0))
            began = time.perf_counter()
            encoded.logits((0, 0, 0), made[:count], None).cpu()
            seconds[name] += time.perf_counter() - began
    return {name: round(1000 * total / CLICKS, 1) for name, total in seconds.items()}


def _expert(model: SamMed3D, seed: int) -> MaskDecoder:
    decoder = copy.deepcopy(model.mask_decoder)
    torch.manual_seed(seed)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.02)
    return decoder


def _prompts(model: SamMed3D, count: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    points = torch.rand(count, 1, 3, generator=torch.Generator().manual_seed(2)) * (model.patch_size - 1)
    return points.to(device), torch.ones(count, 1, dtype=torch.int64, device=device)


def _milliseconds(ways: dict[str, Any], runs: int) -> dict[str, float]:
    return {name: round(1000 * median_seconds(work, runs), 1) for name, work in ways.items()}


if __name__ == "__main__":
    main()
