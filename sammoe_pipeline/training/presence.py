"""From which peak of its map on a class counts as present, and how often the locator's click then hits it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.inference.locate import Sighting, probability_maps, sight
from sammoe_pipeline.model import SamMed3D
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.threads import side_by_side
from sammoe_pipeline.training.views import PreparedCase, whole_image

logger = logging.getLogger(__name__)

_SAFETY = 0.5


def calibrate(
    locator: Locator,
    planned: PlannedDataset,
    fold: int,
    configuration: Configuration,
    classes: Sequence[str],
    model: SamMed3D,
    foundation: Foundation,
) -> tuple[dict[str, float], dict[str, float]]:
    """Looks through the calibration cases of a fold.

    Args:
        locator: of the fold.
        planned: the dataset and its plan.
        fold: which fold.
        configuration: in which the locator looks.
        classes: in the order of its maps.
        model: at the configuration's patch size.
        foundation: whose normalisation is used.

    Returns:
        By class, the peak from which it counts as present; and, by class that a calibration case has, the share of
        these in which the locator's click falls into it.
    """
    from tqdm import tqdm

    peaks: dict[str, list[tuple[float, bool]]] = {name: [] for name in classes}
    hits: dict[str, list[bool]] = {name: [] for name in classes}

    def look_through(name: str) -> list[tuple[str, float, bool, bool]]:
        case = PreparedCase.of(planned.paths, configuration.name, name)
        encoded = EncodedImage(whole_image(case), model=model, normalisation=foundation.card.normalisation)
        maps = probability_maps(encoded, [locator])
        found = []
        for index, class_name in enumerate(classes):
            seen = sight(maps[index], cell=model.patch_size // model.mask_size, components=False)
            hit = _hits(seen, case, planned.description.labels[class_name])
            found.append((class_name, seen.peak, hit, case.properties.class_voxels[class_name] > 0))
        return found

    cases = planned.fold(fold).calibration
    bar = tqdm(side_by_side(look_through, cases), desc="Calibrating locator", total=len(cases), unit="case")
    for found in bar:
        for class_name, peak, hit, is_there in found:
            peaks[class_name].append((peak, hit))
            if is_there:
                hits[class_name].append(hit)
    unseen = [name for name, found in hits.items() if not found]
    if unseen:
        logger.warning("%s, fold %d: no calibration case has %s", planned.name, fold, ", ".join(unseen))
    logger.info(
        "Locator of %s, fold %d: of %d structures of calibration cases it clicks into %d",
        planned.name,
        fold,
        sum(map(len, hits.values())),
        sum(map(sum, hits.values())),
    )
    return (
        {name: presence_threshold(found) for name, found in peaks.items()},
        {name: float(np.mean(found)) for name, found in hits.items() if found},
    )


def _hits(seen: Sighting, case: PreparedCase, values: tuple[int, ...]) -> bool:
    if not seen.clicks:
        return False
    at = np.clip(np.round(seen.clicks[0].position).astype(int), 0, np.array(case.properties.shape) - 1)
    voxel = np.asarray(case.segmentation[tuple(slice(int(place), int(place) + 1) for place in at)])
    return bool(np.isin(voxel, values).any())


def presence_threshold(peaks: Sequence[tuple[float, bool]]) -> float:
    """Chooses from which peak on a class counts as present: it errs least often then on the cases that are given.

    A peak below it where the click would have hit the class is an error, and so is one above it elsewhere, be the class
    absent or missed. It lies in the geometric middle of the peaks that it parts, or at half the lowest where it parts
    none; of several such, the lowest is taken, since a user sees what is wrongly found and not what is missing. Where
    no click hits, it is 0.5: such a class counts only where the locator is sure.

    Args:
        peaks: of each case, its peak, and whether the click there lies in the class.
    """
    good, bad = ([peak for peak, hit in peaks if hit is wanted and peak > 0] for wanted in (True, False))
    if not good:
        return _SAFETY
    ordered = sorted({*good, *bad})
    candidates = [_SAFETY * ordered[0], *(math.sqrt(one * other) for one, other in pairwise(ordered))]
    errors = [sum(p < t for p in good) + sum(p >= t for p in bad) for t in candidates]
    return candidates[errors.index(min(errors))]
