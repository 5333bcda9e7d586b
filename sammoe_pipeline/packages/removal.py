"""Removing experts and mixtures, never one that something else needs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.packages.inventory import users_of
from sammoe_pipeline.paths import Results


def require_removable(folder: Path, places: Results) -> None:
    """Refuses to remove what a mixture uses.

    Args:
        folder: of an expert or a mixture.
        places: where results lie.

    Raises:
        UsageError: a mixture needs weights in it; the message names all of them.
        ArtefactError: the card of a mixture cannot be read, so what it needs is not known.
    """
    if users := users_of(folder, places):
        commands = "\n".join(f"  sammoe_experts remove -m {name}" for name in users)
        raise UsageError(
            f"{folder} is used by {len(users)} mixture{'s'[: len(users) > 1]}, which would not load any more. Remove "
            f"first what uses it:\n{commands}"
        )


def remove_folder(folder: Path, places: Results) -> None:
    """Removes an expert or a mixture with all that lies in its folder, at once: half of it is never left in place."""
    with tempfile.TemporaryDirectory(prefix=".remove-", dir=places.folder) as temporary:
        folder.rename(Path(temporary) / folder.name)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
