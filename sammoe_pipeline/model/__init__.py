"""The promptable network and the parts of a mixture. Needs torch and nothing heavier."""

from .build import BUILDERS, build_sam_med3d
from .mask_decoder import MaskDecoder
from .sam_med3d import SamMed3D

__all__ = ["BUILDERS", "MaskDecoder", "SamMed3D", "build_sam_med3d"]
