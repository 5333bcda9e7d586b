"""Ways to show a case to the network: which are worth a try for a class, and what each could reach at best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean, median
from typing import TYPE_CHECKING

import numpy as np

from planning.case_labels import CaseLabels
from sammoe_pipeline.artefacts import ClassFingerprint, Configuration, DatasetFingerprint
from sammoe_pipeline.foundations import NATIVE
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.raw_dataset import RawCase

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFINEMENTS = (1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""By how much a candidate is finer than the foundation's own spacing."""
COARSENINGS = (1.5, 2, 3)
"""By how much a candidate is coarser, where something outgrows the foundation's own window."""
ENLARGEMENTS = (Fraction(3, 2), Fraction(2))
"""By how much a candidate's window has more voxels a side, where something outgrows the foundation's own."""
EXTENT_IN_VIEW = 1.25
"""Extents of a class that a window should hold: it is centred on a click, which may be anywhere in the class."""
THICKNESSES_IN_VIEW = 4
"""A window that shows so many thicknesses of a tube can follow it, however long it is."""
CELLS_TO_LOCATE = 2
"""A class of so many cells' thickness has a cell well inside it, whatever its place."""
CEILING_CASES = 6
_MARGIN_CELLS = 2
_SHARPENINGS = 3
_DIGITS = 4
_CELLS_A_TOKEN = 4


def propose_configurations(
    native: Configuration, fingerprint: DatasetFingerprint, cell_voxels: int
) -> dict[str, Configuration]:
    """Lists candidates for a dataset: native, then finer, coarser and larger ones, then the other channels.

    Finer spacings go on, beyond the image's own, until a cell of the decoder's mask grid is no larger than a voxel of
    the image: a magnified image shows nothing more, but thin things can only be drawn on a fine grid. Where a class
    outgrows the native window, coarser spacings follow, and windows of more voxels, until one would hold the largest.

    Args:
        native: the foundation's own configuration.
        fingerprint: of the dataset.
        cell_voxels: side of a cell of the decoder's mask, in voxels of the window.
    """
    image_mm = median(min(case.spacing_mm) for case in fingerprint.cases)
    candidates = [native]
    for refinement in REFINEMENTS:
        candidates.append(_at_spacing(native, native.spacing_mm / refinement))
        if candidates[-1].spacing_mm * cell_voxels <= image_mm * (1 + 1e-3):
            break
    largest_mm = max((_to_hold_mm(one) for one in fingerprint.classes.values() if one.cases), default=0.0)
    coarser = [_at_spacing(native, native.spacing_mm * factor) for factor in COARSENINGS]
    candidates += _until_held(native, coarser, largest_mm)
    stride = cell_voxels * _CELLS_A_TOKEN
    sizes = [int(native.patch_size * factor) // stride * stride for factor in ENLARGEMENTS]
    larger = [
        native.model_copy(update={"name": f"{NATIVE}_patch{size}", "patch_size": size})
        for size in sizes
        if size > native.patch_size
    ]
    candidates += _until_held(native, larger, largest_mm)
    candidates += [
        native.model_copy(update={"name": f"{NATIVE}_channel{channel}", "channel": channel})
        for channel in range(1, len(fingerprint.channels))
    ]
    return {candidate.name: candidate for candidate in candidates}


def _at_spacing(native: Configuration, spacing_mm: float) -> Configuration:
    spacing_mm = round(spacing_mm, _DIGITS)
    return native.model_copy(update={"name": f"{spacing_mm:g}mm", "spacing_mm": spacing_mm})


def _until_held(native: Configuration, candidates: Sequence[Configuration], needed_mm: float) -> list[Configuration]:
    """Returns the candidates up to the first whose window holds what is needed; none where the native one does."""
    windows_mm = [_window_mm(one) for one in (native, *candidates)]
    return [one for one, before_mm in zip(candidates, windows_mm, strict=False) if before_mm < needed_mm]


def _to_hold_mm(measured: ClassFingerprint) -> float:
    """Returns the window that holds all of a class, wherever in it the click is."""
    return EXTENT_IN_VIEW * max(measured.extent_mm)


def _window_mm(configuration: Configuration) -> float:
    return configuration.patch_size * configuration.spacing_mm


def fitting_configurations(
    candidates: Mapping[str, Configuration], measured: ClassFingerprint
) -> dict[str, Configuration]:
    """Keeps the candidates whose window suits a class; those at the native spacing and patch size always stay.

    Of what is long along one axis alone, window after window of a finer candidate shows a part; what is wide as well
    must fit across. Coarser and larger windows are for what outgrows the native one, none larger than holds it.
    """
    _, across_mm, along_mm = sorted(measured.extent_mm)
    to_follow_mm = max(EXTENT_IN_VIEW * across_mm, THICKNESSES_IN_VIEW * measured.thickness_mm)
    needed_mm = min(EXTENT_IN_VIEW * along_mm, to_follow_mm)
    native = candidates[NATIVE]
    fine = [one for one in candidates.values() if one.spacing_mm < native.spacing_mm and _window_mm(one) >= needed_mm]
    coarse = [one for one in candidates.values() if one.spacing_mm > native.spacing_mm]
    larger = [one for one in candidates.values() if one.patch_size > native.patch_size]
    plain = [
        one
        for one in candidates.values()
        if one.spacing_mm == native.spacing_mm and one.patch_size == native.patch_size
    ]
    held_mm = _to_hold_mm(measured)
    kept = [*plain, *fine, *_until_held(native, coarse, held_mm), *_until_held(native, larger, held_mm)]
    return {name: candidate for name, candidate in candidates.items() if candidate in kept}


def choose_locator_configuration(
    used: Mapping[str, Configuration], fingerprint: DatasetFingerprint, cell_voxels: int
) -> str:
    """Chooses where the locator looks: it sees most, in the fewest windows, where voxels are large.

    Args:
        used: the configurations that classes use.
        fingerprint: of the dataset.
        cell_voxels: side of a cell of the decoder's mask, in voxels of the window.

    Returns:
        The coarsest in whose grid half of the classes are at least `CELLS_TO_LOCATE` thick; the finest where none is.
        Of several at one spacing, that with the smallest window, and the first channel.
    """
    found = [measured.thickness_mm for measured in fingerprint.classes.values() if measured.cases]
    largest_mm = median(found) / CELLS_TO_LOCATE if found else math.inf
    fitting = [one for one in used.values() if one.spacing_mm * cell_voxels <= largest_mm]
    coarsest_first = sorted(
        fitting or used.values(),
        key=lambda one: (-one.spacing_mm if fitting else one.spacing_mm, one.patch_size, one.channel),
    )
    return coarsest_first[0].name


def cell_voxels_of(builder: str) -> int:
    """Returns the side of a cell of the mask that a network decodes, in voxels of the window, whatever its size.

    Args:
        builder: a name in `sammoe_pipeline.model.BUILDERS`.
    """
    import torch

    from sammoe_pipeline.model import build_sam_med3d

    with torch.device("meta"):
        model = build_sam_med3d(builder)
    return model.patch_size // model.mask_size


def mask_grid_ceiling(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], cell_mm: float) -> float:
    """Returns the Dice that is left when a mask is drawn on a grid of cells and interpolated back.

    Averaged down, a mask thinner than two cells would fade under interpolation, but a decoder learns to exaggerate its
    cells. So what interpolation lost is averaged down in turn and added, `_SHARPENINGS` times.

    Args:
        mask: (x, y, z), with some surroundings.
        spacing_mm: of the mask.
        cell_mm: side of a cell.
    """
    import torch
    import torch.nn.functional as F

    truth = torch.from_numpy(np.ascontiguousarray(mask))
    wanted = truth[None, None].float()
    size = [max(1, round(n * mm / cell_mm)) for n, mm in zip(mask.shape, spacing_mm, strict=True)]
    cells = F.interpolate(wanted, size=size, mode="area")
    for _ in range(_SHARPENINGS):
        lost = wanted - F.interpolate(cells, size=mask.shape, mode="trilinear", align_corners=False)
        cells = cells + F.interpolate(lost, size=size, mode="area")
    back = F.interpolate(cells, size=mask.shape, mode="trilinear", align_corners=False)[0, 0] > 0.5
    return 2 * int((back & truth).sum()) / max(1, int(back.sum()) + int(truth.sum()))


@dataclass(frozen=True)
class CeilingJob:
    """One case, and the classes and candidates to measure in it.

    Attributes:
        case: whose label map is read.
        labels: label values of each class.
        candidates: by class.
        cell_voxels: side of a cell of the decoder's mask, in voxels of the window.
    """

    case: RawCase
    labels: dict[str, tuple[int, ...]]
    candidates: dict[str, dict[str, Configuration]]
    cell_voxels: int


def measure_ceilings(jobs: Sequence[CeilingJob], *, workers: int) -> dict[str, dict[str, float]]:
    """Measures what each candidate could reach at best, from labels alone.

    Args:
        jobs: one a case.
        workers: processes.

    Returns:
        Mean Dice over the cases that have the class, by class and candidate.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for result in run_jobs(_ceilings_of_case, jobs, workers=workers, description="Ceilings"):
        for name, ceilings in result.items():
            for candidate, dice in ceilings.items():
                found.setdefault(name, {}).setdefault(candidate, []).append(dice)
    return {
        name: {candidate: round(mean(values), _DIGITS) for candidate, values in ceilings.items()}
        for name, ceilings in found.items()
    }


def _ceilings_of_case(job: CeilingJob) -> dict[str, dict[str, float]]:
    labels = CaseLabels.of(job.case)
    found: dict[str, dict[str, float]] = {}
    for name, candidates in job.candidates.items():
        for candidate in candidates.values():
            cell_mm = candidate.spacing_mm * job.cell_voxels
            margin = math.ceil(_MARGIN_CELLS * cell_mm / min(labels.spacing_mm))
            box = labels.boxes.around(job.labels[name], margin=margin)
            if box is not None:
                mask = labels.mask(job.labels[name], box)
                dice = mask_grid_ceiling(mask, labels.spacing_mm, cell_mm)
                found.setdefault(name, {})[candidate.name] = dice
    return found
