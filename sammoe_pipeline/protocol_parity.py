"""The public inference protocol of SAM-Med3D with the public network and with ours, on the same weights.

Image at the native spacing along RAS+, a cube of it centred on the click, z-score over what is above 0, one click, one
decoding, logits interpolated to the cube, and what has a probability above 0.5. The public network is the one of the
package `medim` (`medim.models.sam_med3d`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.geometry import Shape
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.encoded_image import EncodedImage
from sammoe_pipeline.model import SamMed3D

UNDECIDED = {torch.float32: 1e-5, torch.float64: 0.0}
"""By precision: logits nearer to 0 than this may fall on either side of it."""
PUBLIC_BUILDER = "vit_b"
"""The builder whose network `medim` has too."""
INSTALL = "pip install medim==0.1.2 appdirs einops requests"


@dataclass(frozen=True)
class Agreement:
    """One click's masks by both networks, at one precision.

    Attributes:
        precision: of weights and computation.
        click: in voxels of the cube.
        ours: our mask (P, P, P).
        theirs: the public network's mask (P, P, P).
        differing: voxels in which the masks differ although the logit is not undecided.
        largest_difference: between logits.
    """

    precision: torch.dtype
    click: Click
    ours: Tensor
    theirs: Tensor
    differing: int
    largest_difference: float


def public_network(state: dict[str, Tensor]) -> nn.Module:
    """Builds the public network with the weights of a `vit_b`.

    Raises:
        UsageError: `medim` is not installed.
    """
    try:
        published = import_module("medim.models.sam_med3d")
    except ImportError as error:
        raise UsageError(f"--against_medim: the public network cannot be imported ({error}). {INSTALL}") from error
    with torch.device("meta"):
        network: nn.Module = published.build_sam3D_vit_b_ori()
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def compare(
    ours: SamMed3D, theirs: nn.Module, image: Tensor, clicks: Sequence[Click], *, normalisation: str
) -> Iterator[Agreement]:
    """Segments what each click points at with both networks, in float32 and in float64.

    Each network embeds one cube a precision, centred on the first click.

    Args:
        ours: our network; its weights are of another number type afterwards.
        theirs: the public one, with the same weights; likewise.
        image: (x, y, z) at the native spacing, not normalised.
        clicks: in whole voxels of the image, all within the cube around the first.
        normalisation: in `sammoe_pipeline.normalisation.NORMALISATIONS`.
    """
    for precision, undecided in UNDECIDED.items():
        encoded = EncodedImage(image.to(precision), model=ours.to(precision), normalisation=normalisation)
        start = encoded.window_around(clicks[0].position)
        public = _PublicImage(encoded.window(start), theirs.to(precision))
        for click in clicks:
            x, y, z = (position - first for position, first in zip(click.position, start, strict=True))
            local = Click(position=(x, y, z), positive=click.positive)
            with torch.inference_mode():
                mine = ours.upsample(encoded.logits(start, (local,), None))[0, 0]
                other = public.logits(local)
            masks = torch.sigmoid(mine) > 0.5, torch.sigmoid(other) > 0.5
            yield Agreement(
                precision=precision,
                click=local,
                ours=masks[0],
                theirs=masks[1],
                differing=int(((masks[0] != masks[1]) & (other.abs() >= undecided)).sum()),
                largest_difference=float((mine - other).abs().max()),
            )


class _PublicImage:
    """A normalised cube (P, P, P), embedded by the public network."""

    def __init__(self, window: Tensor, network: Any) -> None:
        self._network = network
        self._size = window.shape
        with torch.inference_mode():
            self._embedding = network.image_encoder(window[None, None])

    def logits(self, click: Click) -> Tensor:
        """Decodes one click, as the public scripts do at the first, from an all-zero mask: (P, P, P)."""
        prompts = self._network.prompt_encoder
        _keep_precision(prompts.pe_layer)
        embedding = self._embedding
        sparse, dense = prompts(
            points=(torch.tensor([[click.position]]), torch.tensor([[int(click.positive)]])),
            boxes=None,
            masks=embedding.new_zeros(1, 1, *(4 * side for side in embedding.shape[2:])),
        )
        logits, _ = self._network.mask_decoder(
            image_embeddings=embedding,
            image_pe=prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        return F.interpolate(logits, size=self._size, mode="trilinear", align_corners=False)[0, 0]


def _keep_precision(positions: Any) -> None:
    """Lets the public position embedding compute in the precision of its frequencies.

    It casts positions to float32, in which those of voxels and of cells are exact, and would refuse other frequencies.
    """
    encode = type(positions)._pe_encoding
    positions._pe_encoding = lambda at: encode(positions, at.to(positions.positional_encoding_gaussian_matrix))


def made_up_volume() -> Volume:
    """Returns an image of 192 mm a side, 1.5 mm voxels: two bright balls in noise, at the clicks of `usual_clicks`."""
    side, spacing_mm = 128, 1.5
    rng = np.random.default_rng(0)
    data = rng.normal(100, 20, (side,) * 3)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1)
    for click, radius in zip(usual_clicks((side, side, side), side), (14, 20), strict=True):
        data[np.linalg.norm(grid - np.array(click.position), axis=-1) < radius] += 150
    return Volume(data=data.astype(np.float32), affine=np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0]))


def usual_clicks(shape: Shape, patch_size: int) -> tuple[Click, Click]:
    """Returns a click in the middle of an image and one towards its far corner, within the cube around the first.

    Args:
        shape: of the image in voxels.
        patch_size: P, voxels a side of the cube.
    """
    x, y, z = (n // 2 for n in shape)
    far = [min(middle + patch_size // 5, n - 1) for middle, n in zip((x, y, z), shape, strict=True)]
    return Click(position=(float(x), float(y), float(z))), Click(position=(float(far[0]), float(far[1]), float(far[2])))
