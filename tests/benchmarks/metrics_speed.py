"""Time of judging a label map of 117 classes at full size, beside MONAI class by class on the whole volume.

    python -m tests.benchmarks.metrics_speed --out result.json

The case has 512 x 512 x 400 voxels of 0.8 x 0.8 x 1.5 mm and as many classes as TotalSegmentator: large organs,
middling and small ones, and two dozen thin arches with large boxes, like ribs. The prediction is the reference with
uneven borders. Judging takes all classes. The library needs half an hour for all, so it takes every ninth, and is
compared with what judging needs for just these. Both give Dice, IoU, surface Dice and HD95, and the largest difference
between them is written, too. Takes about five minutes and 6 GB on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sammoe_pipeline.evaluation.label_maps import LabelMap, score_classes
from sammoe_pipeline.evaluation.surface import MaskScores

SHAPE = (512, 512, 400)
SPACING_MM = (0.8, 0.8, 1.5)
TOLERANCE_MM = 1.0
LARGE, MIDDLING, SMALL, ARCHES = 9, 36, 48, 24
"""Numbers of classes by kind, 117 in all."""

Labels = NDArray[np.uint8]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--every", type=int, default=9, metavar="N", help="class that the library takes (default: 9)")
    parser.add_argument("--runs", type=int, default=3, help="of judging (default: 3)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reference, prediction = phantom(np.random.default_rng(0))
    values = [int(value) for value in np.unique(reference) if value]
    taken = values[:: arguments.every]
    everything, some = [], []
    for _ in range(arguments.runs):
        seconds, _ = judged(prediction, reference, values)
        everything.append(seconds)
        seconds, ours = judged(prediction, reference, taken)
        some.append(seconds)
    library_seconds, theirs = by_library(prediction, reference, taken)
    result = {
        "shape": SHAPE,
        "spacing_mm": SPACING_MM,
        "threads": 1,
        "classes": len(values),
        "seconds_all": everything,
        "classes_taken": len(taken),
        "seconds_taken": some,
        "library": "MONAI",
        "library_seconds_taken": library_seconds,
        "times_faster": library_seconds / float(np.median(some)),
        "largest_difference": differences(ours, theirs),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def phantom(rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Returns a reference and a prediction (x, y, z) of 117 classes."""
    reference = np.zeros(SHAPE, dtype=np.uint8)
    value = 0
    for count, radii_mm in ((LARGE, (45, 80)), (MIDDLING, (18, 35)), (SMALL, (6, 14))):
        for _ in range(count):
            value += 1
            _add_ellipsoid(reference, value, rng.uniform(*radii_mm, size=3), rng)
    for _ in range(ARCHES):
        value += 1
        _add_arch(reference, value, rng)
    prediction = reference.copy()
    for axis in range(3):
        # Slabs are shifted by a voxel or two here and there: borders are uneven, and classes stay where they are.
        for start in range(0, SHAPE[(axis + 1) % 3], 40):
            slab = [slice(None)] * 3
            slab[(axis + 1) % 3] = slice(start, start + 25)
            prediction[tuple(slab)] = np.roll(prediction[tuple(slab)], int(rng.integers(-2, 3)), axis=axis)
    return reference, prediction


def _add_ellipsoid(labels: Labels, value: int, radii_mm: NDArray[np.float64], rng: np.random.Generator) -> None:
    radii = radii_mm / SPACING_MM
    centre = rng.uniform(radii + 8, np.array(SHAPE) - radii - 8)
    low, high = np.floor(centre - radii).astype(int), np.ceil(centre + radii).astype(int) + 1
    grid = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1
    labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][inside] = value


def _add_arch(labels: Labels, value: int, rng: np.random.Generator) -> None:
    """Adds half a ring, 7 mm thick, around the long axis, sinking as it goes round, as ribs do."""
    angles = np.linspace(0, np.pi, 900) + (np.pi if value % 2 else 0)
    height = rng.uniform(60, 300)
    path = np.stack([256 + 190 * np.cos(angles), 256 + 150 * np.sin(angles), height + 40 * np.sin(angles)], axis=1)
    ball = np.argwhere(np.ones((9, 9, 5), dtype=bool)) - (4, 4, 2)
    ball = ball[(((ball * SPACING_MM) ** 2).sum(axis=1)) <= 3.5**2]
    at = (path.round().astype(int)[:, None] + ball[None]).reshape(-1, 3)
    labels[tuple(at.T)] = value


def judged(prediction: Labels, reference: Labels, values: list[int]) -> tuple[float, dict[str, MaskScores]]:
    """Returns seconds, finding of boxes included, and scores by class."""
    began = time.perf_counter()
    scores = score_classes(
        LabelMap.of(prediction, SPACING_MM),
        LabelMap.of(reference, SPACING_MM),
        {str(value): (value,) for value in values},
        tolerances_mm=dict.fromkeys(map(str, values), TOLERANCE_MM),
    )
    return time.perf_counter() - began, scores


def by_library(prediction: Labels, reference: Labels, values: list[int]) -> tuple[float, dict[str, dict[str, float]]]:
    """Returns seconds and scores by class, each from masks of the whole volume."""
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice

    began = time.perf_counter()
    scores: dict[str, dict[str, float]] = {}
    for value in values:
        masks = [torch.from_numpy(labels == value)[None, None] for labels in (prediction, reference)]
        every: dict[str, Any] = {"include_background": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            found = {
                "dice": compute_dice(*masks, **every),
                "iou": compute_iou(*masks, **every),
                "surface_dice": compute_surface_dice(*masks, [TOLERANCE_MM], spacing=SPACING_MM, **every),
                "hd95_mm": compute_hausdorff_distance(*masks, percentile=95, spacing=SPACING_MM, **every),
            }
        scores[str(value)] = {name: float(score) for name, score in found.items()}
    return time.perf_counter() - began, scores


def differences(ours: dict[str, MaskScores], theirs: dict[str, dict[str, float]]) -> dict[str, float]:
    """Returns the largest difference between both by score."""
    names = next(iter(theirs.values()))
    return {
        name: max(abs(getattr(ours[value], name) - found[name]) for value, found in theirs.items()) for name in names
    }


if __name__ == "__main__":
    main()
