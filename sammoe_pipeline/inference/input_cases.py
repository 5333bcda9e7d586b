"""Which images a user wants predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import FILE_ENDINGS, file_ending


@dataclass(frozen=True)
class InputCase:
    """An image to predict: one file a channel."""

    name: str
    files: tuple[Path, ...]


def find_cases(path: Path) -> list[InputCase]:
    """Lists the images of a folder, or the one that a file is.

    Files named as nnU-Net has it (`CASE_0000.nii.gz`, `CASE_0001.nii.gz`) are the channels of one case; others are
    cases of one channel.

    Raises:
        UsageError: there is nothing to predict.
    """
    if not path.exists():
        raise UsageError(f"-i {path}: it does not exist.")
    folder_files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in folder_files if file_ending(file) and not file.name.startswith((".", "_"))]
    cases: dict[str, list[Path]] = {}
    for file in files:
        stem = file.name[: -len(file_ending(file) or "")]
        base, _, number = stem.rpartition("_")
        name = base if base and len(number) == 4 and number.isdigit() else stem
        cases.setdefault(name, []).append(file)
    if not cases:
        raise UsageError(f"-i {path}: it holds no image. Endings that are read: {', '.join(FILE_ENDINGS)}.")
    return [InputCase(name=name, files=tuple(parts)) for name, parts in cases.items()]


def require_channels(case: InputCase) -> None:
    """Refuses a case whose files are not its channels from 0000 on.

    Raises:
        UsageError: a channel is missing, or images of their own share a beginning.
    """
    names = [file.name[: -len(file_ending(file) or "")] for file in case.files]
    if names not in ([case.name], [f"{case.name}_{channel:04d}" for channel in range(len(names))]):
        raise UsageError(
            f"The files {', '.join(file.name for file in case.files)} are not the channels {case.name}_0000, "
            f"{case.name}_0001, ... of one image. Add what is missing, or rename images of their own."
        )
