"""Dice of a foundation's general expert after some clicks, on raw datasets and on the real volumes of the tests.

    python tests/benchmarks/foundation_dice.py --raw RAW -d 811 812 --shared ../shared/data --out result.json

Each set is measured at the foundation's native spacing and at the images' own finest spacing. Clicks follow the rule
of `sammoe_pipeline.clicks`: the first in the target, later ones in the larger error. Dice is over the original grid.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import component_at, first_click, next_click
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.image_io import Volume, read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.paths import find_dataset
from sammoe_pipeline.raw_dataset import read_raw_dataset

CLICKS = (1, 3, 5, 10)
SMALLEST_TARGET = 20


@dataclass(frozen=True)
class Sample:
    """An image with the masks of its classes, in the file's own axes."""

    dataset: str
    case: str
    image: Volume
    masks: dict[str, NDArray[np.bool_]]


def raw_samples(folder: Path, most: int) -> Iterator[Sample]:
    raw = read_raw_dataset(folder)
    for case in raw.training_cases[:most]:
        labels = read_volume(case.label).data
        masks = {name: np.isin(labels, values) for name, values in raw.labels.items()}
        yield Sample(raw.name, case.name, read_volume(case.images[0]), masks)


def by_value(labels: NDArray[np.generic]) -> dict[str, NDArray[np.bool_]]:
    values = [value for value in np.unique(labels) if value != 0]
    return {f"label {int(value)}": np.asarray(labels == value) for value in values}


def shared_samples(data: Path, most: int) -> Iterator[Sample]:
    for path in sorted((data / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))[:most]:
        labels = read_volume(data / "Task04_Hippocampus" / "labelsTr" / path.name).data
        yield Sample("hippocampus", path.name, read_volume(path), by_value(np.rint(labels)))
    for folder in sorted((data / "fetal_brain").iterdir())[:most]:
        labels = read_volume(folder / "parcellation.nii.gz").data
        yield Sample("fetal brain", folder.name, read_volume(folder / "srr.nii.gz"), by_value(np.rint(labels)))
    for path in sorted((data / "mouse_brain" / "images").iterdir())[:most]:
        labels = read_volume(data / "mouse_brain" / "labels" / path.name).data
        yield Sample("mouse brain", path.name, read_volume(path), by_value(np.rint(labels)))
    for folder in sorted((data / "totalsegmentator_v2").glob("s*")):
        files = sorted((folder / "segmentations").glob("*.nii.gz"))
        masks = {path.name[:-7]: read_volume(path).data > 0 for path in files}
        yield Sample("torso CT", folder.name, read_volume(folder / "ct.nii.gz"), masks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foundation")
    parser.add_argument("--raw", type=Path)
    parser.add_argument("-d", nargs="*", default=[])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--classes", type=int, default=12, help="classes a case, drawn by seed")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    foundation = find_foundation(arguments.foundation, Path("none"))
    model = foundation.load_model()
    sources: list[Iterator[Sample]] = [
        raw_samples(arguments.raw / find_dataset(arguments.raw, name), arguments.cases) for name in arguments.d
    ]
    if arguments.shared:
        sources.append(shared_samples(arguments.shared, arguments.cases))
    scores: dict[str, dict[str, list[float]]] = {}
    began = time.monotonic()
    for sample in tqdm([sample for source in sources for sample in source], unit="case"):
        image = CaseImage([sample.image])
        case = EncodedCase(image, model=model, normalisation=foundation.card.normalisation)
        finest = min(sample.image.spacing_mm)
        ways = {
            "native": foundation.native,
            "own": Configuration(name="own", spacing_mm=round(finest, 4), patch_size=foundation.card.patch_size),
        }
        rng = np.random.default_rng(zlib.crc32(sample.case.encode()))
        names = [name for name, mask in sample.masks.items() if mask.sum() >= SMALLEST_TARGET]
        for name in sorted(rng.permutation(np.array(names, dtype=object))[: arguments.classes]):
            mask = np.ascontiguousarray(image.orientation.to_canonical(sample.masks[name]))
            first = first_click(mask, rng)
            assert first is not None
            target = component_at(mask, first)
            for way, configuration in ways.items():
                clicks = [first]
                again = np.random.default_rng(0)
                for count in range(1, max(CLICKS) + 1):
                    answer = case.answer(clicks, configuration).mask()
                    if count in CLICKS:
                        key = f"{sample.dataset}, {way}"
                        scores.setdefault(key, {}).setdefault(str(count), []).append(dice(answer, target) or 0.0)
                    click = next_click(answer, target, again)
                    if click is not None:
                        clicks.append(click)
    result = {
        "foundation_sha256": foundation.card.sha256,
        "seconds": round(time.monotonic() - began),
        "dice": {key: {n: round(float(np.mean(v)), 4) for n, v in row.items()} for key, row in scores.items()},
        "targets": {key: len(next(iter(row.values()))) for key, row in scores.items()},
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
