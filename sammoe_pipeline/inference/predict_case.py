"""One image to its label map: segmented target by target, then written."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.agreement import REVIEW, agreements
from sammoe_pipeline.inference.canvas import Canvas
from sammoe_pipeline.inference.case_files import CaseFiles, case_files
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.input_cases import InputCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.output_classes import OutputClass
from sammoe_pipeline.inference.predictions import PredictedTarget
from sammoe_pipeline.inference.routing import GENERAL, Routing
from sammoe_pipeline.inference.wanted import PromptSource, Wanted, wanted_in


@dataclass(frozen=True)
class Request:
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


@dataclass(frozen=True)
class SegmentedCase:
    """A case whose label map is not written yet.

    Attributes:
        targets: what became of each, without volumes.
        labels: (x, y, z) values, canonical axes.
        instances: (x, y, z) or None; see `Canvas`.
        voxel_ml: volume of a voxel.
        files: where its files are gathered; those of classes are there already.
        unfinished: puts the files in place when it is closed, or removes them when it is closed by an exception.
    """

    targets: tuple[PredictedTarget, ...]
    labels: Tensor
    instances: Tensor | None
    voxel_ml: float
    files: CaseFiles
    unfinished: ExitStack

    def write(self) -> tuple[tuple[PredictedTarget, ...], tuple[str, ...]]:
        """Writes the label map and puts all files in place.

        Returns:
            What became of each target, and the names of the files that were written.
        """
        with self.unfinished:
            if self.instances is not None:
                self.files.write_instances(self.instances)
            self.files.write_label_map(self.labels)
            voxels = _voxels_by_value(self.labels)
            each = {} if self.instances is None else _voxels_by_value(self.instances)
            targets = tuple(self._with_volumes(target, voxels, each) for target in self.targets)
        return targets, self.files.written

    def _with_volumes(self, target: PredictedTarget, voxels: dict[int, int], each: dict[int, int]) -> PredictedTarget:
        count = voxels.get(target.value, 0)
        warnings = target.warnings
        if target.chosen != "none" and count == 0:
            warnings = (*warnings, "the mask is empty, or other classes took all of it")
        instances = {number: each.get(int(number), 0) * self.voxel_ml for number in target.instances_ml}
        return target.model_copy(
            update={"volume_ml": count * self.voxel_ml, "instances_ml": instances, "warnings": warnings}
        )


def segment_case(request: Request, case: InputCase, volumes: list[Volume], *, sparing: bool) -> SegmentedCase:
    """Segments all that is wanted in a case.

    Args:
        request: what is asked.
        case: which it is.
        volumes: its channels.
        sparing: keep little in the memory of the device.

    Raises:
        SammoeError: the case has no usable prompts, or a channel is missing.
    """
    image = CaseImage(volumes)
    encoded = request.mixture.encode(image, sparing=sparing)
    wanted = wanted_in(
        request.prompts, case.name, encoded, mixture=request.mixture, classes=request.classes, values=request.labels
    )
    # Classes compete voxel by voxel; nested regions are written one over another.
    canvas = Canvas(image, keep_instances=request.prompts.instances)
    order = {c.label: index for index, c in enumerate(request.classes)}
    wanted.sort(key=lambda one: (order.get(one.output.label, len(order)), one.output.value))
    results = []
    with ExitStack() as unfinished:
        files = unfinished.enter_context(case_files(case, image, request.labels, request.folder))
        for output, of_class in groupby(wanted, key=lambda one: one.output):
            canvas.begin(keep_logits=request.save_probabilities or request.one_file_per_class)
            results += [_segment_target(request, encoded, one, canvas) for one in of_class]
            # Class by class, so that memory holds the logits of one.
            if canvas.own is not None and canvas.answered:
                if request.one_file_per_class:
                    files.write_mask(output.label, canvas.own)
                if request.save_probabilities:
                    files.write_probability(output.label, canvas.own)
        return SegmentedCase(
            targets=tuple(results),
            labels=canvas.labels,
            instances=canvas.instances,
            voxel_ml=float(np.prod(volumes[0].spacing_mm)) / 1000,
            files=files,
            unfinished=unfinished.pop_all(),
        )


def _segment_target(request: Request, encoded: EncodedCase, wanted: Wanted, canvas: Canvas) -> PredictedTarget:
    """Segments one target onto the canvas."""
    mixture, output = request.mixture, wanted.output
    routing = Routing(confidences={}, chosen={})
    windows, chosen, spacing_mm, warnings = 0, "none", None, wanted.warnings
    agreeing: list[dict[str, float]] = []
    first = canvas.count + 1
    if wanted.interactions:
        routing = output.route(mixture, encoded, wanted.interactions[0])
        own = mixture.expert_of(output.dataset, output.name)
        if own is not None and not routing.chosen and request.prompts.kind == "locator":
            warnings = (*warnings, "the gate refused the locator's prompt, so the class is left out")
        else:
            chosen = routing.label
            for prompt in wanted.interactions:
                answer = output.answer(mixture, encoded, prompt, routing)
                windows += len(answer.windows)
                canvas.add(answer.logits, answer.box, output.value, over_others=output.is_nested(mixture))
                configuration, decoders = output.answered_by(mixture, encoded, prompt, routing)
                spacing_mm = configuration.spacing_mm
                agreeing.append(agreements(encoded, prompt.clicks, configuration, decoders))
    agreement = {name: min(one[name] for one in agreeing) for name in (agreeing[0] if agreeing else {})}
    review = bool(agreement) and float(np.mean(list(agreement.values()))) < REVIEW
    return PredictedTarget(
        name=output.label,
        dataset=output.dataset or None,
        value=output.value,
        prompt=request.prompts.kind,
        clicks_voxel=tuple(_in_file_voxels(encoded.image, click.position) for click in wanted.clicks),
        chosen=chosen,
        confidences=routing.confidences or {GENERAL: 1.0},
        spacing_mm=spacing_mm,
        windows=windows,
        volume_ml=0.0,
        instances_ml=dict.fromkeys(map(str, range(first, canvas.count + 1)), 0.0) if request.prompts.instances else {},
        agreement={name: round(value, 4) for name, value in agreement.items()},
        review=review,
        warnings=warnings,
    )


def _in_file_voxels(image: CaseImage, position: tuple[float, float, float]) -> tuple[float, float, float]:
    at = np.linalg.solve(image.channels[0].affine, image.affine @ np.array([*position, 1.0]))
    return float(at[0]), float(at[1]), float(at[2])


def _voxels_by_value(labels: Tensor) -> dict[int, int]:
    """Counts the voxels of each value, slab by slab: counting makes a copy of what it counts."""
    counts: NDArray[np.int64] = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    for slab in labels.numpy():
        counts += np.bincount(slab.ravel(), minlength=len(counts))
    return dict(enumerate(counts.tolist()))
