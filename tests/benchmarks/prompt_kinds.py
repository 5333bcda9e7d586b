"""Dice by what says where to look, locators, clicks, boxes or another tool's masks; and what the review flag finds.

    python -m tests.benchmarks.prompt_kinds --home sammoe_demo -d 901 --rows rows.jsonl --out result.json

On the cases that each fold holds out, in the folders that a finished chain left in `--home`. Classes are named, as
locators and users do. A first click is drawn by the rule of `sammoe_pipeline.clicks`, later ones correct. A box is the
one around the truth, each side up to a tenth of the structure too far out. A coarse mask is the truth with its border
moved in and out smoothly, by 3 mm on average or 0.4 of its depth, whichever is less.

Missed: present, and the Dice of the answer is below 0.1. Falsely found: answered, where there is none; with
`--elsewhere`, also in images of another raw dataset, in which none of the classes lies. For structures at least twice
as long as their window, the answer to one click is compared with that from one window alone.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from tqdm import tqdm

from sammoe_pipeline.clicks import Click, next_click
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.image_io import Volume, read_volume
from sammoe_pipeline.inference.agreement import REVIEW, agreements
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.coarse_mask import CoarseMask
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass, output_classes
from sammoe_pipeline.inference.prompts import Interaction, prompt_in_box
from sammoe_pipeline.inference.region import Box, Region
from sammoe_pipeline.inference.segment import segment
from sammoe_pipeline.inference.wanted import PromptSource, wanted_in
from sammoe_pipeline.paths import Folders, find_dataset, find_folders
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_case import RawLabelledCase
from sammoe_pipeline.raw_dataset import RawDataset, read_raw_dataset

CLICKS = 5
MISSED = 0.1
BAD = 0.6
_LOOSE = 0.1
_BORDER_MM, _BORDER_DEPTH = 3.0, 0.4
_SMOOTH_MM = 6.0

Mask = NDArray[np.bool_]


@dataclass
class Row:
    """One class of one case under one kind of prompt."""

    kind: str
    class_name: str
    expert: bool
    present: bool
    answered: bool
    dice: float
    agreement: float | None = None


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="holds sammoe_raw and the others")
    parser.add_argument("-d", required=True, metavar="ID", help="dataset")
    parser.add_argument("--cases", type=int, default=5, help="of each fold (default: 5)")
    parser.add_argument("--elsewhere", metavar="ID", help="raw dataset without any of the classes")
    parser.add_argument("--elsewhere_home", type=Path, metavar="DIR", help="that holds it (default: --home)")
    parser.add_argument("--rows", type=Path, required=True, metavar="FILE", help="kept case by case, to go on from")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = _folders(arguments.home)
    foundation = find_foundation(None, folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    raw = read_raw_dataset(folders.raw / planned.name)
    lines = arguments.rows.read_text().splitlines() if arguments.rows.is_file() else []
    kept: dict[str, Any] = {one["case"]: one for one in map(json.loads, lines)}
    for fold in Mixture.load(foundation=foundation, results=folders.results, folds=[]).card.folds:  # type: ignore[union-attr]
        mixture = _mixture(foundation, folders, fold)
        for name in tqdm(planned.fold(fold).val[: arguments.cases], desc=f"{planned.name}, fold {fold}", unit="case"):
            if name in kept:
                continue
            case = Judged(mixture, planned, raw, name)
            kept[name] = {"case": name, "rows": [vars(row) for row in case.rows()], "large": list(case.large())}
            with arguments.rows.open("a") as stream:
                stream.write(json.dumps(kept[name]) + "\n")
    rows = [Row(**row) for one in kept.values() for row in one["rows"]]
    large = [found for one in kept.values() for found in one["large"]]
    volumes = len(kept)
    result: dict[str, Any] = {
        "dataset": planned.name,
        "foundation_sha256": foundation.card.sha256,
        "volumes": volumes,
        "dice": dice_table(rows),
        "found": found_table(rows, volumes),
        "review": review_table(rows),
        "large": large_table(large),
    }
    if arguments.elsewhere:
        other = read_raw_dataset(
            (home := _folders(arguments.elsewhere_home or arguments.home)).raw
            / find_dataset(home.raw, arguments.elsewhere)
        )
        result["elsewhere"] = elsewhere(_mixture(foundation, folders, 0), planned.name, other, arguments.cases)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


class Judged:
    """A held-out case, prompted in every way."""

    def __init__(self, mixture: Mixture, planned: PlannedDataset, raw: RawDataset, name: str) -> None:
        self._mixture = mixture
        self._truth = RawLabelledCase.read(planned, raw, name)
        self._image = self._truth.image
        self._encoded = mixture.encode(self._image)
        self._classes = output_classes(mixture, planned.name)
        self._name = name

    def rows(self) -> Iterator[Row]:
        """Yields a row a class and kind of prompt."""
        located = _located(self._mixture, self._encoded, self._classes)
        for output in self._classes:
            truth = self._truth.truth(output.name)
            yield self._judge("automatic", output, located.get(output.name, ()), truth)
            if not truth.any():
                continue
            rng = np.random.default_rng(zlib.crc32(f"{self._name}:{output.name}".encode()))
            clicks = self._truth.clicks(output.name, rng)
            targets = [self._truth.target(output.name, click) for click in clicks]
            box, mask = [_box(target, rng) for target in targets], self._coarse(truth, rng)
            yield self._judge("1 click", output, [Interaction((click,)) for click in clicks], truth)
            yield self._judge(f"{CLICKS} clicks", output, self._corrected(output, clicks, targets, rng), truth)
            yield self._judge("box", output, [_alone(one, self._image) for one in box], truth)
            boxed = [Interaction((c,), Region.of_box(b, self._image.shape)) for c, b in zip(clicks, box, strict=True)]
            yield self._judge("box and click", output, boxed, truth)
            yield self._judge("mask", output, mask, truth)
            yield self._judge("mask, not limited", output, [Interaction(one.clicks) for one in mask], truth)

    def large(self) -> Iterator[dict[str, Any]]:
        """Yields one click's Dice with and without further windows, for what is twice as long as its window."""
        for output in self._classes:
            truth = self._truth.truth(output.name)
            configuration = self._mixture.member(output.dataset).configurations[output.name]
            window_mm = configuration.patch_size * configuration.spacing_mm
            where = np.argwhere(truth)
            spacing_mm = np.linalg.norm(self._image.affine[:3, :3], axis=0)
            if not len(where) or float((np.ptp(where, axis=0) * spacing_mm).max()) < 2 * window_mm:
                continue
            rng = np.random.default_rng(zlib.crc32(f"{self._name}:{output.name}".encode()))
            (click, *_) = self._truth.clicks(output.name, rng)
            target = self._truth.target(output.name, click)
            own = self._mixture.expert_of(output.dataset, output.name)
            decoders = self._mixture.decoders[own] if own else [None]
            local = [self._image.click_in_configuration(click, configuration)]
            answers = {
                "one window": segment(self._encoded.at(configuration), local, decoders, max_windows=1),
                "until it closes": segment(self._encoded.at(configuration), local, decoders),
            }
            found = {way: dice(answer.on(self._image.shape).mask(), target) for way, answer in answers.items()}
            yield {"class": output.name, "windows": len(answers["until it closes"].windows), **found}

    def _judge(self, kind: str, output: OutputClass, prompts: Sequence[Interaction], truth: Mask) -> Row:
        own = self._mixture.expert_of(output.dataset, output.name)
        mask, agreement = np.zeros_like(truth), None
        for prompt in prompts:
            routing = output.route(self._mixture, self._encoded, prompts[0])
            if kind == "automatic" and own is not None and not routing.chosen:
                break
            mask |= output.answer(self._mixture, self._encoded, prompt, routing).mask()
            configuration, decoders = output.answered_by(self._mixture, self._encoded, prompt, routing)
            found = agreements(self._encoded, prompt.clicks, configuration, decoders)
            agreement = min(agreement or 1.0, float(np.mean(list(found.values()))))
        score = dice(mask, truth) or 0.0
        return Row(kind, output.name, own is not None, bool(truth.any()), bool(mask.any()), score, agreement)

    def _corrected(
        self, output: OutputClass, clicks: Sequence[Click], targets: Sequence[Mask], rng: np.random.Generator
    ) -> list[Interaction]:
        made = []
        for first, target in zip(clicks, targets, strict=True):
            so_far = [first]
            while len(so_far) < CLICKS:
                prompt = Interaction(tuple(so_far))
                routing = output.route(self._mixture, self._encoded, prompt)
                mask = output.answer(self._mixture, self._encoded, prompt, routing).mask()
                click = next_click(mask, target, rng)
                if click is None:
                    break
                so_far.append(click)
            made.append(Interaction(tuple(so_far)))
        return made

    def _coarse(self, truth: Mask, rng: np.random.Generator) -> list[Interaction]:
        """Prompts as a coarse mask gives them."""
        spacing_mm = np.linalg.norm(self._image.affine[:3, :3], axis=0)
        depth = distance_transform_edt(truth, sampling=spacing_mm) - distance_transform_edt(~truth, sampling=spacing_mm)
        moved = gaussian_filter(rng.normal(size=truth.shape), _SMOOTH_MM / spacing_mm)
        by = min(_BORDER_MM, _BORDER_DEPTH * float(depth.max()))
        coarse = CoarseMask(Volume(data=depth + by * moved / moved.std(), affine=self._image.affine), self._image)
        mask = coarse.volume.data > 0
        clicks = coarse.clicks(mask, rng)
        return [Interaction((click,), coarse.near(mask)) for click in clicks]


def elsewhere(mixture: Mixture, dataset: str, other: RawDataset, cases: int) -> dict[str, Any]:
    """Counts what the locators find and who lets it pass, where there is nothing to be found."""
    classes = output_classes(mixture, dataset)
    located = passed = 0
    files = other.training_cases[:cases]
    for case in files:
        encoded = mixture.encode(CaseImage([read_volume(path) for path in case.images]))
        for name, prompts in _located(mixture, encoded, classes).items():
            output = next(c for c in classes if c.name == name)
            if prompts:
                located += 1
                own = mixture.expert_of(dataset, name)
                passed += own is None or bool(output.route(mixture, encoded, prompts[0]).chosen)
    return {
        "dataset": other.name,
        "volumes": len(files),
        "classes": len(classes),
        "located_a_volume": located / len(files),
        "answered_a_volume": passed / len(files),
    }


def dice_table(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean Dice over classes of classes' means, by kind of prompt, with the general expert's classes apart."""
    groups: dict[str, Callable[[Row], bool]] = {
        "expert": lambda row: row.expert,
        "general": lambda row: not row.expert,
        "all": lambda row: True,
    }
    table: dict[str, dict[str, float]] = {}
    for group, belongs in groups.items():
        for kind in dict.fromkeys(row.kind for row in rows):
            of_classes = [
                np.mean([row.dice for row in rows if row.class_name == name and row.kind == kind and row.present])
                for name in dict.fromkeys(row.class_name for row in rows if belongs(row) and row.present)
            ]
            if of_classes:
                table.setdefault(group, {})[kind] = round(float(np.mean(of_classes)), 4)
    return table


def found_table(rows: Sequence[Row], volumes: int) -> dict[str, float]:
    """Structures a volume that are there, missed and falsely found, without prompts."""
    automatic = [row for row in rows if row.kind == "automatic"]
    return {
        "present": sum(row.present for row in automatic) / volumes,
        "missed": sum(row.present and row.dice < MISSED for row in automatic) / volumes,
        "not answered": sum(row.present and not row.answered for row in automatic) / volumes,
        "absent": sum(not row.present for row in automatic) / volumes,
        "falsely found": sum(row.answered and not row.present for row in automatic) / volumes,
    }


def review_table(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """How many answers the review flag marks, and how many of the bad ones."""
    table = {}
    for kind in ("automatic", "1 click", "box", "mask"):
        judged = [row for row in rows if row.kind == kind and row.agreement is not None]
        if not judged:
            continue
        flagged = np.array([row.agreement < REVIEW for row in judged if row.agreement is not None])
        scores = np.array([row.dice for row in judged])
        bad = scores < BAD
        agreement = np.array([row.agreement for row in judged], dtype=np.float64)
        table[kind] = {
            "answers": len(judged),
            "bad": int(bad.sum()),
            "flagged": int(flagged.sum()),
            "flagged and bad": int((flagged & bad).sum()),
            "dice of flagged": round(float(scores[flagged].mean()), 3) if flagged.any() else 0.0,
            "dice of others": round(float(scores[~flagged].mean()), 3) if (~flagged).any() else 0.0,
            "area under the curve": round(_area(agreement[bad], agreement[~bad]), 3),
        }
    return table


def large_table(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean Dice of large structures by class."""
    table = {}
    for name in dict.fromkeys(one["class"] for one in found):
        mine = [one for one in found if one["class"] == name]
        means = {
            key: round(float(np.mean([one[key] for one in mine])), 3)
            for key in ("one window", "until it closes", "windows")
        }
        table[name] = {"targets": len(mine), **means}
    return table


def _area(bad: NDArray[np.float64], good: NDArray[np.float64]) -> float:
    """Area under the curve of telling bad from good by a low value; one half where there is nothing to tell."""
    if not len(bad) or not len(good):
        return 0.5
    return float(((bad[:, None] < good) + 0.5 * (bad[:, None] == good)).mean())


def _box(target: Mask, rng: np.random.Generator) -> Box:
    where = np.argwhere(target)
    low, high = where.min(axis=0) - 0.5, where.max(axis=0) + 0.5
    loose = rng.uniform(0, _LOOSE, (2, 3)) * (high - low)
    low, high = low - loose[0], high + loose[1]
    x, y, z = (low + high) / 2
    half = np.diag((high - low) / 2).tolist()
    return Box(centre=(float(x), float(y), float(z)), half_sides=tuple(map(tuple, half)))  # type: ignore[arg-type]


def _alone(box: Box, image: CaseImage) -> Interaction:
    click, region = prompt_in_box(box, image)
    return Interaction((click,), region)


def _located(
    mixture: Mixture, encoded: EncodedCase, classes: Sequence[OutputClass]
) -> dict[str, tuple[Interaction, ...]]:
    wanted = wanted_in(PromptSource(), "", encoded, mixture=mixture, classes=classes, values={})
    return {one.output.name: one.interactions for one in wanted}


def _mixture(foundation: Foundation, folders: Folders, fold: int) -> Mixture:
    return Mixture.load(foundation=foundation, results=folders.results, folds=[fold], device="cpu")


def _folders(home: Path) -> Folders:
    return find_folders(
        raw=str(home / "sammoe_raw"),
        preprocessed=str(home / "sammoe_preprocessed"),
        results=str(home / "sammoe_results"),
    )


if __name__ == "__main__":
    main()
