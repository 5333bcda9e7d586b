"""What a gate does with an image of a body part that no expert and no teaching click comes from.

    python -m tests.benchmarks.gate_elsewhere --home HOME -m default --shared ../shared/data --out result.json

Each structure of a torso CT is clicked on deep inside, `--clicks` times, without saying what it is. Every fold's gate
is asked alone. Whatever does not go to the general expert would be answered by an expert that never saw such a thing.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sammoe_pipeline.clicks import first_click
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.paths import RESULTS


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="holds sammoe_results")
    parser.add_argument("-m", default="default", metavar="NAME", help="mixture (default: default)")
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="real volumes of the tests")
    parser.add_argument("--clicks", type=int, default=3, help="on each structure (default: 3)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    results = arguments.home / RESULTS
    foundation = find_foundation(None, results)
    whole = Mixture.load(arguments.m, foundation=foundation, results=results, device="cpu", folds=[])
    assert whole.card is not None
    source = arguments.shared / "totalsegmentator_v2" / "s0001"
    chosen: Counter[str] = Counter()
    for fold in whole.card.folds:
        mixture = Mixture.load(arguments.m, foundation=foundation, results=results, device="cpu", folds=[fold])
        chosen += answered_by(mixture, source, arguments.clicks)
    clicks = chosen.total()
    result: dict[str, Any] = {
        "foundation_sha256": foundation.card.sha256,
        "mixture": arguments.m,
        "experts": len(whole.card.experts),
        "thresholds": whole.card.thresholds,
        "folds": len(whole.card.folds),
        "clicks": clicks,
        "general": round(100 * chosen[GENERAL] / clicks, 1),
        "chosen": dict(chosen.most_common()),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def answered_by(mixture: Mixture, source: Path, clicks: int) -> Counter[str]:
    """Counts who would answer clicks on the structures of a TotalSegmentator case."""
    image = CaseImage([read_volume(source / "ct.nii.gz")])
    case = mixture.encode(image)
    rng = np.random.default_rng(0)
    chosen: Counter[str] = Counter()
    for path in sorted((source / "segmentations").glob("*.nii.gz")):
        mask = np.ascontiguousarray(image.orientation.to_canonical(read_volume(path).data > 0))
        for _ in range(clicks if mask.any() else 0):
            click = first_click(mask, rng)
            assert click is not None
            chosen[mixture.route(case, [click]).label] += 1
    return chosen


if __name__ == "__main__":
    main()
