"""Changes of appearance that leave shapes as they are.

Windows are equalised or z-scored afterwards, so brightness, contrast and gamma would change nothing: what remains are
noise, blur, shading, inversion, and new contrasts altogether. Each draws from the generator it is given, so that a view
depends on its seed alone.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def augment(image: Tensor, rng: np.random.Generator, *, strength: float = 1.0) -> Tensor:
    """Adds noise, blur and shading, and inverts now and then.

    Args:
        image: (x, y, z); NaN outside the case.
        rng: where chance comes from.
        strength: scales the probability of each change; 0 changes nothing.
    """
    known = image[~torch.isnan(image)]
    spread = float(known.std()) if known.numel() > 1 else 0.0
    if spread == 0.0:
        return image
    if rng.random() < 0.3 * strength:
        image = image + shading(tuple(image.shape), rng) * spread
    if rng.random() < 0.25 * strength:
        image = low_resolution(image, float(rng.uniform(1.2, 2.5)))
    if rng.random() < 0.5 * strength:
        image = image + noise(tuple(image.shape), rng) * float(rng.uniform(0, 0.15)) * spread
    if rng.random() < 0.05 * strength:
        image = -image
    return image


def recolour(image: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Gives every label a new random intensity and keeps a random share of the original texture.

    Shapes stay, contrasts become arbitrary (in the spirit of SynthSeg, Billot et al. 2023), so that a network trained
    on phantoms cannot rely on what their tissues look like.

    Args:
        image: (x, y, z); NaN outside the case.
        labels: (x, y, z) integers, negative outside the case.
        rng: where chance comes from.
    """
    values, index = torch.unique(labels, return_inverse=True)
    colours = torch.from_numpy(rng.uniform(0, 1, size=len(values)).astype(np.float32))
    texture = (image - image[~torch.isnan(image)].mean()) / image[~torch.isnan(image)].std().clamp(min=1e-6)
    share = float(rng.uniform(0, 0.12))
    grain = noise(tuple(image.shape), rng) * float(rng.uniform(0.01, 0.12))
    return low_resolution(colours[index] + share * texture.clamp(-3, 3) + grain, float(rng.uniform(1.0, 1.8)))


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Draws white noise of unit deviation."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def shading(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Draws a smooth field of about unit size, as coils and beams leave behind."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 3, 3, 3), dtype=np.float32)) * float(rng.uniform(0.2, 0.8))
    return F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0]


def low_resolution(image: Tensor, factor: float) -> Tensor:
    """Blurs by averaging down by `factor` and interpolating back; NaN stays where it was and does not spread."""
    unknown = torch.isnan(image)
    size = [max(2, round(n / factor)) for n in image.shape]
    filled = image.masked_fill(unknown, float(image[~unknown].mean()) if bool((~unknown).any()) else 0.0)
    small = F.interpolate(filled[None, None], size=size, mode="trilinear", align_corners=False)
    back = F.interpolate(small, size=tuple(image.shape), mode="trilinear", align_corners=False)[0, 0]
    return back.masked_fill(unknown, torch.nan)
