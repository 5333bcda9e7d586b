"""What a format says of a public dataset, and the walking of folders that formats share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.verify import CaseFiles


@dataclass(frozen=True)
class Source:
    """A public dataset as downloaded: its cases, its channels and what its labels mean.

    Attributes:
        channels: names of the images of a case, in order.
        labels: class of each value in the label maps; 0 is background. Values with the same class become one.
        cases: labelled cases and, without a label, test cases.
        faults: what the format found amiss, such as unpaired files; reported together with everything else.
        description: what it shows, in words.
        licence: as the dataset gives it.
        reference: who made it, or where it comes from.
        release: the dataset's version, where it has one.
    """

    channels: tuple[str, ...]
    labels: dict[int, str]
    cases: tuple[CaseFiles, ...]
    faults: tuple[str, ...]
    description: str
    licence: str
    reference: str
    release: str | None = None


def find_root(folder: Path, landmark: str) -> Path:
    """Finds where a dataset begins: `folder` itself, or the one folder within that an archive wrapped around it.

    Args:
        folder: what the user named.
        landmark: file or folder that lies at the dataset's root.

    Raises:
        UsageError: there is no such folder, or it holds the landmark nowhere or several times.
    """
    if folder.is_file():
        raise UsageError(f"-i {folder} is a file. Extract it, and give the folder that comes out.")
    if not folder.is_dir():
        raise UsageError(f"-i {folder}: there is no such folder.")
    if (folder / landmark).exists():
        return folder
    inside = [path for path in sorted(folder.iterdir()) if is_visible(path) and (path / landmark).exists()]
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(path.name for path in inside)
        raise UsageError(f"-i {folder} holds several datasets: {names}. Give the folder of one of them.")
    raise UsageError(f"-i {folder} has no {landmark}, and no folder in it has. Is it this format's dataset?")


def is_visible(path: Path) -> bool:
    """Tells whether a name is the dataset's own: archives leave `._x`, `.DS_Store` and `__MACOSX` beside it."""
    return not path.name.startswith((".", "_"))


def pair_by_name(images: dict[str, Path], labels: dict[str, Path]) -> tuple[list[CaseFiles], list[str]]:
    """Pairs one image with one label map of the same name.

    Args:
        images: by name.
        labels: by name.

    Returns:
        The pairs, by name, and one sentence for each image or label map that is alone.
    """
    faults = [
        f"{images[name]} has no label map. Add it, or remove the image." for name in sorted(images - labels.keys())
    ]
    faults += [f"{labels[name]} has no image. Add it, or remove the label." for name in sorted(labels - images.keys())]
    both = sorted(images.keys() & labels.keys())
    return [CaseFiles(name=name, images=(images[name],), label=labels[name]) for name in both], faults
