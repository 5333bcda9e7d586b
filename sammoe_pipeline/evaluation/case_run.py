"""One held-out case, asked for each of its classes by every method."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click, next_click
from sammoe_pipeline.evaluation.pictures import Picture, take_planes
from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord, Method, Prompt, RoutingRecord
from sammoe_pipeline.evaluation.truth import Truth
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.routing import Routing
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.raw_case import RawLabelledCase

logger = logging.getLogger(__name__)

AUTOMATIC = 0
"""Number of clicks that stands for the locator's prompt."""


@dataclass(frozen=True)
class Asked:
    """What is asked of every case.

    Attributes:
        clicks: numbers of clicks to report; 0 is the locator's prompt.
        num_seeds: how often clicks are drawn.
        forgetting: whether every expert is asked about everybody's classes, at one click.
    """

    clicks: tuple[int, ...]
    num_seeds: int
    forgetting: bool


@dataclass(frozen=True)
class _Way:
    """One method for one class: how it answers, and in which configuration it does, known once it has answered."""

    method: Method
    configuration: Callable[[], str]
    answer: Callable[[Sequence[Click]], Answer]


@dataclass
class CaseRun:
    """Asks a case, and keeps what was measured.

    Args:
        mixture: with the fold's experts and gate.
        labelled: the case.
        fold: which holds it out.
        foundation: of the mixture.
        asked: of every case.
        tolerances_mm: of surface Dice, by class.
        pictured: classes of which pictures are taken, at the fewest clicks of the first seed.
    """

    mixture: Mixture
    labelled: RawLabelledCase
    fold: int
    foundation: Foundation
    asked: Asked
    tolerances_mm: Mapping[str, float]
    pictured: Collection[str]
    cases: list[CaseRecord] = field(default_factory=list)
    routing: list[RoutingRecord] = field(default_factory=list)
    experts: list[ExpertRecord] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Classes that the reference does not have."""

    def judge(self) -> None:
        """Measures every class, at every number of clicks."""
        for class_name in self.labelled.planned.description.labels:
            truth = Truth.of(self.labelled, class_name, self.tolerances_mm[class_name])
            if AUTOMATIC in self.asked.clicks:
                self._judge_automatic(truth)
            if truth.box is None:
                self.absent.append(class_name)  # Nobody can click on it.
                continue
            for seed in range(self.asked.num_seeds if max(self.asked.clicks) else 0):
                rng = np.random.default_rng([seed, zlib.crc32(f"{self.labelled.name}:{class_name}".encode())])
                first = self.labelled.clicks(class_name, rng)
                self._judge_clicks(truth, first, seed)
                if self.asked.forgetting:
                    self._ask_every_expert(truth, first, seed)

    @cached_property
    def _case(self) -> EncodedCase:
        return self.mixture.encode(self.labelled.image)

    def _ways(self, class_name: str, routings: dict[Click, Routing]) -> list[_Way]:
        """Returns the methods that apply to a class; `routings` keeps the gate's last decision by first click."""
        planned, mixture, case = self.labelled.planned, self.mixture, self._case
        native, configuration = self.foundation.native, planned.configuration_of(class_name)
        own = mixture.expert_of(planned.name, class_name)

        def general(chosen: Configuration) -> Callable[[Sequence[Click]], Answer]:
            return lambda clicks: case.answer(clicks, chosen)

        def mixed(clicks: Sequence[Click]) -> Answer:
            routing = routings[clicks[0]] = mixture.route(case, clicks)
            return mixture.answer(case, clicks, routing, general_configuration=native)

        def used() -> str:
            decisions = routings.values()
            names = {mixture.expert(key).configuration.name for decision in decisions for key in decision.chosen}
            if any(not decision.chosen for decision in decisions):
                names.add(native.name)
            return "+".join(sorted(names)) or configuration.name

        ways = [
            _Way("general_native", lambda: native.name, general(native)),
            _Way("general", lambda: configuration.name, general(configuration)),
        ]
        if own is not None:
            ways.append(
                _Way("expert", lambda: configuration.name, lambda clicks: mixture.expert_answer(case, clicks, own))
            )
        return [*ways, _Way("mixture", used, mixed)]

    def _judge_clicks(self, truth: Truth, first: Sequence[Click], seed: int) -> None:
        """Lets every method answer the same first clicks, one a target; later ones correct each method's own mask."""
        routings: dict[Click, Routing] = {}
        masks: dict[Method, NDArray[np.bool_]] = {}
        wanted, most = self.asked.clicks, max(self.asked.clicks)
        targets = [self.labelled.target(truth.class_name, click) for click in first] if most > 1 else []
        for way in self._ways(truth.class_name, routings):
            given = [[click] for click in first]
            rng = np.random.default_rng([seed, 1, zlib.crc32(f"{self.labelled.name}:{truth.class_name}".encode())])
            seconds = 0.0
            for count in range(1, most + 1):
                began = time.monotonic()
                answers = [way.answer(of_one) for of_one in given]
                seconds += time.monotonic() - began
                if count in wanted:
                    self._record(truth, way, answers, "click", count, seed, seconds)
                    if way.method == "mixture":
                        self._record_routing(truth.class_name, routings.values(), count, seed)
                    if seed == 0 and truth.class_name in self.pictured:
                        masks.setdefault(way.method, self._union(answers))
                if count < most:
                    for of_one, answer, target in zip(given, answers, targets, strict=True):
                        click = next_click(answer.mask(), target, rng, self.labelled.valid)
                        if click is not None:
                            of_one.append(click)
        if masks:
            self._take_picture(truth, masks)

    def _judge_automatic(self, truth: Truth) -> None:
        """Prompts every method with the locator's clicks, on classes that the case lacks as well."""
        planned = self.labelled.planned
        if self._maps is None:
            return
        configuration = planned.plan.configurations[planned.plan.locator_configuration]
        index = list(planned.description.labels).index(truth.class_name)
        seen = sight(
            self._maps[index],
            cell=self._case.at(configuration).size // self.mixture.model.mask_size,
            components=planned.plan.classes[truth.class_name].target == "component",
        )
        found = seen.peak >= self.mixture.member(planned.name).thresholds[truth.class_name]
        clicks = [self.labelled.image.click_from_configuration(click, configuration) for click in seen.clicks]
        for way in self._ways(truth.class_name, {}):
            began = time.monotonic()
            answers = [way.answer([click]) for click in clicks] if found else []
            self._record(truth, way, answers, "automatic", AUTOMATIC, 0, time.monotonic() - began)

    @cached_property
    def _maps(self) -> Tensor | None:
        """Where the locators see each class, or None where the dataset has none."""
        planned = self.labelled.planned
        locators = self.mixture.locators.get(planned.name)
        if not locators:
            logger.warning("%s has no locator: its classes are not prompted without clicks", planned.name)
            return None
        return probability_maps(
            self._case.at(planned.plan.configurations[planned.plan.locator_configuration]), locators
        )

    def _ask_every_expert(self, truth: Truth, clicks: Sequence[Click], seed: int) -> None:
        labelled = self.labelled
        for key in self.mixture.decoders:
            began = time.monotonic()
            answers = [self.mixture.expert_answer(self._case, [click], key) for click in clicks]
            self.experts.append(
                ExpertRecord(
                    dataset=labelled.planned.name,
                    case=labelled.name,
                    fold=self.fold,
                    class_name=truth.class_name,
                    task=labelled.planned.plan.classes[truth.class_name].task,
                    seed=seed,
                    expert=key,
                    configuration=self.mixture.expert(key).configuration.name,
                    seconds=time.monotonic() - began,
                    scores=truth.score(answers),
                )
            )

    def _union(self, answers: Sequence[Answer]) -> NDArray[np.bool_]:
        """Returns the mask of all answers on the whole grid (x, y, z)."""
        none = np.zeros(self.labelled.labels.shape, dtype=np.bool_)
        return np.asarray(np.logical_or.reduce([none, *(answer.mask() for answer in answers)]))

    def _record(
        self,
        truth: Truth,
        way: _Way,
        answers: Sequence[Answer],
        prompt: Prompt,
        clicks: int,
        seed: int,
        seconds: float,
    ) -> None:
        labelled = self.labelled
        self.cases.append(
            CaseRecord(
                dataset=labelled.planned.name,
                case=labelled.name,
                fold=self.fold,
                class_name=truth.class_name,
                task=labelled.planned.plan.classes[truth.class_name].task,
                configuration=way.configuration(),
                method=way.method,
                prompt=prompt,
                clicks=clicks,
                seed=seed,
                seen_by_foundation=self._seen,
                seconds=seconds,
                scores=truth.score(answers),
            )
        )

    @cached_property
    def _seen(self) -> bool:
        """Whether the foundation was trained on the case's dataset."""
        seen = {entry.partition(":")[0].strip() for entry in self.foundation.card.trained_on}
        return self.labelled.planned.name in seen

    def _record_routing(self, class_name: str, decisions: Iterable[Routing], clicks: int, seed: int) -> None:
        labelled = self.labelled
        self.routing += [
            RoutingRecord(
                dataset=labelled.planned.name,
                case=labelled.name,
                fold=self.fold,
                class_name=class_name,
                task=labelled.planned.plan.classes[class_name].task,
                clicks=clicks,
                seed=seed,
                chosen=decision.label,
                confidences={key: min(1.0, max(0.0, value)) for key, value in decision.confidences.items()},
            )
            for decision in decisions
        ]

    def _take_picture(self, truth: Truth, masks: Mapping[Method, NDArray[np.bool_]]) -> None:
        labelled = self.labelled
        name = truth.class_name
        shown: dict[Method, float | None] = {}
        for record in self.cases:
            if record.class_name == name and record.prompt == "click" and record.seed == 0:
                shown.setdefault(record.method, record.dice)
        image = labelled.image
        self.pictures.append(
            Picture(
                dataset=labelled.planned.name,
                case=labelled.name,
                class_name=name,
                general_dice=shown["general_native"],
                mixture_dice=shown["mixture"],
                planes=take_planes(
                    image.orientation.to_canonical(image.channels[0].data),
                    self.labelled.spacing_mm,
                    truth=truth.mask,
                    general=masks["general_native"],
                    mixture=masks["mixture"],
                ),
            )
        )
