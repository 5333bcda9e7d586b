"""A folder of images to label maps."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from sammoe_pipeline.artefacts import provenance
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import SammoeError, UsageError
from sammoe_pipeline.inference.case_pipeline import predict_cases
from sammoe_pipeline.inference.earlier_predictions import EarlierPredictions
from sammoe_pipeline.inference.input_cases import InputCase, find_cases, part_of
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass, output_classes
from sammoe_pipeline.inference.predict_case import Request
from sammoe_pipeline.inference.predictions import (
    RESEARCH_ONLY,
    PredictedCase,
    Predictions,
    PredictionSettings,
)
from sammoe_pipeline.inference.prompt_files import prompt_file
from sammoe_pipeline.inference.prompts import named_targets
from sammoe_pipeline.inference.wanted import PromptSource, mask_labels
from sammoe_pipeline.paths import DATASET_JSON, all_predictions_json, predictions_json

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

    Returns:
        What became of these cases; the record in `target` may name more.

    Raises:
        UsageError: nothing to predict, neither prompts nor a locator, `target` is where the images are, holds files
            that no prediction has written or label maps that were made in another way, or there is no such part.
        ArtefactError: a record in `target` is broken.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    everything = find_cases(source)
    _require_own_folder(target, source, prompts, everything)
    cases = part_of(everything, num_parts=num_parts, part_id=part_id)
    classes = output_classes(mixture, dataset)
    located = [c for c in classes if mixture.locators.get(c.dataset)]
    if prompts.kind == "locator":
        _require_locator(located)
    if prompts.kind == "mask":
        _require_common_classes(prompts, classes)
    if mixture.foundation.card.for_research_only:
        logger.warning(
            "Foundation '%s' is meant for learning and tests, not for real scans", mixture.foundation.card.name
        )
    if any(case.is_dicom for case in cases):
        logger.info("Label maps of DICOM series are written as .nii.gz, on the grid of the series")
    settings = _settings(mixture, dataset, prompts, save_probabilities, one_file_per_class)
    record = target / predictions_json(num_parts, part_id)
    names = [case.name for case in cases]
    earlier = EarlierPredictions.read(target, replaced=None if resume else record)
    # What the record says of other cases stays true, so that it is replaced as a whole only where there are none.
    kept = earlier.others(record, names)
    replaced = None if resume or kept else record
    earlier.require_same(settings, replaced=replaced)
    labels = earlier.labels(replaced=replaced) or {c.label: c.value for c in classes}
    results: dict[str, PredictedCase] = {}
    if resume:
        results = earlier.finished({name: prompts.sha256(name) for name in names})
        logger.info("%d of %d cases are finished already", len(results), len(cases))
    _name_free_targets(labels, prompts, everything, classes)
    request = Request(mixture, target, tuple(classes), labels, prompts, save_probabilities, one_file_per_class)

    def save() -> Predictions:
        predictions = Predictions(
            foundation=mixture.foundation.card.name,
            foundation_sha256=mixture.foundation.card.sha256,
            mixture=mixture.card.name if mixture.card else None,
            settings=settings,
            labels={"background": 0, **labels},
            not_attempted=tuple(c.label for c in classes if c not in located) if prompts.kind == "locator" else (),
            cases=tuple(results[name] for name in names if name in results),
            provenance=provenance(seed=0, device=device, threads=torch.get_num_threads()),
        )
        predictions.model_copy(update={"cases": (*kept, *predictions.cases)}).save(record)
        return predictions

    predictions = save()
    earlier.forget(names, but=record)
    old_files = earlier.files(names)
    content = {"labels": predictions.labels, "file_ending": everything[0].ending, "description": RESEARCH_ONLY}
    write_text(target / DATASET_JSON, json.dumps(content, indent=2) + "\n")
    waiting = [case for case in cases if case.name not in results]
    with logging_redirect_tqdm(), tqdm(total=len(waiting), desc="Predicting", unit="case") as progress:

        def done(predicted: PredictedCase) -> None:
            results[predicted.case] = predicted
            save()
            progress.update()

        predict_cases(request, waiting, old_files, done)
    return save()


def _sha256_of_card(mixture: Mixture) -> str | None:
    return hashlib.sha256(mixture.card.model_dump_json().encode()).hexdigest() if mixture.card else None


def _settings(
    mixture: Mixture, dataset: str | None, prompts: PromptSource, save_probabilities: bool, one_file_per_class: bool
) -> PredictionSettings:
    """Returns all that label maps of one folder have in common."""
    return PredictionSettings(
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


def _require_own_folder(target: Path, source: Path, prompts: PromptSource, cases: Sequence[InputCase]) -> None:
    """Refuses to write where files lie that no prediction has written."""
    theirs = {
        "the folder of the images": source.parent if source.is_file() else source,
        "the folder of the masks that prompt": prompts.path if prompts.kind == "mask" else None,
    }
    for what, folder in theirs.items():
        if folder is not None and target.resolve() == folder.resolve():
            raise UsageError(f"-o {target}: it is {what}, whose files would be overwritten. Give another one.")
    ours = (DATASET_JSON, *(f"{case.name}{case.ending}" for case in cases))
    found = next((name for name in ours if (target / name).exists()), None)
    if found is not None and not all_predictions_json(target):
        raise UsageError(
            f"-o {target}: {found} would be overwritten, and no record there says that a prediction has written it. "
            f"Give another folder, or empty this one."
        )


def _require_locator(located: Sequence[OutputClass]) -> None:
    if not located:
        raise UsageError(
            "There is nothing that could say where to look: the mixture has no locator. Give clicks with --prompts, or "
            "train a dataset with sammoe_train_expert and join it with sammoe_train_gate."
        )


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
