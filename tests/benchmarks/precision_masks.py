"""How far masks of the bundled foundation differ between precisions of the image encoder, on real volumes.

    python -m tests.benchmarks.precision_masks --shared ../shared/data --out result.json

Each structure gets one click by the rule of `sammoe_pipeline.clicks`, at the foundation's native spacing and at the
image's own. Masks of a precision are compared with those of float32: Dice over all voxels of all masks together, the
share of masks that are the same to the voxel, and the worst of those with at least a thousand voxels.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import first_click
from sammoe_pipeline.encoder_options import EncoderOptions
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from tests.benchmarks.foundation_dice import SMALLEST_TARGET, shared_samples

LARGE = 1000


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="real volumes of the tests")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--cases", type=int, default=4, help="of each set (default: 4)")
    parser.add_argument("--classes", type=int, default=8, help="of each case (default: 8)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu", help="default: cpu")
    arguments = parser.parse_args()
    precisions = ("bfloat16", "float16") if arguments.device == "cuda" else ("bfloat16",)
    foundation = find_foundation("tiny", Path("none"))
    models = {
        precision: foundation.load_model(arguments.device, EncoderOptions(precision=precision))
        for precision in ("float32", *precisions)
    }
    counts: dict[str, list[tuple[int, int]]] = {precision: [] for precision in precisions}
    for sample in shared_samples(arguments.shared, arguments.cases):
        image = CaseImage([sample.image])
        cases = {
            precision: EncodedCase(image, model=model, normalisation=foundation.card.normalisation)
            for precision, model in models.items()
        }
        rng = np.random.default_rng(zlib.crc32(sample.case.encode()))
        names = sorted(name for name, mask in sample.masks.items() if mask.sum() >= SMALLEST_TARGET)
        for name in names[: arguments.classes]:
            click = first_click(np.ascontiguousarray(image.orientation.to_canonical(sample.masks[name])), rng)
            assert click is not None
            for spacing_mm in (foundation.card.spacing_mm, min(sample.image.spacing_mm)):
                configuration = Configuration(
                    name="any", spacing_mm=round(spacing_mm, 4), patch_size=foundation.card.patch_size
                )
                masks = {precision: case.answer([click], configuration).mask() for precision, case in cases.items()}
                for precision in precisions:
                    both = int((masks[precision] & masks["float32"]).sum())
                    counts[precision].append((2 * both, int(masks[precision].sum()) + int(masks["float32"].sum())))
    result = {
        "foundation_sha256": foundation.card.sha256,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "against_float32": {precision: agreement(found) for precision, found in counts.items()},
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def agreement(counts: list[tuple[int, int]]) -> dict[str, Any]:
    """Sums up pairs of masks, each given as twice the voxels in both and the voxels of either added up."""
    large = [shared / total for shared, total in counts if total >= 2 * LARGE]
    return {
        "masks": len(counts),
        "dice_of_all_voxels": round(sum(shared for shared, _ in counts) / sum(total for _, total in counts), 6),
        "share_identical": round(sum(shared == total for shared, total in counts) / len(counts), 3),
        "worst_large": round(min(large), 5) if large else None,
    }


if __name__ == "__main__":
    main()
