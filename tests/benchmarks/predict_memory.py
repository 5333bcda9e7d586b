"""Peak memory and time of `sammoe_predict` on a CT of 512 x 512 x 1200 voxels with a hundred prompted targets.

    python -m tests.benchmarks.predict_memory --shared ../shared/data --out result.json
    python -m tests.benchmarks.predict_memory --shared ../shared/data --targets 5 --save_probabilities --out other.json

A torso CT, mirrored head to foot until it is 1.2 m long and interpolated to 0.8 x 0.8 x 1 mm. Its structures are
clicked on in every repetition, deep inside; the bundled foundation answers alone. The command runs as a user runs it,
in a process of its own, whose largest resident set is reported.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sammoe_pipeline.clicks import first_click
from sammoe_pipeline.image_io import Volume, read_volume, write_volume

SHAPE = (512, 512, 1200)
SPACING_MM = (0.8, 0.8, 1.0)
REPEATED = 3


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="real volumes of the tests")
    parser.add_argument("--targets", type=int, default=100, help="how many are clicked on (default: 100)")
    parser.add_argument("--save_probabilities", action="store_true", help="also write a probability map of each")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = write_case(arguments.shared / "totalsegmentator_v2" / "s0001", folder, arguments.targets)
        result = predicted(folder, prompts, arguments.save_probabilities)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def write_case(source: Path, folder: Path, number: int) -> Path:
    """Writes the long CT and a prompt file with clicks on its structures; returns the prompt file."""
    volume = read_volume(source / "ct.nii.gz")
    image = repeated(volume.data.astype(np.float32))
    long = F.interpolate(torch.from_numpy(image)[None, None], size=SHAPE, mode="trilinear")[0, 0]
    affine = np.diag([*SPACING_MM, 1.0])
    write_volume(folder / "images" / "long.nii.gz", Volume(data=long.round().numpy().astype(np.int16), affine=affine))
    scale = np.array(SHAPE) / np.array(image.shape)
    clicks = [list((np.array(position) + 0.5) * scale - 0.5) for position in positions(source)][:number]
    if len(clicks) < number:
        raise SystemExit(f"--targets {number}: the case has {len(clicks)} structures to click on.")
    path = folder / "prompts.json"
    path.write_text(json.dumps({"frame": "voxel", "targets": [{"clicks": [{"position": click}]} for click in clicks]}))
    return path


def repeated(data: NDArray[Any]) -> NDArray[Any]:
    """Returns a volume (x, y, z) with mirrored copies of itself behind it along z."""
    return np.concatenate([data[..., :: -1 if index % 2 else 1] for index in range(REPEATED)], axis=2)


def positions(source: Path) -> Iterator[tuple[float, float, float]]:
    """Yields a voxel deep inside each structure, repetition by repetition."""
    rng = np.random.default_rng(0)
    masks = [read_volume(path).data > 0 for path in sorted((source / "segmentations").glob("*.nii.gz"))]
    length = masks[0].shape[2]
    for index in range(REPEATED):
        for mask in masks:
            click = first_click(mask[..., :: -1 if index % 2 else 1], rng)
            if click is not None:
                x, y, z = click.position
                yield x, y, z + index * length


def predicted(folder: Path, prompts: Path, save_probabilities: bool) -> dict[str, Any]:
    """Runs the command, and tells what it took."""
    out = folder / "out"
    words = ["-i", str(folder / "images"), "-o", str(out), "--prompts", str(prompts), "--results", str(folder)]
    words += ["-device", "cpu", *(["--save_probabilities"] if save_probabilities else [])]
    began = time.perf_counter()
    command = "import sys; from sammoe_pipeline.commands.predict import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", command, *words], check=True)
    seconds = time.perf_counter() - began
    (case,) = json.loads((out / "predictions.json").read_text())["cases"]
    windows = [target["windows"] for target in case["targets"]]
    return {
        "voxels": SHAPE,
        "targets": len(windows),
        "probabilities": save_probabilities,
        "windows": sum(windows),
        "windows_by_target": dict(sorted(Counter(windows).items())),
        "empty": sum(target["volume_ml"] == 0 for target in case["targets"]),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
