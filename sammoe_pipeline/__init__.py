"""SAM-Med3D-MoE: new skills for a promptable 3D foundation model, without losing one it has."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sammoe_pipeline.inference.mixture import Mixture

__all__ = ["Mixture"]


def __getattr__(name: str) -> object:
    # On first use: torch takes seconds to import, and commands answer `--help` at once.
    if name == "Mixture":
        from sammoe_pipeline.inference.mixture import Mixture

        return Mixture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
