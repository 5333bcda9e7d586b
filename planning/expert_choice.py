"""How well decoders do from one click, and in which configuration the general one does best."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from planning.case_labels import CaseLabels
from sammoe_pipeline.artefacts import CandidateEvidence, Configuration
from sammoe_pipeline.clicks import MOST_COMPONENTS, Click, component_masks, first_click
from sammoe_pipeline.foundations import NATIVE, Foundation
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.label_boxes import Box
from sammoe_pipeline.raw_dataset import RawCase, RawDataset
from sammoe_pipeline.threads import side_by_side

if TYPE_CHECKING:
    from sammoe_pipeline.inference.case_image import CaseImage
    from sammoe_pipeline.inference.encoded_image import EncodedImage
    from sammoe_pipeline.model import MaskDecoder

MEASURED_CASES = 4
CEILING_LOSS = 0.1
"""A candidate whose ceiling is further below the best one is not measured."""
CLEAR_LEAD = 0.03
"""A larger difference in Dice decides between candidates."""
CLEAR_OF_CHANCE = 2
"""A difference of so many of its standard errors, over the same cases, is more than chance."""
EQUAL_CEILINGS = 0.02
"""Ceilings that differ by less count as equal."""
_DIGITS = 4

TargetKind = Literal["class", "component"]


@dataclass(frozen=True)
class Score:
    """How a decoder did on a class of a case.

    Attributes:
        dice: on the original grid, over all that is segmented by itself.
        seconds: one answer took, on average; the first in a window embeds it.
    """

    dice: float
    seconds: float


@dataclass(frozen=True)
class Measurement:
    """What to measure for one class.

    Attributes:
        values: its label values.
        target: what one click points at.
        cases: names of the cases to measure on.
        candidates: configurations to measure.
    """

    values: tuple[int, ...]
    target: TargetKind
    cases: tuple[str, ...]
    candidates: tuple[Configuration, ...]


def worth_measuring(ceilings: Mapping[str, float]) -> list[str]:
    """Returns the candidates whose ceiling is not clearly below the best."""
    best = max(ceilings.values(), default=0.0)
    return [name for name, ceiling in ceilings.items() if best - ceiling <= CEILING_LOSS]


def measure_decoders(
    raw: RawDataset,
    foundation: Foundation,
    decoders: Mapping[str, Path | None],
    measurements: Mapping[str, Measurement],
    *,
    seed: int,
    device: str,
) -> dict[str, dict[str, dict[str, list[Score]]]]:
    """Segments targets of a few cases from one click with decoders as they are.

    A few cases are read at a time, and a window that several classes or decoders look at is embedded once.

    Args:
        raw: the dataset.
        foundation: whose encoder they share.
        decoders: by name the weights of an expert, or None for the general one.
        measurements: by class.
        seed: of the clicks; each case and class has its own draw.
        device: such as "cpu".

    Returns:
        A score a case, in the order of the dataset's cases, by decoder, class and candidate.
    """
    from safetensors.torch import load_file
    from tqdm import tqdm

    from sammoe_pipeline.inference.case_image import CaseImage
    from sammoe_pipeline.inference.encoded_image import EncodedImage
    from sammoe_pipeline.model import at_patch_size, decoder_with

    model = foundation.load_model(device)
    sizes = {configuration.patch_size for wanted in measurements.values() for configuration in wanted.candidates}
    networks = {size: at_patch_size(model, size) for size in sizes}
    loaded: dict[str, MaskDecoder | None] = dict.fromkeys(decoders)
    for key, weights in decoders.items():
        if weights is not None:
            loaded[key] = decoder_with(model, load_file(weights))
    total = len(decoders) * sum(len(wanted.cases) * len(wanted.candidates) for wanted in measurements.values())

    def measure(case: RawCase) -> list[tuple[str, str, str, Score]]:
        here = {name: wanted for name, wanted in measurements.items() if case.name in wanted.cases}
        image = CaseImage([read_volume(path) for path in case.images])
        labels = CaseLabels.of(case)
        targets = {name: _Target.of(labels, wanted, _rng(seed, case, name)) for name, wanted in here.items()}
        valid = labels.labels != (-1 if raw.ignore is None else raw.ignore)
        configurations = {c.name: c for wanted in here.values() for c in wanted.candidates}
        scores = []
        for configuration in configurations.values():
            encoded = EncodedImage(
                image.in_configuration(configuration),
                model=networks[configuration.patch_size],
                normalisation=foundation.card.normalisation,
            )
            for name in [name for name, wanted in here.items() if configuration in wanted.candidates]:
                for key, decoder in loaded.items():
                    score = _score(targets[name], image, configuration, encoded, decoder, valid)
                    scores.append((key, name, configuration.name, score))
                with one_at_a_time:
                    bar.update(len(loaded))
        return scores

    wanted_cases = {case for wanted in measurements.values() for case in wanted.cases}
    found: dict[str, dict[str, dict[str, list[Score]]]] = {key: {name: {} for name in measurements} for key in decoders}
    one_at_a_time = Lock()
    with tqdm(total=total, desc="One click each", unit="target", disable=None) as bar:
        for scores in side_by_side(measure, [case for case in raw.training_cases if case.name in wanted_cases]):
            for key, name, configuration, score in scores:
                found[key][name].setdefault(configuration, []).append(score)
    return found


def _rng(seed: int, case: RawCase, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(case.name.encode()), zlib.crc32(name.encode())])


@dataclass(frozen=True)
class _Target:
    clicks: tuple[Click, ...]
    """One for each thing that is segmented by itself; the answer is their union."""
    box: Box
    """Of the class, on the canonical grid of the image."""
    truth: NDArray[np.bool_]
    """(x, y, z), within the box: a volume of its own for each of many classes would fill the memory."""

    @classmethod
    def of(cls, labels: CaseLabels, wanted: Measurement, rng: np.random.Generator) -> _Target:
        box = labels.boxes.around(wanted.values, margin=1)
        assert box is not None, "only cases that have the class are measured"
        mask = labels.mask(wanted.values, box)
        parts = [mask]
        if wanted.target == "component":
            components, numbers = component_masks(mask)
            parts = [components == number for number in numbers[:MOST_COMPONENTS]]
        clicks, truth = [], np.zeros_like(mask)
        for part in parts:
            click = first_click(part, rng)
            assert click is not None, "no component is empty"
            x, y, z = (at + side.start for at, side in zip(click.position, box, strict=True))
            clicks.append(Click(position=(x, y, z)))
            truth |= part
        return cls(clicks=tuple(clicks), box=box, truth=truth)


def _score(
    target: _Target,
    image: CaseImage,
    configuration: Configuration,
    encoded: EncodedImage,
    decoder: MaskDecoder | None,
    valid: NDArray[np.bool_],
) -> Score:
    from sammoe_pipeline.inference.segment import segment

    began = time.perf_counter()
    found = np.zeros(image.shape, dtype=np.bool_)
    for click in target.clicks:
        answer = segment(encoded, [image.click_in_configuration(click, configuration)], [decoder]).on(image.shape)
        found[answer.box] |= answer.logits.numpy() > 0
    seconds = (time.perf_counter() - began) / len(target.clicks)
    found &= valid
    both = int(np.count_nonzero(found[target.box] & target.truth))
    dice = 2 * both / (int(np.count_nonzero(found)) + int(np.count_nonzero(target.truth)))
    return Score(dice=dice, seconds=seconds)


def evidence_of(ceilings: Mapping[str, float], scores: Mapping[str, Sequence[Score]]) -> dict[str, CandidateEvidence]:
    """Puts together what is known of each candidate of one class."""
    evidence = {}
    for name, ceiling in ceilings.items():
        of_cases = scores.get(name, ())
        evidence[name] = CandidateEvidence(
            ceiling=ceiling,
            dice=round(mean(score.dice for score in of_cases), _DIGITS) if of_cases else None,
            dice_by_case=tuple(round(score.dice, _DIGITS) for score in of_cases),
            seconds=round(median(score.seconds for score in of_cases), _DIGITS) if of_cases else None,
        )
    return evidence


def pool_evidence(
    one: Mapping[str, CandidateEvidence], other: Mapping[str, CandidateEvidence]
) -> dict[str, CandidateEvidence]:
    """Returns the evidence of two classes together, for the candidates that both have, in the order of the first."""
    pooled = {}
    for name in one:
        if name not in other:
            continue
        a, b = one[name], other[name]
        measured = a.dice is not None and b.dice is not None
        dice = (*a.dice_by_case, *b.dice_by_case) if measured else ()
        pooled[name] = CandidateEvidence(
            ceiling=round((a.ceiling + b.ceiling) / 2, _DIGITS),
            dice=round(mean(dice), _DIGITS) if dice else None,
            dice_by_case=dice,
        )
    return pooled


def choose_configuration(evidence: Mapping[str, CandidateEvidence], expert_threshold: float) -> tuple[str, str]:
    """Chooses the configuration of one class.

    A clear lead in Dice decides; otherwise the higher ceiling; otherwise native, which the foundation knows best, or
    the coarsest, which sees most. Where the general expert is good enough to answer itself, in native, its Dice is all
    that counts. Where an expert is to be trained it is a hint, which has to be clear of chance to outweigh the ceiling.

    Args:
        evidence: by candidate, native first, then from coarse to fine.
        expert_threshold: Dice from which the general expert is good enough.

    Returns:
        The configuration's name, and why it was chosen.
    """
    measured = {name: found.dice for name, found in evidence.items() if found.dice is not None}
    if not measured:
        return NATIVE, f"no training case of fold 0 has it, so {NATIVE} is taken unmeasured"
    if len(evidence) == 1:
        return NATIVE, f"{NATIVE} is the only spacing that shows enough of it"
    best = max(measured, key=lambda name: measured[name])
    answers_itself = measured.get(NATIVE, 0.0) >= expert_threshold
    contenders = [
        name for name in measured if not _clearly_better(evidence[best], evidence[name], even_by_chance=answers_itself)
    ]
    if len(measured) == 1:
        others = max(found.ceiling for name, found in evidence.items() if name != best)
        return best, f"only {best} can draw it: ceiling {evidence[best].ceiling:.2f}, next {others:.2f}"
    if len(contenders) == 1:
        second = max(dice for name, dice in measured.items() if name != best)
        return best, f"{best} has the clearly best Dice of the general expert: {measured[best]:.2f}, next {second:.2f}"
    top = max(evidence[name].ceiling for name in contenders)
    equal = [name for name in contenders if top - evidence[name].ceiling < EQUAL_CEILINGS]
    chosen, ceiling = equal[0], evidence[equal[0]].ceiling
    if len(equal) == 1:
        return (
            chosen,
            f"{chosen} has the highest ceiling ({ceiling:.2f}) of those where the general expert does as well",
        )
    return (
        chosen,
        f"no other candidate is clearly better than {chosen}: ceiling {ceiling:.2f}, Dice {measured[chosen]:.2f}",
    )


def _clearly_better(one: CandidateEvidence, other: CandidateEvidence, *, even_by_chance: bool) -> bool:
    """Tells whether a candidate leads another on the same cases, by more than chance would unless that is allowed."""
    leads = [a - b for a, b in zip(one.dice_by_case, other.dice_by_case, strict=True)]
    if mean(leads) <= CLEAR_LEAD:
        return False
    return even_by_chance or (len(leads) > 1 and mean(leads) > CLEAR_OF_CHANCE * stdev(leads) / math.sqrt(len(leads)))
