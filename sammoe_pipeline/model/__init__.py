"""The promptable network and the parts of a mixture. Needs torch and nothing heavier."""

from .build import BUILDERS, at_patch_size, build_sam_med3d, has_detail
from .decoder_stack import DecoderStack
from .expert_decoder import decoder_with, new_decoder
from .mask_decoder import MaskDecoder, Seen
from .patch_size import resize_tables
from .sam_med3d import SamMed3D

__all__ = [
    "BUILDERS",
    "DecoderStack",
    "MaskDecoder",
    "SamMed3D",
    "Seen",
    "at_patch_size",
    "build_sam_med3d",
    "decoder_with",
    "has_detail",
    "new_decoder",
    "resize_tables",
]
