"""How the intensities of a window are brought to what the network knows, whatever the scanner's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_HISTOGRAM_BINS = 256
_HISTOGRAM_LIMIT = 2.0


def normalise_positive(window: Tensor) -> Tensor:
    """The published SAM-Med3D normalisation: z-score with mean and deviation of the voxels above 0, applied to all.

    Args:
        window: (x, y, z); NaN marks voxels outside the image, which count as 0 as in the published padding.
    """
    filled = window.nan_to_num(nan=0.0)
    positive = filled[filled > 0]
    if positive.numel() < 2:
        return filled
    return (filled - positive.mean()) / positive.std().clamp(min=1e-8)


def normalise_equalised(window: Tensor) -> Tensor:
    """Contrast-limited histogram equalisation of the window, then a z-score; outside the image 0.

    Soft tissue in CT and arbitrary MR intensities get comparable contrast without knowing the modality: each bin of the
    histogram between the 0.1 and 99.9 percentile counts at most `_HISTOGRAM_LIMIT` times the mean bin, and what is cut
    off is shared out evenly, so that a large flat background has its noise amplified little and what stands out from it
    keeps its distance (Pizer et al. 1987, applied to the whole window).

    Args:
        window: (x, y, z); NaN marks voxels outside the image.
    """
    import torch

    known = ~torch.isnan(window)
    values = window[known]
    if values.numel() < 2:
        return torch.zeros_like(window)
    some = values[:: max(1, values.numel() // 20_000)]
    low, high = (some.kthvalue(1 + int(share * (len(some) - 1))).values for share in (0.001, 0.999))
    if not high > low:
        return torch.zeros_like(window)
    position = ((window.nan_to_num(nan=0.0) - low) / (high - low)).clamp(0, 1) * (_HISTOGRAM_BINS - 1)
    counts = torch.bincount(position[known].long(), minlength=_HISTOGRAM_BINS).to(window.dtype)
    limited = counts.clamp(max=_HISTOGRAM_LIMIT * counts.mean())
    counts = limited + (counts - limited).mean()
    cumulative = torch.cat([counts.new_zeros(1), counts.cumsum(0)]) / counts.sum()
    index = position.long()
    mapped = cumulative[index] + (position - index) * (cumulative[index + 1] - cumulative[index])
    spread = mapped[known]
    return ((mapped - spread.mean()) / spread.std().clamp(min=1e-8)) * known


NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "positive": normalise_positive,
    "equalised": normalise_equalised,
}
"""By the name that a foundation's card gives."""
