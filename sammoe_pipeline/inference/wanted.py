"""What is to be segmented in a case, and where it is clicked on: files, coarse masks or the locators say so."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sammoe_pipeline.artefacts import Configuration, MixtureDataset, sha256_of
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import SammoeError, UsageError, did_you_mean
from sammoe_pipeline.geometry import spacing_of
from sammoe_pipeline.image_io import FILE_ENDINGS
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.coarse_mask import CoarseMask
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass
from sammoe_pipeline.inference.prompt_files import files_of, prompt_file
from sammoe_pipeline.inference.prompts import Interaction, lies_in, read_prompts
from sammoe_pipeline.paths import DATASET_JSON

Kind = Literal["locator", "file", "mask"]

MUCH_LARGER = 3
"""An image so many times as long as any that a locator learnt from is of another kind."""


@dataclass(frozen=True)
class PromptSource:
    """Where the prompts of all cases come from.

    Attributes:
        kind: what says where to look.
        path: of the prompt file or the folder; None for the locators.
        instances: each positive click of a file is on a thing of its own, in place of all being on one.
    """

    kind: Kind = "locator"
    path: Path | None = None
    instances: bool = False

    def file_of(self, case: str) -> Path | None:
        """Returns the file with a case's prompts; None where the locators prompt.

        Raises:
            UsageError: there is none.
        """
        if self.path is None:
            return None
        return prompt_file(self.path, case) if self.kind == "file" else mask_file(self.path, case)

    def sha256(self, case: str) -> str | None:
        """Returns what tells a case's prompts, with the masks that they name, from others; None where it has none."""
        try:
            path = self.file_of(case)
            if path is None:
                return None
            each = [sha256_of(file) for file in (files_of(path) if self.kind == "file" else [path])]
        except (SammoeError, OSError):
            return None
        return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


@dataclass(frozen=True)
class Wanted:
    """A class or target of a case.

    Attributes:
        output: what it is written as.
        interactions: each on one thing; none where nothing was found.
        warnings: what a reader of the result should know.
    """

    output: OutputClass
    interactions: tuple[Interaction, ...]
    warnings: tuple[str, ...] = ()

    @property
    def clicks(self) -> tuple[Click, ...]:
        """All clicks, each once."""
        return tuple(dict.fromkeys(click for interaction in self.interactions for click in interaction.clicks))


def mask_file(folder: Path, case: str) -> Path:
    """Returns a case's label map in a folder.

    Raises:
        UsageError: there is none, or several.
    """
    found = [folder / f"{case}{ending}" for ending in FILE_ENDINGS if (folder / f"{case}{ending}").is_file()]
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or f"no {case}.nii.gz nor one of another ending"
        raise UsageError(f"--prompts_from_masks {folder}: there is {there}; one label map for each image is needed.")
    return found[0]


def wanted_in(
    source: PromptSource,
    case: str,
    encoded: EncodedCase,
    *,
    mixture: Mixture,
    classes: Sequence[OutputClass],
    values: dict[str, int],
) -> list[Wanted]:
    """Finds out what is wanted in a case.

    Args:
        source: where prompts come from.
        case: its name.
        encoded: the case.
        mixture: whose locators look, and which knows what a click on a class means.
        classes: that may be given out.
        values: in label maps by name, for targets that stand for themselves.

    Raises:
        UsageError: the case has no prompts, or they name a class that is unknown.
        ArtefactError: its prompt file is broken.
        UnreadableFileError: its mask is broken.
    """
    if source.kind == "locator":
        return _from_locators(mixture, encoded, classes)
    path = source.file_of(case)
    assert path is not None
    if source.kind == "mask":
        return _from_mask(path, case, encoded.image, mixture, classes)
    return _from_file(path, encoded.image, classes, values, instances=source.instances)


def _from_file(
    path: Path, image: CaseImage, classes: Sequence[OutputClass], values: dict[str, int], *, instances: bool
) -> list[Wanted]:
    by_label = {c.label: c for c in classes}
    wanted: list[Wanted] = []
    for target in read_prompts(path, image):
        interactions = _one_each(target.prompt) if instances else (target.prompt,)
        if target.class_name is not None and target.class_name in by_label:
            wanted.append(Wanted(by_label[target.class_name], interactions))
            continue
        if target.class_name is not None and classes:
            raise UsageError(
                f"{path}: class '{target.class_name}' is unknown.{did_you_mean(target.class_name, by_label)} Known: "
                f"{', '.join(by_label)}. Leave class_name out to segment it as a free-standing target."
            )
        output = OutputClass(dataset="", name=target.name, label=target.name, value=values[target.name])
        wanted.append(Wanted(output, interactions))
    return wanted


def _one_each(prompt: Interaction) -> tuple[Interaction, ...]:
    """Returns an interaction for each positive click; negative clicks and the region hold for all of them."""
    negative = tuple(click for click in prompt.clicks if not click.positive)
    return tuple(Interaction((click, *negative), prompt.region) for click in prompt.clicks if click.positive)


def mask_labels(folder: Path) -> dict[str, tuple[int, ...]]:
    """Reads what the values of a folder's label maps mean, from the `dataset.json` in it.

    Raises:
        UsageError: it is missing, or names no classes as nnU-Net's does.
    """
    path = folder / DATASET_JSON
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        values = {
            str(name): tuple(value) if isinstance(value, list) else (int(value),) for name, value in labels.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--prompts_from_masks {folder}: {DATASET_JSON} does not say what the values mean ({type(error).__name__}: "
            f'{error}). Write one there: {{"labels": {{"background": 0, "liver": 1}}}}'
        ) from error
    return {name: value for name, value in values.items() if 0 not in value}


def _from_mask(
    path: Path, case: str, image: CaseImage, mixture: Mixture, classes: Sequence[OutputClass]
) -> list[Wanted]:
    """Clicks well inside each class of a coarse mask, and keeps the answer near it."""
    coarse = CoarseMask.read(path, image)
    labels = mask_labels(path.parent)
    wanted = []
    for output in classes:
        if output.label not in labels:
            continue
        mask = coarse.where(labels[output.label])
        rng = np.random.default_rng([zlib.crc32(case.encode()), zlib.crc32(output.label.encode())])
        each_part = mixture.member(output.dataset).targets[output.name] == "component"
        drawn = coarse.clicks(mask, rng, each_part=each_part)
        inside = [click for click in drawn if lies_in(image, click)]
        region = coarse.near(mask) if inside else None
        warnings = ["not in the mask"] if not drawn else []
        if len(inside) < len(drawn):
            warnings.append(f"{len(drawn) - len(inside)} of {len(drawn)} parts of the mask lie outside the image")
        interactions = tuple(Interaction((click,), region) for click in inside)
        wanted.append(Wanted(output, interactions, tuple(warnings)))
    return wanted


def _of_another_kind(encoded: EncodedCase, member: MixtureDataset) -> str | None:
    """Says so where an image is much larger than those that a locator knows.

    What it looks for is not there, and at its spacing there would be no end of windows: a torso is a hundred thousand
    windows of a mouse's brain.
    """
    longest_mm = float((np.array(spacing_of(encoded.image.affine)) * encoded.image.shape).max())
    if member.locator_longest_mm is None or longest_mm <= MUCH_LARGER * member.locator_longest_mm:
        return None
    return (
        f"not looked for: the image is {longest_mm:.3g} mm long, and the locator of {member.dataset} knows images of "
        f"up to {member.locator_longest_mm:.3g} mm"
    )


def _from_locators(mixture: Mixture, encoded: EncodedCase, classes: Sequence[OutputClass]) -> list[Wanted]:
    assert mixture.card is not None
    wanted: list[Wanted] = []
    for member in mixture.card.datasets:
        locators = mixture.locators.get(member.dataset)
        mine = [c for c in classes if c.dataset == member.dataset]
        if not locators or not mine or member.locator_configuration is None:
            continue
        configuration: Configuration = member.locator_configuration
        if warning := _of_another_kind(encoded, member):
            wanted += [Wanted(output, (), (warning,)) for output in mine]
            continue
        view = encoded.at(configuration)
        maps = probability_maps(view, locators)
        cell = view.size // mixture.model.mask_size
        for index, name in enumerate(member.configurations):
            output = next((c for c in mine if c.name == name), None)
            if output is None:
                continue
            seen = sight(maps[index], cell=cell, components=member.targets[name] == "component")
            if seen.peak < member.thresholds[name]:
                warning = f"not found (peak {seen.peak:.2f} below {member.thresholds[name]:.2f})"
                wanted.append(Wanted(output, (), (warning,)))
                continue
            clicks = [encoded.image.click_from_configuration(click, configuration) for click in seen.clicks]
            wanted.append(Wanted(output, tuple(Interaction((click,)) for click in clicks)))
    return wanted
