"""The promptable network and the parts of a mixture. Needs torch and nothing heavier."""

from .build import BUILDERS, at_patch_size, build_sam_med3d
from .decoder_stack import DecoderStack
from .mask_decoder import MaskDecoder
from .patch_size import resize_tables
from .sam_med3d import SamMed3D

__all__ = ["BUILDERS", "DecoderStack", "MaskDecoder", "SamMed3D", "at_patch_size", "build_sam_med3d", "resize_tables"]
