"""What a user can do wrong. Each message names the file or argument, the value and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class SammoeError(Exception):
    """Root of every error that a user can mend. Commands print its message without a traceback and exit with 1."""


class UsageError(SammoeError):
    """A flag, an argument or an environment variable has a value that cannot be used."""


class DatasetNotFoundError(SammoeError):
    """No dataset has the requested ID or name in the folder that was searched."""


class DatasetFaultsError(SammoeError):
    """A dataset breaks the rules of its format. Carries every fault that was found, not only the first.

    Args:
        subject: what was checked, such as the dataset's folder.
        faults: one sentence a fault, each naming the file, the value and the remedy.
    """

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(f"{subject}: {len(self.faults)} {noun}\n" + "\n".join(f"  - {fault}" for fault in self.faults))


class UnreadableFileError(SammoeError):
    """A file exists but cannot be read as what it should be."""


class ArtefactError(SammoeError):
    """A JSON file that passes between stages is missing, broken, of another schema, or belongs to something else."""


class DownloadError(SammoeError):
    """A file could not be fetched, or arrived damaged."""


class WorkerDiedError(SammoeError):
    """The system ended a worker process, usually because memory ran out."""


class TrainingError(SammoeError):
    """Training cannot start or cannot be trusted: no usable target, no step taken, a loss that is not finite."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the nearest known word, or an empty string where none is near.

    >>> did_you_mean("hippocampos", ["hippocampus", "liver"])
    " Did you mean 'hippocampus'?"
    """
    nearest = get_close_matches(word, list(known), n=1)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
