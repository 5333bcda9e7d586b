"""How two masks agree: overlap, distance between their surfaces, and volume, in millimetres and never NaN.

The surface of a mask is its voxels with a face neighbour outside it; beyond the image's border counts as outside. The
distance of a surface voxel is that to the nearest surface voxel of the other mask, centre to centre. Definitions
differ: the library `surface-distance` puts surfaces at the corners between voxels, and weighs their elements by area,
where voxels here weigh the same. Its HD95 differs from this one by less than the diagonal of a voxel, and its surface
Dice lies between those found here at tolerances a diagonal smaller and larger, give or take some hundredths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sammoe_pipeline.artefacts import Record
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.label_boxes import box_around

Metric = Literal["dice", "iou", "surface_dice", "hd95_mm", "volume_error_ml"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Empty = Literal["neither", "reference", "prediction", "both"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_PERCENTILE = 95
_ROUNDING = 1e-5
"""Share by which a distance may exceed the tolerance: headers and distances are kept in single precision."""
_MM3_PER_ML = 1000


class MaskScores(Record):
    """How the mask of one class agrees with its reference in one case."""

    dice: Share | None
    """2 |A and B| / (|A| + |B|); None where both masks are empty, 0 where one is."""
    iou: Share | None
    """|A and B| / |A or B|; None where both masks are empty, 0 where one is."""
    surface_dice: Share | None
    """Share of both surfaces that lies within the tolerance of the other; None where both masks are empty, 0 where one
    is."""
    hd95_mm: float | None
    """95th percentile of the distances from one surface to the other, the larger of the two directions; None where both
    masks are empty, the image's diagonal where one is, since no distance in the image is worse."""
    volume_error_ml: float
    """Absolute difference of the volumes."""
    reference_ml: float
    """Volume of the reference."""
    prediction_ml: float
    """Volume of the prediction."""
    empty: Empty
    """Which of the masks has no voxel."""


BOTH_EMPTY = MaskScores(
    dice=None,
    iou=None,
    surface_dice=None,
    hd95_mm=None,
    volume_error_ml=0.0,
    reference_ml=0.0,
    prediction_ml=0.0,
    empty="both",
)
"""Scores of a class that is in neither mask."""


def score_masks(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    diagonal_mm: float,
    valid: NDArray[np.bool_] | None = None,
) -> MaskScores:
    """Scores a mask. Surfaces are found by MONAI's `get_mask_edges`, distances by its `get_surface_distance`.

    HD95 equals MONAI's `compute_hausdorff_distance(percentile=95)` and surface Dice its `compute_surface_dice`
    (Nikolov et al., 2021, with the voxels of the surface counted), from distances computed once, on the box around both
    masks.

    Args:
        prediction: (x, y, z).
        reference: of the same shape.
        spacing_mm: between neighbouring voxels along (x, y, z).
        tolerance_mm: distance up to which surfaces agree, inclusive.
        diagonal_mm: of the whole image, of which the masks may be a part (`diagonal`).
        valid: False where the truth is unknown; such voxels belong to neither mask.

    Example:
        >>> mask = np.ones((2, 2, 2), dtype=bool)
        >>> score_masks(mask, mask, spacing_mm=(1, 1, 5), tolerance_mm=1, diagonal_mm=9).prediction_ml
        0.04
    """
    if valid is not None:
        prediction, reference = prediction & valid, reference & valid
    box = box_around(prediction | reference)
    if box is None:
        return BOTH_EMPTY
    prediction, reference = prediction[box], reference[box]
    overlap = dice(prediction, reference)
    assert overlap is not None
    voxel_ml = math.prod(spacing_mm) / _MM3_PER_ML
    voxels = {"prediction": int(np.count_nonzero(prediction)), "reference": int(np.count_nonzero(reference))}
    empty: Empty = "neither"
    if not voxels["prediction"]:
        empty = "prediction"
    elif not voxels["reference"]:
        empty = "reference"
    if empty == "neither":
        surface_dice, hd95_mm = _surface_scores(prediction, reference, spacing_mm, tolerance_mm)
    else:
        surface_dice, hd95_mm = 0.0, diagonal_mm
    return MaskScores(
        dice=overlap,
        iou=overlap / (2 - overlap),
        surface_dice=surface_dice,
        hd95_mm=hd95_mm,
        volume_error_ml=abs(voxels["prediction"] - voxels["reference"]) * voxel_ml,
        reference_ml=voxels["reference"] * voxel_ml,
        prediction_ml=voxels["prediction"] * voxel_ml,
        empty=empty,
    )


def diagonal(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Returns the distance in mm between opposite corners of an image.

    >>> diagonal((3, 4, 10), (1.0, 1.0, 0.0))
    5.0
    """
    return math.hypot(*(voxels * spacing for voxels, spacing in zip(shape, spacing_mm, strict=True)))


def _surface_scores(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """Returns surface Dice and HD95 of two masks that both have voxels."""
    from monai.metrics import get_mask_edges, get_surface_distance

    # MONAI's own cropping copies both masks several times over.
    edges = get_mask_edges(prediction, reference, crop=False)
    there, back = (
        np.asarray(get_surface_distance(one, other, spacing=spacing_mm)) for one, other in (edges, edges[::-1])
    )
    near = tolerance_mm * (1 + _ROUNDING)
    within = np.count_nonzero(there <= near) + np.count_nonzero(back <= near)
    hd95 = max(np.percentile(there, _PERCENTILE), np.percentile(back, _PERCENTILE))
    return within / (there.size + back.size), float(hd95)
