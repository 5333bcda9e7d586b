"""What is to be segmented in a case, and where it is clicked on: files, coarse masks or the locators say so."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click, component_clicks, first_click
from sammoe_pipeline.errors import UsageError, did_you_mean
from sammoe_pipeline.image_io import FILE_ENDINGS, read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass
from sammoe_pipeline.inference.prompts import lies_in, prompt_file, read_prompts
from sammoe_pipeline.paths import DATASET_JSON

Kind = Literal["locator", "file", "mask"]


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


@dataclass(frozen=True)
class Wanted:
    """A class or target of a case.

    Attributes:
        output: what it is written as.
        interactions: clicks in canonical voxels, each interaction on one thing, its first click positive; none where
            nothing was found.
        warnings: what a reader of the result should know.
    """

    output: OutputClass
    interactions: tuple[tuple[Click, ...], ...]
    warnings: tuple[str, ...] = ()

    @property
    def clicks(self) -> tuple[Click, ...]:
        """All clicks, each once."""
        return tuple(dict.fromkeys(click for interaction in self.interactions for click in interaction))


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
        interactions = _one_each(target.clicks) if instances else (target.clicks,)
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


def _one_each(clicks: Sequence[Click]) -> tuple[tuple[Click, ...], ...]:
    """Returns an interaction for each positive click; negative clicks hold for all of them."""
    negative = tuple(click for click in clicks if not click.positive)
    return tuple((click, *negative) for click in clicks if click.positive)


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
    """Clicks well inside each class of a coarse mask, which may lie on a grid of its own."""
    volume = read_volume(path)
    labels = mask_labels(path.parent)
    wanted = []
    for output in classes:
        if output.label not in labels:
            continue
        mask = np.isin(volume.data, labels[output.label])
        rng = np.random.default_rng([zlib.crc32(case.encode()), zlib.crc32(output.label.encode())])
        if mixture.member(output.dataset).targets[output.name] == "component":
            drawn = component_clicks(mask, rng)
        else:
            drawn = [click for click in [first_click(mask, rng)] if click is not None]
        placed = [image.click_from_mm(_to_mm(volume.affine, click)) for click in drawn]
        inside = tuple((click,) for click in placed if lies_in(image, click))
        warnings = ["not in the mask"] if not drawn else []
        if len(inside) < len(placed):
            warnings.append(f"{len(placed) - len(inside)} of {len(placed)} parts of the mask lie outside the image")
        wanted.append(Wanted(output, inside, tuple(warnings)))
    return wanted


def _to_mm(affine: NDArray[np.float64], click: Click) -> tuple[float, float, float]:
    x, y, z, _ = affine @ np.array([*click.position, 1.0])
    return float(x), float(y), float(z)


def _from_locators(mixture: Mixture, encoded: EncodedCase, classes: Sequence[OutputClass]) -> list[Wanted]:
    assert mixture.card is not None
    wanted: list[Wanted] = []
    for member in mixture.card.datasets:
        locators = mixture.locators.get(member.dataset)
        mine = [c for c in classes if c.dataset == member.dataset]
        if not locators or not mine or member.locator_configuration is None:
            continue
        configuration: Configuration = member.locator_configuration
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
            wanted.append(Wanted(output, tuple((click,) for click in clicks)))
    return wanted
