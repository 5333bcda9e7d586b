"""How the image encoder computes: in which precision, and translated or not. Exact and untranslated by default."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sammoe_pipeline.errors import UsageError

if TYPE_CHECKING:
    from sammoe_pipeline.model import SamMed3D

PRECISIONS = ("float32", "bfloat16", "float16")
_COMPILERS = ("g++", "clang++", "c++", "cl")


@dataclass(frozen=True)
class EncoderOptions:
    """What changes the encoder's speed, and nothing else but rounding.

    Attributes:
        precision: one of `PRECISIONS`.
        compiled: translate the encoder with `torch.compile` when it first runs.
    """

    precision: str = "float32"
    compiled: bool = False

    def require(self, device: str) -> None:
        """Refuses what a device cannot do.

        Args:
            device: "cuda" or "cpu".

        Raises:
            UsageError: float16 on a processor, bfloat16 on a card without it, or nothing there that could translate.
        """
        import torch

        if self.precision == "float16" and device == "cpu":
            raise UsageError("--precision float16: it needs a card. On a processor use bfloat16 or float32.")
        if self.precision == "bfloat16" and device == "cuda" and not torch.cuda.is_bf16_supported(False):
            raise UsageError("--precision bfloat16: this card has no bfloat16. Use float16 or float32.")
        if self.compiled and device == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))):
            raise UsageError("--compile: there is no C++ compiler. Install g++, name one in $CXX, or leave it out.")

    def apply(self, model: SamMed3D) -> None:
        """Sets a loaded network up."""
        import torch

        if self.precision == "float32":
            torch.backends.cudnn.allow_tf32 = False  # by default a card's convolutions round to ten bits
        else:
            model.encode_in(getattr(torch, self.precision))
        if self.compiled:
            model.image_encoder.compile()

    def on(self, device: str) -> str:
        """Returns the device, with what is not as by default, for the record of a result."""
        precision = [] if self.precision == "float32" else [f"encoder in {self.precision}"]
        return ", ".join([device, *precision, *(["compiled"] if self.compiled else [])])


EXACT = EncoderOptions()
"""As the network was trained."""
