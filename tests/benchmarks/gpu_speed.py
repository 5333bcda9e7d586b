"""Milliseconds a 128^3 patch of the full-size image encoder on an NVIDIA GPU, beside the public implementation.

    python -m tests.benchmarks.gpu_speed --out result.json

Batches of 1 and 8, in every precision, with `torch.compile` and without, and `medim` in the same run: in float32, and
under autocast in the lower precisions, as its own code runs on cards. Times are medians. The card's rate at multiplying
large matrices in each precision is measured too, and which part of it the encoder reaches. Without a card it refuses.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.full_size import (
    DEPTH,
    gigaflop,
    median_seconds,
    multiply_rate,
    our_encoder,
    patches,
    public_encoder,
    save_random_weights,
)

BATCHES = (1, 8)
PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)
MATRIX_SIDE = 8192
RUNS, WARM_UP = 20, 3


def main() -> None:
    """Measures and writes the result, or refuses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This measures an NVIDIA GPU, and torch finds none here. On a processor run encoder_speed.")
    result = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        **compare("cuda", depth=DEPTH, matrix_side=MATRIX_SIDE, runs=RUNS),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def compare(device: str, *, depth: int, matrix_side: int, runs: int) -> dict[str, Any]:
    """Runs every way on a device and returns what each batch takes."""
    precisions = [
        p for p in PRECISIONS if p != torch.bfloat16 or device == "cpu" or torch.cuda.is_bf16_supported(False)
    ]
    rate = {precision: multiply_rate(precision, device, matrix_side) for precision in precisions}
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        weights = Path(folder) / "weights.safetensors"
        save_random_weights(weights, depth)
        public = public_encoder(weights, depth).to(device)
        exact = public(patches(1).to(device))
        for precision in precisions:
            ours = our_encoder(weights, depth, precision).to(device)
            translated = our_encoder(weights, depth, precision).to(device)
            translated.compile()
            ways: dict[str, Callable[[Tensor], Tensor]] = {
                "medim": _autocast(public, precision, device),
                "ours": ours,
                "ours, compiled": translated,
            }
            for batch in BATCHES:
                images = patches(batch).to(device)
                for name, encoder in ways.items():
                    seconds = _seconds(encoder, images, runs)
                    row: dict[str, Any] = {
                        "way": name,
                        "precision": str(precision).removeprefix("torch."),
                        "batch": batch,
                    }
                    row["ms_a_patch"] = None if seconds is None else round(1000 * seconds / batch, 2)
                    if seconds is not None and name != "medim":
                        row["part_of_multiply_rate"] = round(batch * gigaflop(depth) / seconds / rate[precision], 3)
                        difference = encoder(images[:1]).float() - exact
                        row["relative_error"] = float(difference.norm() / exact.norm())
                    rows.append(row)
            torch.compiler.reset()
    named = {str(precision).removeprefix("torch."): round(value) for precision, value in rate.items()}
    return {"blocks": depth, "gigaflop_of_a_patch": gigaflop(depth), "multiply_gigaflops": named, "ways": rows}


def _autocast(encoder: nn.Module, precision: torch.dtype, device: str) -> Callable[[Tensor], Tensor]:
    def encode(images: Tensor) -> Tensor:
        with torch.autocast(device, dtype=precision, enabled=precision != torch.float32):
            embedding: Tensor = encoder(images)
            return embedding

    return encode


def _seconds(encoder: Callable[[Tensor], Tensor], images: Tensor, runs: int) -> float | None:
    """Returns the median time of a batch, or None where it does not fit the card's memory."""
    try:
        return median_seconds(lambda: encoder(images), runs, WARM_UP)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


if __name__ == "__main__":
    main()
