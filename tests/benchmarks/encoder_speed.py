"""Time and memory of the full-size image encoder on a processor, beside the public implementation.

    python -m tests.benchmarks.encoder_speed --out result.json

All ways are run by turns, each in processes of its own, on one 128^3 patch with the same random weights; times are
medians. Peak memory is that of the whole process, and what encoding adds to the weights. The rate at which the machine
multiplies matrices is measured in the same run, and so is how far the embeddings lie apart. Needs Linux. Takes about
three minutes on two cores; `--depth 1` is a trial.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

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

PUBLIC, EXACT = "medim float32", "float32"
WAYS = (PUBLIC, EXACT, "bfloat16")
COMPILED = ("float32 compiled", "bfloat16 compiled")
RUNS = 3
MATRIX_SIDE = 2048


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--depth", type=int, default=DEPTH, help="blocks (default: 12)")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile, which takes minutes")
    parser.add_argument("--measure", choices=(*WAYS, *COMPILED, "rates"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        found = rates() if arguments.measure == "rates" else measure(arguments.measure, arguments.out, arguments.depth)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        save_random_weights(Path(folder) / "weights.safetensors", arguments.depth)
        ways = (*WAYS, *COMPILED) if arguments.compile else WAYS
        result = compare(Path(folder), ways, arguments.rounds, arguments.depth)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def compare(folder: Path, ways: tuple[str, ...], rounds: int, depth: int) -> dict[str, Any]:
    """Runs all ways by turns and returns medians and ratios."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for way in ("rates", *ways):
            command = [sys.executable, "-m", __spec__.name, "--measure", way, "--out", str(folder)]
            done = subprocess.run([*command, "--depth", str(depth)], check=True, capture_output=True, text=True)
            found[way].append(json.loads(done.stdout))
    rate = {name: statistics.median(turn[name] for turn in found["rates"]) for name in found["rates"][0]}
    median = {way: {key: statistics.median(turn[key] for turn in found[way]) for key in found[way][0]} for way in ways}
    embeddings = {way: load_file(folder / f"{way}.safetensors")["embedding"] for way in ways}
    exact, public = embeddings[EXACT], median[PUBLIC]
    rows: dict[str, dict[str, float]] = {}
    for way in ways:
        rows[way] = {key: round(value, 3) for key, value in median[way].items()}
        rows[way]["times_faster"] = round(public["seconds"] / median[way]["seconds"], 1)
        rows[way]["part_of_process_mb"] = round(median[way]["process_mb"] / public["process_mb"], 3)
        rows[way]["part_of_encoding_mb"] = round(median[way]["encoding_mb"] / public["encoding_mb"], 3)
        rows[way]["largest_difference"] = float((embeddings[way] - exact).abs().max())
        rows[way]["relative_error"] = float((embeddings[way] - exact).norm() / exact.norm())
        if way != PUBLIC:
            reached = gigaflop(depth) / median[way]["seconds"]
            rows[way]["part_of_multiply_rate"] = round(reached / rate[way.split()[0]], 3)
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "blocks": depth,
        "gigaflop_of_a_patch": round(gigaflop(depth), 1),
        "multiply_gigaflops": {name: round(value) for name, value in rate.items()},
        "ways": rows,
    }


def measure(way: str, folder: Path, depth: int) -> dict[str, float]:
    """Measures one way in this process, and leaves its embedding in the folder."""
    weights = folder / "weights.safetensors"
    name, _, compiled = way.partition(" ")
    if way == PUBLIC:
        encoder = public_encoder(weights, depth)
    else:
        encoder = our_encoder(weights, depth, getattr(torch, name))
        if compiled:
            encoder.compile()
    image = patches(1)
    with torch.inference_mode():
        if compiled:
            encoder(image)  # translating takes memory of its own
        before = _resident_mb("VmRSS")
        # From here on the highest mark counts anew.
        Path("/proc/self/clear_refs").write_text("5")
        embedding = encoder(image)
        highest = _resident_mb("VmHWM")
        seconds = median_seconds(lambda: encoder(image), 1 if way == PUBLIC else RUNS)
    save_file({"embedding": embedding.contiguous()}, folder / f"{way}.safetensors")
    return {"seconds": seconds, "process_mb": highest, "encoding_mb": highest - before}


def rates() -> dict[str, float]:
    """Returns the 1e9 operations a second of matrix products, by precision."""
    return {name: multiply_rate(getattr(torch, name), "cpu", MATRIX_SIDE) for name in ("float32", "bfloat16")}


def _resident_mb(field: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].partition(':')[2].strip() if names else platform.processor()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
