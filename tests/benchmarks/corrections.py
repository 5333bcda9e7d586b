"""What a gate makes of clicks that correct an answer: of the right decoder, and of a wrong one.

    python -m tests.benchmarks.corrections --home HOME -m default -f 0 1 --cases 8 --out result.json

Each class of some held-out cases is clicked on. Whoever the gate chooses by the first click answers all the way, and
the following clicks correct that answer by the rule of evaluation. The gate then says after each of them who should
answer: of right choices it should keep all, of wrong ones mend many.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sammoe_pipeline.clicks import Click, next_click
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.geometry import spacing_of
from sammoe_pipeline.inference.corrections import Correction
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import GENERAL, Routing
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.paths import PREPROCESSED, RAW, RESULTS, Folders
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_case import RawLabelledCase
from sammoe_pipeline.raw_dataset import read_raw_dataset

CLICKS = 5


@dataclass(frozen=True)
class Dialogue:
    """A prompt that was corrected.

    Attributes:
        dataset: whose class was meant.
        right: whether whoever answered was the right one.
        corrections: what each further click said.
        kept: after each further click, whether the gate then wanted the right one.
    """

    dataset: str
    right: bool
    corrections: tuple[Correction, ...]
    kept: tuple[bool, ...]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="holds sammoe_raw and the others")
    parser.add_argument("-m", default="default", metavar="NAME", help="mixture (default: default)")
    parser.add_argument("-f", type=int, nargs="+", required=True, metavar="FOLD", help="mixture folds")
    parser.add_argument("--cases", type=int, default=8, help="of each dataset and fold (default: 8)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = Folders(arguments.home / RAW, arguments.home / PREPROCESSED, arguments.home / RESULTS)
    foundation = find_foundation(None, folders.results)
    dialogues: list[Dialogue] = []
    for fold in arguments.f:
        mixture = Mixture.load(arguments.m, foundation=foundation, results=folders.results, device="cpu", folds=[fold])
        assert mixture.card is not None
        for member in mixture.card.datasets:
            planned = PlannedDataset.load(folders, member.dataset, foundation)
            raw = read_raw_dataset(folders.raw / planned.name)
            for case in planned.fold(planned.serving(fold)).val[: arguments.cases]:
                dialogues += hold(mixture, RawLabelledCase.read(planned, raw, case))
    result = {"mixture": arguments.m, "folds": arguments.f, "prompts": len(dialogues)} | summary(dialogues)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def hold(mixture: Mixture, labelled: RawLabelledCase) -> Iterator[Dialogue]:
    """Clicks on every class of a case, and corrects what the first choice answers."""
    planned, case = labelled.planned, mixture.encode(labelled.image)
    spacing_mm = spacing_of(labelled.image.affine)
    for name in planned.description.labels:
        rng = np.random.default_rng(zlib.crc32(f"{labelled.name}:{name}".encode()))
        own = mixture.expert_of(planned.name, name) or GENERAL
        for click in labelled.clicks(name, rng):
            first = mixture.route(case, [click])
            answer = partial(_answer, mixture, case, first)
            target, given, corrections, kept = labelled.target(name, click), [click], [], []
            while len(given) < CLICKS:
                found = answer(given, first)
                further = next_click(found.mask(), target, rng, labelled.valid)
                if further is None:
                    break
                corrections.append(Correction.of(found, further, spacing_mm))
                given.append(further)
                kept.append(mixture.route(case, given, answer=answer).label == own)
            yield Dialogue(planned.name, first.label == own, tuple(corrections), tuple(kept))


def _answer(mixture: Mixture, case: EncodedCase, first: Routing, clicks: Sequence[Click], _: Routing) -> Answer:
    return mixture.answer(case, clicks, first, general_configuration=mixture.foundation.native)


def summary(dialogues: list[Dialogue]) -> dict[str, Any]:
    """Returns, by dataset and first choice, how many corrections were heard and who was wanted after each."""
    groups: dict[str, dict[str, list[Dialogue]]] = defaultdict(lambda: defaultdict(list))
    for dialogue in dialogues:
        if dialogue.kept:
            groups[dialogue.dataset]["right" if dialogue.right else "wrong"].append(dialogue)
    return {
        dataset: {
            choice: {
                "prompts": len(some),
                "corrections": sum(len(one.corrections) for one in some),
                "heard": _percent([correction.trust > 0 for one in some for correction in one.corrections]),
                # A dialogue that had nothing more to correct ends as it stands.
                "right_after": {
                    clicks: _percent([one.kept[min(clicks - 2, len(one.kept) - 1)] for one in some])
                    for clicks in range(2, CLICKS + 1)
                },
            }
            for choice, some in sorted(by_choice.items())
        }
        for dataset, by_choice in groups.items()
    }


def _percent(values: list[bool]) -> float:
    return round(100 * float(np.mean(values)), 1)


if __name__ == "__main__":
    main()
