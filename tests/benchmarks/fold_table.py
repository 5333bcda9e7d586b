"""One fold of a dataset, held-out cases: general expert, expert, plain finetuning, no clicks at all, and an atlas.

    sammoe_train_expert -d 4 -f 0
    sammoe_train_expert -d 4 -f 0 --unfreeze all
    python -m tests.benchmarks.fold_table -d 4 -f 0 --others 902 --out table.json

Dice on the grid of the files, windows centred on the click: the general expert and the fold's finished experts at 1, 3
and 5 clicks, whole networks that `--unfreeze` left where they are finished, the experts prompted by the locator, and
a majority vote of the training labels, stretched from image to image, which never looks at one. Differences come with
95 % bootstrap intervals over cases. False alarms are the classes that the locator finds in images of other datasets.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import ExpertCard, FoundationCard, LocatorCard
from sammoe_pipeline.clicks import Click, next_click
from sammoe_pipeline.evaluation.bootstrap import estimate_mean
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.inference.stored_networks import load_expert, load_locator
from sammoe_pipeline.inference.wanted import MUCH_LARGER
from sammoe_pipeline.model import MaskDecoder, SamMed3D
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.paths import (
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    FOUNDATION_JSON,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    Folders,
    Results,
    find_dataset,
    find_folders,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_case import RawLabelledCase
from sammoe_pipeline.raw_dataset import RawDataset, read_raw_dataset

_CLICKS = (1, 3, 5)
_UNFROZEN = ("neck", "all")

Mask = NDArray[np.bool_]
Scores = dict[str, dict[tuple[str, str], float]]
"""By method, then by case and class."""


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", required=True, metavar="ID", help="dataset with finished experts and locator")
    parser.add_argument("-f", type=int, default=0, metavar="FOLD", help="fold (default: 0)")
    parser.add_argument("--others", nargs="*", default=[], metavar="ID", help="datasets without any of its classes")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu", help="default: cpu")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = find_folders()
    foundation = find_foundation("tiny", folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    fold = _Fold(planned, arguments.f, foundation, folders, arguments.device)
    scores = fold.judge()
    result = {
        "dataset": planned.name,
        "fold": arguments.f,
        "cases": len(planned.fold(arguments.f).val),
        "classes": len(planned.description.labels),
        "foundation_sha256": foundation.card.sha256,
        "dice": {method: _estimate(of) for method, of in scores.items()},
        "by_class": {method: _by_class(of) for method, of in scores.items()},
        "differences": _differences(scores),
        "automatically_missed": fold.missed,
        "false_alarms": {name: fold.false_alarms(name) for name in arguments.others},
        "experts": fold.trained,
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "by_class"}, indent=2))


class _Fold:
    """What a fold has trained, and its held-out cases."""

    def __init__(
        self, planned: PlannedDataset, fold: int, foundation: Foundation, folders: Folders, device: str
    ) -> None:
        self._planned, self._number, self._foundation = planned, fold, foundation
        self._folders, self._device = folders, device
        self._raw: RawDataset = read_raw_dataset(folders.raw / planned.name)
        self._model = foundation.load_model(device)
        self._places = Results(root=folders.results, foundation=foundation.card.name)
        self._labels: dict[str, RawLabelledCase] = {}
        self.trained: dict[str, Any] = {}
        self.missed: dict[str, int] = {}
        self._experts = {task.name: self._expert(task.name) for task in planned.plan.tasks}
        self._whole = {
            (task.name, part): model
            for task in planned.plan.tasks
            for part in _UNFROZEN
            if (model := self._unfrozen(task.name, part)) is not None
        }
        self._locator, self._thresholds, self._longest_mm = self._find_locator()

    def judge(self) -> Scores:
        """Asks everybody about every held-out case."""
        from tqdm import tqdm

        scores: Scores = {}
        for name in tqdm(self._planned.fold(self._number).val, desc="Held-out cases", unit="case"):
            labelled = RawLabelledCase.read(self._planned, self._raw, name)
            of_foundation = self._encode(labelled, self._model)
            whole = {key: self._encode(labelled, model) for key, model in self._whole.items()}
            for class_name in self._planned.description.labels:
                if labelled.truth(class_name).any():
                    for method, value in self._ask(labelled, class_name, of_foundation, whole):
                        scores.setdefault(method, {})[(name, class_name)] = value
        return scores

    def false_alarms(self, dataset: str) -> dict[str, float]:
        """Returns how many classes the locator finds in an image of another dataset, on average.

        As in prediction, it does not look through images that are much larger than those that it knows.
        """
        other = read_raw_dataset(self._folders.raw / find_dataset(self._folders.raw, dataset))
        planned = PlannedDataset.load(self._folders, dataset, self._foundation)
        names = [case.name for case in other.training_cases]
        counts = []
        for name in names:
            labelled = RawLabelledCase.read(planned, other, name)
            sides_mm = np.linalg.norm(labelled.image.affine[:3, :3], axis=0) * labelled.image.shape
            if sides_mm.max() > MUCH_LARGER * self._longest_mm:
                counts.append(0)
                continue
            found, _ = self._look(labelled, self._encode(labelled, self._model))
            counts.append(sum(found.values()))
        return {"volumes": len(names), "classes_a_volume": round(float(np.mean(counts)), 3)}

    def _ask(
        self,
        labelled: RawLabelledCase,
        class_name: str,
        case: EncodedCase,
        whole: dict[tuple[str, str], EncodedCase],
    ) -> list[tuple[str, float]]:
        plan, truth = self._planned.plan, labelled.truth(class_name)
        configuration, task = self._planned.configuration_of(class_name), plan.classes[class_name].task
        decoder = self._experts.get(task or "")
        found = [("atlas", dice(self._atlas(class_name, truth.shape), truth, labelled.valid))]

        def asked(who: str, answer: Callable[[Sequence[Click]], Mask], clicks: Sequence[int] = _CLICKS) -> None:
            for number, mask in self._click(labelled, class_name, answer, clicks).items():
                found.append((f"{who}, {number} clicks", dice(mask, truth, labelled.valid)))

        asked("general, native", lambda clicks: case.answer(clicks, self._foundation.native).mask(), (1,))
        asked("general", lambda clicks: case.answer(clicks, configuration).mask())
        asked("expert", lambda clicks: case.answer(clicks, configuration, (decoder,)).mask())
        for (of, part), encoded in whole.items():
            if of == task:
                asked(f"unfrozen {part}", lambda clicks, e=encoded: e.answer(clicks, configuration).mask())  # type: ignore[misc]
        present, prompts = self._look(labelled, case)
        empty = np.zeros(truth.shape, dtype=np.bool_)
        parts = [case.answer([c], configuration, (decoder,)).mask() for c in prompts[class_name] if present[class_name]]
        self.missed[class_name] = self.missed.get(class_name, 0) + (not present[class_name])
        found.append(("automatic", dice(np.logical_or.reduce([empty, *parts]), truth, labelled.valid)))
        return found

    def _click(
        self,
        labelled: RawLabelledCase,
        class_name: str,
        answer: Callable[[Sequence[Click]], Mask],
        numbers: Sequence[int],
    ) -> dict[int, Mask]:
        key = zlib.crc32(f"{labelled.name}:{class_name}".encode())
        first = labelled.clicks(class_name, np.random.default_rng([0, key]))
        rng = np.random.default_rng([1, key])
        given = [[click] for click in first]
        masks: dict[int, Mask] = {}
        for number in range(1, numbers[-1] + 1):
            parts = [answer(of_one) for of_one in given]
            if number in numbers:
                masks[number] = np.logical_or.reduce(parts)
            for of_one, part, click in zip(given, parts, first, strict=True):
                more = next_click(part, labelled.target(class_name, click), rng, labelled.valid)
                of_one += [more] if more else []
        return masks

    def _look(self, labelled: RawLabelledCase, case: EncodedCase) -> tuple[dict[str, bool], dict[str, list[Click]]]:
        """Returns, by class, whether the locator finds it, and where one would click."""
        configuration = self._planned.plan.configurations[self._planned.plan.locator_configuration]
        view = case.at(configuration)
        maps = probability_maps(view, [self._locator])
        cell = view.size // self._model.mask_size
        present, clicks = {}, {}
        for index, name in enumerate(self._planned.description.labels):
            seen = sight(maps[index], cell=cell, components=self._planned.plan.classes[name].target == "component")
            present[name] = seen.peak >= self._thresholds[name]
            clicks[name] = [labelled.image.click_from_configuration(click, configuration) for click in seen.clicks]
        return present, clicks

    def _atlas(self, class_name: str, shape: tuple[int, ...]) -> Mask:
        """Returns where most training labels have a class, each stretched to this image."""
        votes = torch.zeros(1, 1, *shape)
        train = self._planned.fold(self._number).train
        for name in train:
            if name not in self._labels:
                self._labels[name] = RawLabelledCase.read(self._planned, self._raw, name)
            mask = torch.from_numpy(self._labels[name].truth(class_name))[None, None].float()
            votes += F.interpolate(mask, size=shape, mode="trilinear", align_corners=False)
        return np.asarray((votes[0, 0] >= len(train) / 2).numpy())

    def _encode(self, labelled: RawLabelledCase, model: SamMed3D) -> EncodedCase:
        return EncodedCase(labelled.image, model=model, normalisation=self._foundation.card.normalisation)

    def _expert(self, task: str) -> MaskDecoder:
        folder = self._places.expert_fold(self._planned.name, task, self._number)
        card = ExpertCard.load(folder / EXPERT_JSON)
        self._remember(card)
        return load_expert(self._model, folder / EXPERT_WEIGHTS, card.sha256)

    def _unfrozen(self, task: str, part: str) -> SamMed3D | None:
        folder = self._places.unfrozen_fold(self._planned.name, task, part, self._number)
        if not (folder / EXPERT_JSON).is_file():
            return None
        self._remember(ExpertCard.load(folder / EXPERT_JSON))
        return Foundation(card=FoundationCard.load(folder / FOUNDATION_JSON), folder=folder).load_model(self._device)

    def _remember(self, card: ExpertCard) -> None:
        name = card.task if card.unfrozen == "nothing" else f"{card.task}, unfrozen {card.unfrozen}"
        self.trained[name] = {
            "seconds": round(card.seconds, 1),
            "iterations": card.iterations,
            "best_iteration": card.best_iteration,
            "memory_mb": card.memory_mb,
        }

    def _find_locator(self) -> tuple[Locator, dict[str, float], float]:
        folder = self._places.locator_fold(self._planned.name, self._number)
        card = LocatorCard.load(folder / LOCATOR_JSON)
        locator = load_locator(self._model, len(card.classes), folder / LOCATOR_WEIGHTS, card.sha256)
        return locator, card.thresholds, card.longest_mm


def _table(of: dict[tuple[str, str], float]) -> NDArray[np.float64]:
    cases, classes = sorted({case for case, _ in of}), sorted({name for _, name in of})
    return np.array([[of.get((case, name), np.nan) for name in classes] for case in cases])


def _estimate(of: dict[tuple[str, str], float]) -> dict[str, Any]:
    values = _table(of)
    found = estimate_mean(values, ["all"] * len(values), seed=0)
    assert found is not None
    interval = None if found.interval is None else [round(side, 4) for side in found.interval]
    return {"mean": round(found.mean, 4), "interval": interval}


def _by_class(of: dict[tuple[str, str], float]) -> dict[str, float]:
    names = sorted({name for _, name in of})
    return {name: round(float(np.mean([v for (_, n), v in of.items() if n == name])), 4) for name in names}


def _differences(scores: Scores) -> dict[str, dict[str, Any]]:
    pairs = [
        ("expert, 1 clicks", "general, 1 clicks"),
        ("expert, 1 clicks", "atlas"),
        ("expert, 1 clicks", "unfrozen neck, 1 clicks"),
        ("expert, 1 clicks", "unfrozen all, 1 clicks"),
        ("automatic", "expert, 1 clicks"),
        ("automatic", "atlas"),
    ]
    return {
        f"{one} - {other}": _estimate({key: value - scores[other][key] for key, value in scores[one].items()})
        for one, other in pairs
        if one in scores and other in scores
    }


if __name__ == "__main__":
    main()
