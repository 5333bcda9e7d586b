"""Overlap of a mask with its reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dice(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> float | None:
    """Returns the Dice coefficient of two masks, 2 |A and B| / (|A| + |B|).

    Args:
        prediction: of any shape.
        reference: of the same shape.
        valid: False where the truth is unknown; such voxels count on neither side.

    Returns:
        From 0 to 1; None where both masks are empty, since there is nothing to agree on; 0.0 where just one is.

    Example:
        >>> dice(np.array([True, True, False]), np.array([True, False, False]))
        0.6666666666666666
    """
    if valid is not None:
        prediction, reference = prediction & valid, reference & valid
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    if total == 0:
        return None
    return 2 * int(np.count_nonzero(prediction & reference)) / total
