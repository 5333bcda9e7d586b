"""A folder of images to label maps."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch.cuda import OutOfMemoryError

from sammoe_pipeline.artefacts import provenance, sha256_of
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import SammoeError, UsageError
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.canvas import Canvas
from sammoe_pipeline.inference.case_files import case_files, remove_files
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.earlier_predictions import EarlierPredictions
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.input_cases import InputCase, find_cases, part_of
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass, output_classes
from sammoe_pipeline.inference.predictions import (
    RESEARCH_ONLY,
    PredictedCase,
    PredictedTarget,
    Predictions,
    PredictionSettings,
)
from sammoe_pipeline.inference.prompts import named_targets, prompt_file
from sammoe_pipeline.inference.routing import GENERAL, Routing
from sammoe_pipeline.inference.wanted import PromptSource, Wanted, mask_labels, wanted_in
from sammoe_pipeline.paths import DATASET_JSON, predictions_json

logger = logging.getLogger(__name__)

LOCATORS = PromptSource()


def predict_folder(
    mixture: Mixture,
    *,
    source: Path,
    target: Path,
    dataset: str | None,
    prompts: PromptSource = LOCATORS,
    device: str,
    save_probabilities: bool = False,
    one_file_per_class: bool = False,
    resume: bool = False,
    num_parts: int = 1,
    part_id: int = 0,
) -> Predictions:
    """Segments every image of a folder; one that fails is reported and the others go on.

    Args:
        mixture: what answers.
        source: a folder of images, one image, or a folder with a DICOM series.
        target: folder for label maps, `dataset.json` and the record of the prediction, which is kept after each case.
        dataset: whose classes and values to use; None uses all of the mixture's.
        prompts: what says where to look.
        device: on which it runs, for the record.
        save_probabilities: write a probability map for each class that is answered.
        one_file_per_class: write a mask for each class that is answered.
        resume: leave out cases that are finished in `target`.
        num_parts: among how many processes the cases are shared out.
        part_id: which of the parts this is, from 0 on.

    Raises:
        UsageError: nothing to predict, neither prompts nor a locator, `target` is where the images are or holds label
            maps that were made in another way, or there is no such part.
        ArtefactError: a record in `target` is broken.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    everything = find_cases(source)
    if target.resolve() in {path.resolve() for path in (source, source.parent if source.is_file() else source)}:
        raise UsageError(
            f"-o {target}: it is the folder of the images, whose files would be overwritten. Give another one."
        )
    cases = part_of(everything, num_parts=num_parts, part_id=part_id)
    classes = output_classes(mixture, dataset)
    located = [c for c in classes if mixture.locators.get(c.dataset)]
    if prompts.kind == "locator" and not located:
        raise UsageError(
            "There is nothing that could say where to look: the mixture has no locator. Give clicks with --prompts, or "
            "train a dataset with sammoe_train_expert and join it with sammoe_train_gate."
        )
    if prompts.kind == "mask":
        _require_common_classes(prompts, classes)
    if mixture.foundation.card.for_research_only:
        logger.warning(
            "Foundation '%s' is meant for learning and tests, not for real scans", mixture.foundation.card.name
        )
    if any(case.is_dicom for case in cases):
        logger.info("Label maps of DICOM series are written as .nii.gz, on the grid of the series")
    settings = PredictionSettings(
        foundation_sha256=mixture.foundation.card.sha256,
        mixture_sha256=_sha256_of_card(mixture),
        folds=mixture.folds,
        dataset=dataset,
        prompt=prompts.kind,
        instances=prompts.instances,
        precision=mixture.encoder.precision,
        save_probabilities=save_probabilities,
        one_file_per_class=one_file_per_class,
    )
    record = target / predictions_json(num_parts, part_id)
    replaced = None if resume else record
    earlier = EarlierPredictions.read(target, replaced=replaced)
    earlier.require_same(settings, replaced=replaced)
    labels = {c.label: c.value for c in classes}
    results: dict[str, PredictedCase] = {}
    if resume:
        results = earlier.finished({case.name: _sha256_of_prompts(prompts, case) for case in cases})
        labels = {name: value for name, value in earlier.labels().items() if value} or labels
        logger.info("%d of %d cases are finished already", len(results), len(cases))
    _name_free_targets(labels, prompts, everything, classes)
    request = _Request(mixture, target, tuple(classes), labels, prompts, save_probabilities, one_file_per_class)

    def save() -> Predictions:
        predictions = Predictions(
            foundation=mixture.foundation.card.name,
            foundation_sha256=mixture.foundation.card.sha256,
            mixture=mixture.card.name if mixture.card else None,
            settings=settings,
            labels={"background": 0, **labels},
            not_attempted=tuple(c.label for c in classes if c not in located) if prompts.kind == "locator" else (),
            cases=tuple(results[case.name] for case in cases if case.name in results),
            provenance=provenance(seed=0, device=device, threads=torch.get_num_threads()),
        )
        predictions.save(record)
        return predictions

    predictions = save()
    old_files = earlier.files(case.name for case in cases)
    content = {"labels": predictions.labels, "file_ending": everything[0].ending, "description": RESEARCH_ONLY}
    write_text(target / DATASET_JSON, json.dumps(content, indent=2) + "\n")
    waiting = [case for case in cases if case.name not in results]
    with logging_redirect_tqdm():
        for case in tqdm(waiting, desc="Predicting", unit="case"):
            remove_files(target, old_files[case.name])
            results[case.name] = _attempt(request, case)
            predictions = save()
    return predictions


def _sha256_of_card(mixture: Mixture) -> str | None:
    return hashlib.sha256(mixture.card.model_dump_json().encode()).hexdigest() if mixture.card else None


def _require_common_classes(prompts: PromptSource, classes: Sequence[OutputClass]) -> None:
    assert prompts.path is not None
    of_masks, ours = set(mask_labels(prompts.path)), {c.label for c in classes}
    if not of_masks & ours:
        raise UsageError(
            f"--prompts_from_masks {prompts.path}: it names {', '.join(sorted(of_masks)) or 'no class'}, and the "
            f"mixture {', '.join(sorted(ours)) or 'no class'}. Give its classes the mixture's names "
            f"in {prompts.path / DATASET_JSON}."
        )
    if left_out := sorted(of_masks - ours):
        logger.warning("The mixture does not know %s: left out", ", ".join(left_out))


def _sha256_of_prompts(prompts: PromptSource, case: InputCase) -> str | None:
    """Returns what tells a case's prompts from others; None where it has none."""
    try:
        path = prompts.file_of(case.name)
        return None if path is None else sha256_of(path)
    except (SammoeError, OSError):
        return None


def _name_free_targets(
    labels: dict[str, int], prompts: PromptSource, cases: Sequence[InputCase], classes: Sequence[OutputClass]
) -> None:
    """Gives a value to each target that stands for itself, of all cases: parts of a prediction must agree on them."""
    if prompts.kind != "file" or prompts.path is None:
        return
    seen: set[Path] = set()
    for case in cases:
        try:
            path = prompt_file(prompts.path, case.name)
            targets = [] if path in seen else named_targets(path)
        except SammoeError:
            continue  # The case will say so itself.
        seen.add(path)
        for name, class_name in targets:
            if class_name is None or not classes:
                labels.setdefault(name, max([0, *labels.values()]) + 1)


@dataclass(frozen=True)
class _Request:
    """What is asked of every case.

    Attributes:
        mixture: what answers.
        folder: for label maps.
        classes: that may be given out, in the order in which they are written.
        labels: values by name, of classes and of targets that stand for themselves.
        prompts: what says where to look.
        save_probabilities: write a probability map a class.
        one_file_per_class: write a mask a class.
    """

    mixture: Mixture
    folder: Path
    classes: tuple[OutputClass, ...]
    labels: dict[str, int]
    prompts: PromptSource
    save_probabilities: bool
    one_file_per_class: bool


def _attempt(request: _Request, case: InputCase) -> PredictedCase:
    """Segments one image; what goes wrong is said at once, and is in the result."""
    began = time.monotonic()
    sha256 = _sha256_of_prompts(request.prompts, case)
    try:
        targets, files, device = _predict_where_it_fits(request, case)
        return PredictedCase(
            case=case.name,
            seconds=time.monotonic() - began,
            device=device,
            prompts_sha256=sha256,
            files=files,
            targets=targets,
        )
    except (SammoeError, OSError, MemoryError) as error:
        reason = str(error) if isinstance(error, SammoeError) else f"{type(error).__name__}: {error}"
        logger.error("%s failed: %s", case.name, reason)
    except Exception as error:
        # Hours of other cases are not to be lost for a fault that only one of them meets.
        reason = f"{type(error).__name__}: {error}. This is a fault of the program; please report it."
        logger.exception("%s failed: %s", case.name, reason)
    return PredictedCase(
        case=case.name, seconds=time.monotonic() - began, prompts_sha256=sha256, targets=(), error=reason
    )


def _predict_where_it_fits(
    request: _Request, case: InputCase
) -> tuple[tuple[PredictedTarget, ...], tuple[str, ...], str]:
    """Segments one image, on the processor where the card's memory does not do; the third result says on which."""
    mixture = request.mixture
    device = mixture.device
    try:
        return (*_predict_case(request, case), device.type)
    except OutOfMemoryError as error:
        shortage = f"the card's memory ran out ({str(error).splitlines()[0]})"
    # Outside of the handler: its exception keeps the tensors of the case.
    try:
        mixture.encoder.require("cpu")
    except UsageError as error:
        raise UsageError(f"{shortage}, and the processor cannot take over: {error}") from error
    logger.warning("%s: %s. The case is repeated on the processor, which takes longer", case.name, shortage)
    mixture.to("cpu")
    torch.cuda.empty_cache()
    try:
        return (*_predict_case(request, case), "cpu")
    finally:
        mixture.to(device)


def _predict_case(request: _Request, case: InputCase) -> tuple[tuple[PredictedTarget, ...], tuple[str, ...]]:
    """Returns what became of each target, and the files that were written."""
    volumes = case.read()
    image = CaseImage(volumes)
    encoded = request.mixture.encode(image)
    wanted = wanted_in(
        request.prompts,
        case.name,
        encoded,
        mixture=request.mixture,
        classes=request.classes,
        values=request.labels,
    )
    # Classes compete voxel by voxel; nested regions are written one over another.
    canvas = Canvas(image, keep_instances=request.prompts.instances)
    order = {c.label: index for index, c in enumerate(request.classes)}
    wanted.sort(key=lambda one: (order.get(one.output.label, len(order)), one.output.value))
    results = []
    with case_files(case, image, request.labels, request.folder) as files:
        for output, of_class in groupby(wanted, key=lambda one: one.output):
            canvas.begin(keep_logits=request.save_probabilities or request.one_file_per_class)
            results += [_predict_target(request, encoded, one, canvas) for one in of_class]
            # Class by class, so that memory holds the logits of one.
            if canvas.own is not None and canvas.answered:
                if request.one_file_per_class:
                    files.write_mask(output.label, canvas.own)
                if request.save_probabilities:
                    files.write_probability(output.label, canvas.own)
        if canvas.instances is not None:
            files.write_instances(canvas.instances)
        files.write_label_map(canvas.labels)
    return tuple(_with_volume(result, canvas, volumes[0]) for result in results), files.written


def _predict_target(request: _Request, encoded: EncodedCase, wanted: Wanted, canvas: Canvas) -> PredictedTarget:
    """Segments one target onto the canvas."""
    mixture, output = request.mixture, wanted.output
    routing = Routing(confidences={}, chosen={})
    windows, chosen, warnings = 0, "none", wanted.warnings
    first = canvas.count + 1
    if wanted.interactions:
        routing = output.route(mixture, encoded, wanted.interactions[0])
        own = mixture.expert_of(output.dataset, output.name)
        if own is not None and not routing.chosen and request.prompts.kind == "locator":
            warnings = (*warnings, "the gate refused the locator's prompt, so the class is left out")
        else:
            for clicks in wanted.interactions:
                answer = output.answer(mixture, encoded, clicks, routing)
                windows += len(answer.windows)
                canvas.add(answer.logits, answer.box, output.value, over_others=output.is_nested(mixture))
            chosen = routing.label
    return PredictedTarget(
        name=output.label,
        dataset=output.dataset or None,
        value=output.value,
        prompt=request.prompts.kind,
        clicks_voxel=tuple(_in_file_voxels(encoded.image, click.position) for click in wanted.clicks),
        chosen=chosen,
        confidences=routing.confidences or {GENERAL: 1.0},
        windows=windows,
        volume_ml=0.0,
        instances_ml=dict.fromkeys(map(str, range(first, canvas.count + 1)), 0.0) if request.prompts.instances else {},
        warnings=warnings,
    )


def _in_file_voxels(image: CaseImage, position: tuple[float, float, float]) -> tuple[float, float, float]:
    at = np.linalg.solve(image.channels[0].affine, image.affine @ np.array([*position, 1.0]))
    return float(at[0]), float(at[1]), float(at[2])


def _with_volume(result: PredictedTarget, canvas: Canvas, volume: Volume) -> PredictedTarget:
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    voxels = int((canvas.labels == result.value).sum())
    warnings = result.warnings
    if result.chosen != "none" and voxels == 0:
        warnings = (*warnings, "the mask is empty, or other classes took all of it")
    instances = {}
    if canvas.instances is not None:
        for number in result.instances_ml:
            instances[number] = int((canvas.instances == int(number)).sum()) * voxel_ml
    return result.model_copy(update={"volume_ml": voxels * voxel_ml, "instances_ml": instances, "warnings": warnings})
