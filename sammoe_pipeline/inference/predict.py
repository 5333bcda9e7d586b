"""A folder of images to label maps: prompts from files, or from the locators."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sammoe_pipeline.artefacts import Configuration, provenance
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import SammoeError, UsageError, did_you_mean
from sammoe_pipeline.image_io import FILE_ENDINGS, Volume, file_ending, read_volume, write_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.input_cases import InputCase, find_cases, require_channels
from sammoe_pipeline.inference.locate import probability_maps, sight
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.predictions import RESEARCH_ONLY, PredictedCase, PredictedTarget, Predictions
from sammoe_pipeline.inference.prompts import SLICER_ENDING, Target, read_prompts
from sammoe_pipeline.inference.routing import GENERAL, Routing
from sammoe_pipeline.paths import DATASET_JSON, PREDICTIONS_JSON

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _OutputClass:
    dataset: str
    name: str
    label: str
    """Name in the output; with the dataset ahead of it where two datasets share the class name."""
    value: int


def predict_folder(
    mixture: Mixture,
    *,
    source: Path,
    target: Path,
    dataset: str | None,
    prompts: Path | None,
    device: str,
) -> Predictions:
    """Segments every image of a folder; one that fails is reported and the others go on.

    Args:
        mixture: what answers.
        source: a folder of images or one image.
        target: folder for label maps, `dataset.json` and `predictions.json`.
        dataset: whose classes and values to use; None uses all of the mixture's.
        prompts: a file, or a folder with `CASE.json` or `CASE.mrk.json`; None lets the locators prompt.
        device: on which it runs, for the record.

    Raises:
        UsageError: nothing to predict, neither prompts nor a locator, or `target` is where the images are.
    """
    from tqdm import tqdm

    cases = find_cases(source)
    if target.resolve() == (source if source.is_dir() else source.parent).resolve():
        raise UsageError(
            f"-o {target}: it is the folder of the images, whose files would be overwritten. Give another one."
        )
    classes = _output_classes(mixture, dataset)
    located = [c for c in classes if mixture.locators.get(c.dataset)]
    if prompts is None and not located:
        raise UsageError(
            "There is nothing that could say where to look: the mixture has no locator. Give clicks with --prompts, or "
            "train a dataset with sammoe_train_expert and join it with sammoe_train_gate."
        )
    if mixture.foundation.card.for_research_only:
        logger.warning(
            "Foundation '%s' is meant for learning and tests, not for real scans", mixture.foundation.card.name
        )
    labels = {c.label: c.value for c in classes}
    results = []
    for case in tqdm(cases, desc="Predicting", unit="case"):
        began = time.monotonic()
        try:
            predicted = _predict_case(mixture, case, target, classes, prompts, labels)
            results.append(PredictedCase(case=case.name, seconds=time.monotonic() - began, targets=tuple(predicted)))
        except SammoeError as error:
            results.append(
                PredictedCase(case=case.name, seconds=time.monotonic() - began, targets=(), error=str(error))
            )
    predictions = Predictions(
        foundation=mixture.foundation.card.name,
        foundation_sha256=mixture.foundation.card.sha256,
        mixture=mixture.card.name if mixture.card else None,
        labels={"background": 0, **labels},
        not_attempted=tuple(c.label for c in classes if c not in located) if prompts is None else (),
        cases=tuple(results),
        provenance=provenance(seed=0, device=device, threads=torch.get_num_threads()),
    )
    predictions.save(target / PREDICTIONS_JSON)
    _write_dataset_json(target, predictions, cases)
    return predictions


def _output_classes(mixture: Mixture, dataset: str | None) -> list[_OutputClass]:
    if mixture.card is None:
        return []
    entries = mixture.card.labels
    if dataset is not None:
        names = list(mixture.member(dataset).configurations)
        values = mixture.member(dataset).values
        return [_OutputClass(dataset=dataset, name=n, label=n, value=values[n]) for n in names]
    shared = {e.name for e in entries for other in entries if e.name == other.name and e.dataset != other.dataset}
    return [
        _OutputClass(
            dataset=e.dataset, name=e.name, label=f"{e.dataset}:{e.name}" if e.name in shared else e.name, value=e.value
        )
        for e in entries
        if any(member.dataset == e.dataset for member in mixture.card.datasets)
    ]


def _predict_case(
    mixture: Mixture,
    case: InputCase,
    folder: Path,
    classes: Sequence[_OutputClass],
    prompts: Path | None,
    labels: dict[str, int],
) -> list[PredictedTarget]:
    require_channels(case)
    volumes = [read_volume(file) for file in case.files]
    image = CaseImage(volumes)
    encoded = mixture.encode(image)
    if prompts is not None:
        wanted = _from_file(prompts, case, image, classes, labels)
    else:
        wanted = _from_locators(mixture, encoded, classes)
    # Classes compete voxel by voxel, and the highest logit above 0 wins; nested regions are written one over another.
    best = torch.full(image.shape, 0.0)
    label_map = torch.zeros(image.shape, dtype=torch.int16)
    order = {c.label: index for index, c in enumerate(classes)}
    results = []
    for output, target, warnings in sorted(wanted, key=lambda entry: order.get(entry[0].label, len(order))):
        results.append(
            _predict_target(mixture, encoded, output, target, warnings, best, label_map, prompts is not None)
        )
    written = [_with_volume(result, label_map, volumes[0]) for result in results]
    data = image.orientation.from_canonical(label_map.numpy())
    ending = file_ending(case.files[0]) or FILE_ENDINGS[0]
    stored = data.astype(np.uint8 if int(data.max(initial=0)) < 256 else np.uint16)
    write_volume(folder / f"{case.name}{ending}", Volume(data=stored, affine=volumes[0].affine))
    return written


_Wanted = tuple[_OutputClass, Target | None, tuple[str, ...]]


def _from_file(
    prompts: Path, case: InputCase, image: CaseImage, classes: Sequence[_OutputClass], labels: dict[str, int]
) -> list[_Wanted]:
    path = prompts
    if prompts.is_dir():
        options = [prompts / f"{case.name}.json", prompts / f"{case.name}{SLICER_ENDING}"]
        found = [option for option in options if option.is_file()]
        if not found:
            raise UsageError(f"--prompts {prompts}: there is neither {options[0].name} nor {options[1].name}.")
        path = found[0]
    by_label = {c.label: c for c in classes}
    wanted: list[_Wanted] = []
    for target in read_prompts(path, image):
        if target.class_name is not None and target.class_name in by_label:
            wanted.append((by_label[target.class_name], target, ()))
            continue
        if target.class_name is not None and classes:
            raise UsageError(
                f"{path}: class '{target.class_name}' is unknown.{did_you_mean(target.class_name, by_label)} Known: "
                f"{', '.join(by_label)}. Leave class_name out to segment it as a free-standing target."
            )
        value = labels.setdefault(target.name, max([0, *labels.values()]) + 1)
        output = _OutputClass(dataset="", name=target.name, label=target.name, value=value)
        wanted.append((output, target, ()))
    return wanted


def _from_locators(mixture: Mixture, encoded: EncodedCase, classes: Sequence[_OutputClass]) -> list[_Wanted]:
    assert mixture.card is not None
    wanted: list[_Wanted] = []
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
                wanted.append((output, None, (warning,)))
                continue
            clicks = tuple(encoded.image.click_from_configuration(click, configuration) for click in seen.clicks)
            wanted.append((output, Target(name=name, class_name=name, clicks=clicks), ()))
    return wanted


def _predict_target(
    mixture: Mixture,
    encoded: EncodedCase,
    output: _OutputClass,
    target: Target | None,
    warnings: tuple[str, ...],
    best: Tensor,
    label_map: Tensor,
    from_file: bool,
) -> PredictedTarget:
    """Segments one target into the label map; `best` and `label_map` (x, y, z) are updated in place."""
    routing = Routing(confidences={}, chosen={})
    windows = 0
    chosen = "none"
    clicks: list[tuple[float, float, float]] = []
    if target is not None:
        named = target.class_name is not None and output.dataset != ""
        routing = mixture.route(
            encoded,
            target.clicks[:1],
            dataset=output.dataset if named else None,
            class_name=output.name if named else None,
        )
        own = mixture.expert_of(output.dataset, output.name) if named else None
        clicks = [_in_file_voxels(encoded.image, click.position) for click in target.clicks]
        if own is not None and not routing.chosen and not from_file:
            warnings = (*warnings, "the gate refused the locator's prompt, so the class is left out")
        else:
            configuration, nested = mixture.foundation.native, False
            if named:
                member = mixture.member(output.dataset)
                configuration, nested = member.configurations[output.name], member.nested
            # Clicks from a file are one interaction; the locator's are one target each.
            prompts = [target.clicks] if from_file else [(click,) for click in target.clicks]
            for prompt in prompts:
                answer = mixture.answer(encoded, prompt, routing, general_configuration=configuration)
                windows += len(answer.windows)
                box = answer.box
                wins = answer.logits > (torch.zeros(()) if nested else best[box])
                best[box] = torch.where(wins, answer.logits, best[box])
                label_map[box] = torch.where(wins, torch.tensor(output.value, dtype=torch.int16), label_map[box])
            chosen = routing.label
    return PredictedTarget(
        name=output.label,
        dataset=output.dataset or None,
        value=output.value,
        prompt="file" if from_file else "locator",
        clicks_voxel=tuple(clicks),
        chosen=chosen,
        confidences=routing.confidences or {GENERAL: 1.0},
        windows=windows,
        volume_ml=0.0,
        warnings=warnings,
    )


def _in_file_voxels(image: CaseImage, position: tuple[float, float, float]) -> tuple[float, float, float]:
    at = np.linalg.solve(image.channels[0].affine, image.affine @ np.array([*position, 1.0]))
    return float(at[0]), float(at[1]), float(at[2])


def _with_volume(result: PredictedTarget, label_map: Tensor, volume: Volume) -> PredictedTarget:
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    voxels = int((label_map == result.value).sum())
    warnings = result.warnings
    if result.chosen != "none" and voxels == 0:
        warnings = (*warnings, "the mask is empty, or other classes took all of it")
    return result.model_copy(update={"volume_ml": voxels * voxel_ml, "warnings": warnings})


def _write_dataset_json(folder: Path, predictions: Predictions, cases: Sequence[InputCase]) -> None:
    import json

    ending = file_ending(cases[0].files[0])
    content = {"labels": predictions.labels, "file_ending": ending, "description": RESEARCH_ONLY}
    write_text(folder / DATASET_JSON, json.dumps(content, indent=2) + "\n")
