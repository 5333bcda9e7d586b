"""Running the held-out cases of every fold through the general expert, the experts and the mixture."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Configuration, provenance
from sammoe_pipeline.clicks import Click, next_click
from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.evaluation.pictures import Picture
from sammoe_pipeline.evaluation.records import (
    CaseRecord,
    ExpertRecord,
    Method,
    RoutingRecord,
    write_cases,
    write_experts,
    write_routing,
)
from sammoe_pipeline.evaluation.report import write_report
from sammoe_pipeline.evaluation.summary import EvaluationSummary, summarise
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import Routing
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.paths import CASES_CSV, EVALUATION, EXPERTS_CSV, ROUTING_CSV, SUMMARY_JSON, Results
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_case import RawLabelledCase
from sammoe_pipeline.raw_dataset import RawDataset

logger = logging.getLogger(__name__)

AUTOMATIC = 0
"""Number of clicks that stands for the locator's prompt."""
_PICTURES = 6


@dataclass(frozen=True)
class _Answering:
    """One method for one class: how it answers, and in which configuration it does, known once it has answered."""

    method: Method
    configuration: Callable[[], str]
    answer: Callable[[Sequence[Click]], Answer]


@dataclass
class _Prompted:
    """One class of one case under one prompt: a list of clicks a target, grown by correction.

    Attributes:
        targets: truth of each target (x, y, z).
        clicks: first click on each target; shared by all methods.
    """

    targets: list[NDArray[np.bool_]]
    clicks: list[Click]


def evaluate(
    planned: Sequence[PlannedDataset],
    raw: Sequence[RawDataset],
    *,
    name: str,
    folds: Sequence[int] | None,
    foundation: Foundation,
    results: Path,
    clicks: Sequence[int],
    num_seeds: int,
    device: str,
    encoder: EncoderOptions = EXACT,
    forgetting: bool = False,
) -> EvaluationSummary:
    """Evaluates a mixture on the cases that each fold holds out, and writes tables, summary and report.

    The first click follows one seeded rule and is the same for every method; later clicks correct each method's own
    mask. The gate is not told which class is meant: it chooses among all experts of the mixture. Dice is over the
    original grid, over the union of a class's targets.

    Args:
        planned: the mixture's datasets.
        raw: their files, in the same order.
        name: of the mixture.
        folds: mixture folds; all by default.
        foundation: of the mixture.
        results: root of results.
        clicks: numbers of clicks to report; 0 is the locator's prompt.
        num_seeds: how often clicks are drawn.
        device: "cuda" or "cpu".
        encoder: how the image encoder computes.
        forgetting: also ask every expert about everybody's classes, at one click.

    Raises:
        UsageError: no dataset holds out cases in these folds, or one click is not among those to report but needed.
    """
    if forgetting and 1 not in clicks:
        raise UsageError(
            "--forgetting: experts are asked at one click, so the others have to be, too. Add 1 to --clicks."
        )
    places = Results(root=results, foundation=foundation.card.name)
    loaded = Mixture.load(name, foundation=foundation, results=results, device=device, folds=[])
    assert loaded.card is not None
    card = loaded.card
    wanted = card.folds if folds is None else tuple(folds)
    cases: list[CaseRecord] = []
    routing: list[RoutingRecord] = []
    experts: list[ExpertRecord] = []
    pictures: list[Picture] = []
    held_out: dict[str, list[str]] = {}
    for fold in wanted:
        mixture = Mixture.load(
            name, foundation=foundation, results=results, device=device, folds=[fold], encoder=encoder
        )
        for dataset, files in zip(planned, raw, strict=True):
            if fold >= dataset.num_folds:
                continue
            names = dataset.fold(fold).val
            held_out.setdefault(dataset.name, []).extend(names)
            for case_name in _progress(names, f"Evaluating {dataset.name}, fold {fold}"):
                labelled = RawLabelledCase.read(dataset, files, case_name)
                run = _CaseRun(mixture, labelled, fold, foundation, forgetting=forgetting)
                run.judge(clicks, num_seeds)
                cases += run.cases
                routing += run.routing
                experts += run.experts
                pictures += run.pictures
    if not held_out:
        raise UsageError(f"-f: no dataset of mixture '{name}' holds out cases in folds {', '.join(map(str, wanted))}.")
    summary = summarise(
        cases,
        routing,
        experts,
        mixture=card,
        foundation=foundation.card,
        held_out=held_out,
        provenance=provenance(seed=0, device=encoder.on(device), threads=torch.get_num_threads()),
    )
    folder = places.mixture(name) / EVALUATION
    write_cases(folder / CASES_CSV, cases)
    write_routing(folder / ROUTING_CSV, routing)
    if forgetting:
        write_experts(folder / EXPERTS_CSV, experts)
    else:
        (folder / EXPERTS_CSV).unlink(missing_ok=True)  # It would belong to an earlier evaluation.
    summary.save(folder / SUMMARY_JSON)
    write_report(folder, summary, cases, routing, card.calibration, _telling(pictures))
    return summary


def _progress(names: Sequence[str], description: str) -> Iterator[str]:
    from tqdm import tqdm

    yield from tqdm(names, desc=description, unit="case")


class _CaseRun:
    """One held-out case, asked for each of its classes."""

    def __init__(
        self, mixture: Mixture, labelled: RawLabelledCase, fold: int, foundation: Foundation, *, forgetting: bool
    ) -> None:
        self._mixture = mixture
        self._labelled = labelled
        self._fold = fold
        self._case: EncodedCase = mixture.encode(labelled.image)
        self._native = foundation.native
        self._forgetting = forgetting
        name = labelled.planned.name
        self._seen = any(entry.partition(":")[0].strip() == name for entry in foundation.card.trained_on)
        self.cases: list[CaseRecord] = []
        self.routing: list[RoutingRecord] = []
        self.experts: list[ExpertRecord] = []
        self.pictures: list[Picture] = []

    def judge(self, clicks: Sequence[int], num_seeds: int) -> None:
        """Measures every class that the case has, at every number of clicks."""
        for class_name in self._labelled.planned.description.labels:
            if not self._labelled.truth(class_name).any():
                continue
            if AUTOMATIC in clicks:
                self._judge_automatic(class_name)
            most = max(clicks)
            for seed in range(num_seeds if most else 0):
                rng = np.random.default_rng([seed, zlib.crc32(f"{self._labelled.name}:{class_name}".encode())])
                first = self._labelled.clicks(class_name, rng)
                targets = [self._labelled.target(class_name, click) for click in first]
                self._judge_clicks(class_name, _Prompted(targets, first), clicks, seed)
                if self._forgetting:
                    self._ask_every_expert(class_name, first, seed)

    def _methods(self, class_name: str, routings: list[Routing]) -> list[_Answering]:
        """Returns the methods that apply to a class; `routings` collects what the gate decides, a prompt at a time."""
        planned = self._labelled.planned
        own = self._mixture.expert_of(planned.name, class_name)
        configuration = planned.configuration_of(class_name)

        def general(clicks: Sequence[Click], chosen: Configuration) -> Answer:
            return self._case.answer(clicks, chosen)

        def mixed(clicks: Sequence[Click]) -> Answer:
            decision = self._mixture.route(self._case, clicks[:1])
            routings.append(decision)
            return self._mixture.answer(self._case, clicks, decision, general_configuration=self._native)

        def used() -> str:
            names = {self._mixture.expert(key).configuration.name for decision in routings for key in decision.chosen}
            if any(not decision.chosen for decision in routings):
                names.add(self._native.name)
            return "+".join(sorted(names)) or configuration.name

        methods = [
            _Answering("general_native", lambda: self._native.name, lambda clicks: general(clicks, self._native)),
            _Answering("general", lambda: configuration.name, lambda clicks: general(clicks, configuration)),
        ]
        if own is not None:
            methods.append(
                _Answering(
                    "expert",
                    lambda: configuration.name,
                    lambda clicks: self._mixture.expert_answer(self._case, clicks, own),
                )
            )
        return [*methods, _Answering("mixture", used, mixed)]

    def _judge_clicks(self, class_name: str, prompted: _Prompted, clicks: Sequence[int], seed: int) -> None:
        routings: list[Routing] = []
        masks: dict[Method, NDArray[np.bool_]] = {}
        for way in self._methods(class_name, routings):
            given = [[click] for click in prompted.clicks]
            rng = np.random.default_rng([seed, 1, zlib.crc32(f"{self._labelled.name}:{class_name}".encode())])
            began = time.monotonic()
            for count in range(1, max(clicks) + 1):
                parts = [way.answer(of_one).mask() for of_one in given]
                if count in clicks:
                    mask = np.logical_or.reduce(parts)
                    masks.setdefault(way.method, mask)
                    self._record(class_name, way, mask, "click", count, seed, time.monotonic() - began)
                if count < max(clicks):
                    for of_one, part, target in zip(given, parts, prompted.targets, strict=True):
                        click = next_click(part, target, rng, self._labelled.valid)
                        if click is not None:
                            of_one.append(click)
        if seed == 0:
            self._picture(class_name, masks)
        for decision in routings[: len(prompted.clicks)]:
            self._record_routing(class_name, decision, seed)

    def _ask_every_expert(self, class_name: str, clicks: Sequence[Click], seed: int) -> None:
        labelled = self._labelled
        for key in self._mixture.decoders:
            parts = [self._mixture.expert_answer(self._case, [click], key).mask() for click in clicks]
            self.experts.append(
                ExpertRecord(
                    dataset=labelled.planned.name,
                    case=labelled.name,
                    fold=self._fold,
                    class_name=class_name,
                    task=labelled.planned.plan.classes[class_name].task,
                    seed=seed,
                    expert=key,
                    dice=dice(np.logical_or.reduce(parts), labelled.truth(class_name), labelled.valid),
                )
            )

    def _judge_automatic(self, class_name: str) -> None:
        planned = self._labelled.planned
        locators = self._mixture.locators.get(planned.name)
        if not locators:
            return
        configuration = planned.plan.configurations[planned.plan.locator_configuration]
        view = self._case.at(configuration)
        maps = probability_maps(view, locators)
        index = list(planned.description.labels).index(class_name)
        seen = sight(
            maps[index],
            cell=view.size // self._mixture.model.mask_size,
            components=planned.plan.classes[class_name].target == "component",
        )
        clicks = [self._labelled.image.click_from_configuration(click, configuration) for click in seen.clicks]
        found = seen.peak >= self._mixture.member(planned.name).thresholds[class_name]
        for way in self._methods(class_name, []):
            began = time.monotonic()
            parts = [way.answer([click]).mask() for click in clicks] if found else []
            mask = np.logical_or.reduce([np.zeros(self._labelled.labels.shape, dtype=np.bool_), *parts])
            self._record(class_name, way, mask, "automatic", AUTOMATIC, 0, time.monotonic() - began)

    def _record(
        self,
        class_name: str,
        way: _Answering,
        mask: NDArray[np.bool_],
        prompt: str,
        clicks: int,
        seed: int,
        seconds: float,
    ) -> None:
        labelled = self._labelled
        self.cases.append(
            CaseRecord(
                dataset=labelled.planned.name,
                case=labelled.name,
                fold=self._fold,
                class_name=class_name,
                task=labelled.planned.plan.classes[class_name].task,
                configuration=way.configuration(),
                method=way.method,
                prompt="automatic" if prompt == "automatic" else "click",
                clicks=clicks,
                seed=seed,
                dice=dice(mask, labelled.truth(class_name), labelled.valid),
                seen_by_foundation=self._seen,
                seconds=seconds,
            )
        )

    def _record_routing(self, class_name: str, decision: Routing, seed: int) -> None:
        labelled = self._labelled
        self.routing.append(
            RoutingRecord(
                dataset=labelled.planned.name,
                case=labelled.name,
                fold=self._fold,
                class_name=class_name,
                task=labelled.planned.plan.classes[class_name].task,
                seed=seed,
                chosen=decision.label,
                confidences={key: min(1.0, max(0.0, value)) for key, value in decision.confidences.items()},
            )
        )

    def _picture(self, class_name: str, masks: dict[Method, NDArray[np.bool_]]) -> None:
        """Keeps a picture of a class that an expert serves, unless one of it was taken in this fold already."""
        labelled = self._labelled
        if labelled.planned.plan.classes[class_name].task is None:
            return
        image = labelled.image
        data = image.orientation.to_canonical(image.channels[0].data).astype(np.float32)
        scores = {m: dice(masks[m], labelled.truth(class_name), labelled.valid) or 0.0 for m in masks}
        self.pictures.append(
            Picture(
                dataset=labelled.planned.name,
                case=labelled.name,
                class_name=class_name,
                caption=f"Dice: general {scores['general_native']:.2f}, mixture {scores['mixture']:.2f}, one click",
                image=data,
                spacing_mm=tuple(float(s) for s in np.linalg.norm(image.affine[:3, :3], axis=0)),  # type: ignore[arg-type]
                truth=labelled.truth(class_name),
                general=masks["general_native"],
                mixture=masks["mixture"],
            )
        )


def _telling(pictures: Sequence[Picture]) -> list[Picture]:
    """Chooses for each class the case with the median gain, so that pictures are neither the best nor the worst."""
    by_class: dict[tuple[str, str], list[tuple[float, Picture]]] = {}
    for picture in pictures:
        gain = (dice(picture.mixture, picture.truth) or 0.0) - (dice(picture.general, picture.truth) or 0.0)
        by_class.setdefault((picture.dataset, picture.class_name), []).append((gain, picture))
    chosen = []
    for entries in by_class.values():
        ordered = sorted(entries, key=lambda entry: (entry[0], entry[1].case))
        chosen.append(ordered[len(ordered) // 2][1])
    return chosen[:_PICTURES]
