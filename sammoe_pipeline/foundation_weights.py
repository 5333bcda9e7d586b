"""Whether weights are those of a network: every key that is wrong, in one error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.errors import ArtefactError

if TYPE_CHECKING:
    from torch import Tensor

_LISTED = 8


def require_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, path: Path | str, network: str) -> None:
    """Refuses weights that are not exactly those of a network.

    Args:
        state: the weights.
        expected: the network's own, of which only names and shapes count.
        path: where the weights come from, for the message.
        network: what they should be weights of, for the message.

    Raises:
        ArtefactError: keys are missing, unknown or of another shape; the message lists them.
    """
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    misshapen = [
        f"{name} is {_shape(value)} instead of {_shape(expected[name])}"
        for name, value in state.items()
        if name in expected and value.shape != expected[name].shape
    ]
    kinds = [("missing", missing), ("unknown", extra), ("of another shape", misshapen)]
    faults = [f"  - {len(names)} {kind}: {_listed(names)}" for kind, names in kinds if names]
    if faults:
        raise ArtefactError(f"{path} does not fit {network}, which has {len(expected)} weights:\n" + "\n".join(faults))


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a single number"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f", ... ({len(names)} in all)" if len(names) > _LISTED else "")
