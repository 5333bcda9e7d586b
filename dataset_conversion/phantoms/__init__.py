"""Made-up cases of known truth: CT-like torsos, MR-like heads, and random shapes."""

from dataset_conversion.phantoms.case import PhantomCase
from dataset_conversion.phantoms.head import HEAD_HARD, HEAD_LABELS, head_case
from dataset_conversion.phantoms.shapes import SHAPES_LABELS, shapes_case
from dataset_conversion.phantoms.torso import TORSO_EASY, TORSO_HARD, torso_case
from dataset_conversion.phantoms.torso_patient import TORSO_LABELS
from dataset_conversion.phantoms.writer import PHANTOM_KINDS, PhantomKind, write_phantoms

__all__ = [
    "HEAD_HARD",
    "HEAD_LABELS",
    "PHANTOM_KINDS",
    "SHAPES_LABELS",
    "TORSO_EASY",
    "TORSO_HARD",
    "TORSO_LABELS",
    "PhantomCase",
    "PhantomKind",
    "head_case",
    "shapes_case",
    "torso_case",
    "write_phantoms",
]
