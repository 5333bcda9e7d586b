"""The promptable network: one patch of an image and clicks in it to the mask of what was clicked on."""

from __future__ import annotations

from contextlib import nullcontext
from threading import Lock

import torch
from torch import Tensor, nn
from torch.nn import functional

from .decoder_stack import DecoderStack
from .detailed_encoder import DetailedImageEncoder
from .image_encoder import Block, ImageEncoder
from .mask_decoder import MaskDecoder, Seen
from .prompt_encoder import PromptEncoder

_ONE_AT_A_TIME = Lock()
"""A card computes what several threads ask of it one after another anyway, and so holds what one of them takes."""


class SamMed3D(nn.Module):
    """SAM-Med3D (Wang et al., arXiv 2310.15161).

    The parts carry the names of the published checkpoint, so its weights load strictly.

    Args:
        image_encoder: embeds a patch.
        prompt_encoder: embeds clicks and the previous mask, for the image encoder's embedding size and channels.
        mask_decoder: the general decoder.

    Example:
        >>> model = build_sam_med3d("tiny").eval()
        >>> embedding = model.encode(torch.zeros(1, 1, 48, 48, 48))
        >>> click, label = torch.tensor([[[24.0, 20.0, 30.0]]]), torch.tensor([[1]])
        >>> logits = model.decode(embedding, click, label)
        >>> mask = model.upsample(logits) > 0
    """

    def __init__(
        self,
        *,
        image_encoder: ImageEncoder | DetailedImageEncoder,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
    ) -> None:
        super().__init__()
        self.builder = ""
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def patch_size(self) -> int:
        """P, side of the patch in voxels."""
        return self.image_encoder.patch_size

    @property
    def embedding_size(self) -> int:
        """g, side of the image embedding in cells."""
        return self.image_encoder.embedding_size

    @property
    def embedding_channels(self) -> int:
        """Channels of the image embedding: those of the context, then of packed detail and voxels, if it has them."""
        return self.image_encoder.embedding_channels

    @property
    def context_channels(self) -> int:
        """C, channels of the embedding that the decoder's transformer reads."""
        return self.mask_decoder.channels

    @property
    def detail_channels(self) -> int:
        """D, channels of each mask cell's detail in the embedding; 0 for a network without."""
        return self.mask_decoder.detail_channels

    @property
    def mask_size(self) -> int:
        """m = 4 g, side of the decoder's mask in cells."""
        return self.prompt_encoder.mask_size

    def encode_in(self, precision: torch.dtype) -> None:
        """Lets the blocks of the image encoder compute in less than float32 from now on.

        They are nearly all of the work. What is before and after them, where rounding would show in the mask's border,
        stays in float32, and so do prompts and decoders.

        Args:
            precision: `torch.bfloat16`, or `torch.float16` on a card.
        """
        for module in self.image_encoder.modules():
            if isinstance(module, Block):
                module.compute_in(precision)

    def encode(self, image: Tensor) -> Tensor:
        """Embeds a patch.

        Args:
            image: (B, 1, P, P, P), normalised, axes x, y, z.

        Returns:
            (B, `embedding_channels`, g, g, g).

        Raises:
            ValueError: the image has another shape.
        """
        expected = (1, self.patch_size, self.patch_size, self.patch_size)
        if image.shape[1:] != expected:
            raise ValueError(f"image has shape {tuple(image.shape)}; expected (batch, {', '.join(map(str, expected))})")
        with _ONE_AT_A_TIME if image.is_cuda else nullcontext():
            embedding: Tensor = self.image_encoder(image)
        return embedding

    def see(self, embedding: Tensor, mask_decoder: MaskDecoder | None = None) -> Seen:
        """Reads an embedding as a decoder does before anything is asked: once a window, whatever the number of prompts.

        Args:
            embedding: (B, `embedding_channels`, g, g, g).
            mask_decoder: an expert's; None for the general one.

        Returns:
            What `decode` takes in place of the embedding, with the same decoder.
        """
        return (self.mask_decoder if mask_decoder is None else mask_decoder).see(embedding)

    def decode(
        self,
        embedding: Tensor | Seen,
        points: Tensor,
        labels: Tensor,
        previous_logits: Tensor | None = None,
        *,
        mask_decoder: MaskDecoder | DecoderStack | None = None,
    ) -> Tensor:
        """Predicts the mask of what the clicks point at.

        Args:
            embedding: (B, `embedding_channels`, g, g, g), or (1, ...) for B prompts on one image; or what the decoder
                saw in it, which saves looking again.
            points: (B, N, 3), voxel indices x, y, z within the patch; index 0 is the centre of the first voxel.
            labels: (B, N), 1 positive, 0 negative, -1 padding, which is no click.
            previous_logits: (B, 1, m, m, m), what the last decoding returned; None at the first, which is an all-zero
                mask.
            mask_decoder: an expert's decoder, to use in place of the general one; or several, one for each prompt.

        Returns:
            Logits (B, 1, m, m, m).
        """
        sparse, dense = self.prompt_encoder(points, labels, previous_logits)
        decoder = self.mask_decoder if mask_decoder is None else mask_decoder
        clicks = (points + 0.5) / self.patch_size
        position = self.prompt_encoder.dense_position_embedding()
        if isinstance(decoder, DecoderStack):
            assert isinstance(embedding, Tensor)  # Each of several decoders sees for itself.
            return decoder(embedding, position, sparse, dense, clicks=clicks, labels=labels)
        logits: Tensor = decoder(embedding, position, sparse, dense, clicks=clicks, labels=labels)
        return logits

    def upsample(self, logits: Tensor) -> Tensor:
        """Interpolates logits trilinearly onto the patch: (B, 1, m, m, m) -> (B, 1, P, P, P)."""
        return functional.interpolate(logits, size=(self.patch_size,) * 3, mode="trilinear", align_corners=False)
