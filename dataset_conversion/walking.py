"""Finding a dataset's files: its root, its volumes by name, and which image belongs to which label map."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dataset_conversion.source import Case, Fault, LabelFile
from sammoe_pipeline.errors import UsageError

_MOST_LEVELS = 3
_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
_ROLE = r"images?|img|scans?|volumes?|vol|labels?|lbl|segmentations?|seg|masks?|gt|ct|mri?"
_ROLE_BEFORE = re.compile(rf"^(?:{_ROLE})(?=[_\-.]|\d)[_\-.]?", re.IGNORECASE)
_ROLE_AFTER = re.compile(rf"[_\-.](?:{_ROLE})$", re.IGNORECASE)


def find_root(folder: Path, *landmarks: str, any_case: bool = False) -> Path:
    """Finds where a dataset begins: `folder` itself, or the one folder within that archives wrapped around it.

    Args:
        folder: what the user named.
        landmarks: patterns (of `Path.glob`) of what lies at the dataset's root; any one of them is enough.
        any_case: read these without regard to case, for folders that people named themselves.

    Raises:
        UsageError: there is no such folder, or it holds the landmark nowhere or several times.
    """
    require_folder(folder)
    level = [folder]
    packed = []
    patterns = [_in_any_case(landmark) for landmark in landmarks] if any_case else landmarks
    for _ in range(_MOST_LEVELS):
        packed += [path.name for parent in level for path in _visible(parent) if path.name.lower().endswith(_PACKED)]
        found = [path for path in level if any(_has(path, pattern) for pattern in patterns)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise UsageError(f"-i {folder} holds several datasets: {names}. Give the folder of one of them.")
        level = [path for parent in level for path in subfolders(parent)]
    wanted = " or ".join(landmarks)
    hint = f"{packed[0]} is still packed: extract it." if packed else "Is it this format's dataset?"
    raise UsageError(f"-i {folder} has no {wanted}, and no folder in it has. {hint}")


def require_folder(folder: Path) -> None:
    """Checks that what the user named is a folder.

    Raises:
        UsageError: it is a file, or does not exist.
    """
    if folder.is_file():
        raise UsageError(f"-i {folder} is a file. Extract it, and give the folder that comes out.")
    if not folder.is_dir():
        raise UsageError(f"-i {folder}: there is no such folder.")


def is_visible(path: Path) -> bool:
    """Tells whether a name is the dataset's own: archives leave `._x`, `.DS_Store` and `__MACOSX` beside it."""
    return not path.name.startswith((".", "_"))


def subfolders(folder: Path) -> list[Path]:
    """Lists the visible folders of a folder, in natural order; none where it does not exist."""
    return sorted((path for path in _visible(folder) if path.is_dir()), key=natural_key)


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts `liver_2` before `liver_10`."""
    parts = re.split(r"(\d+)", path.name)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def files_by_id(folder: Path, pattern: str, *, name: str = "{}") -> tuple[dict[str, Path], list[Fault]]:
    """Lists the files of a folder by what the one group of a pattern catches in their names.

    Args:
        folder: may be missing.
        pattern: regular expression for whole names, such as `amos_(\\d+)\\.nii\\.gz`, read without regard to case.
        name: of the case that a file belongs to, with `{}` in the place of the ID, for faults.

    Returns:
        Paths in natural order, and a fault for each file with an ID that another one has.
    """
    expression = re.compile(pattern, re.IGNORECASE)
    found: dict[str, Path] = {}
    faults = []
    for path in sorted(_visible(folder), key=natural_key):
        match = expression.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        if match[1] in found:
            faults.append(same_id(path, found[match[1]], name.format(match[1])))
        else:
            found[match[1]] = path
    return found, faults


def all_folders(folder: Path) -> list[Path]:
    """Lists the visible folders below a folder, at any depth, in natural order; links are not followed."""
    found = []
    for path in subfolders(folder):
        if not path.is_symlink():
            found += [path, *all_folders(path)]
    return found


def all_files_by_id(folder: Path, pattern: str, *, name: str = "{}") -> tuple[dict[str, Path], list[Fault]]:
    """Does what `files_by_id` does in a folder and in all below it."""
    found: dict[str, Path] = {}
    faults = []
    for path in (folder, *all_folders(folder)):
        files, twice = files_by_id(path, pattern, name=name)
        faults += twice
        for identifier, file in files.items():
            if found.setdefault(identifier, file) != file:
                faults.append(same_id(file, found[identifier], name.format(identifier)))
    return found, faults


def same_id(path: Path, other: Path, case: str) -> Fault:
    """Returns the fault of two files that claim to be the same."""
    return Fault(f"{path} and {other} have the same ID. Remove one of them.", case)


def pair(
    images: Mapping[str, Path],
    labels: Mapping[str, Path],
    meaning: Mapping[int, str] | str | None,
    *,
    name: str = "{}",
) -> tuple[list[Case], list[Fault]]:
    """Pairs one image with one label file of the same ID.

    Args:
        images: by ID.
        labels: by ID.
        meaning: of every label file.
        name: of a case, with `{}` in the place of the ID.

    Returns:
        The pairs, and a fault for each file that is alone.
    """
    cases, faults = [], []
    for identifier in dict.fromkeys((*images, *labels)):
        image, label, case = images.get(identifier), labels.get(identifier), name.format(identifier)
        if image and label:
            cases.append(Case(name=case, images=(image,), labels=(LabelFile(label, meaning),)))
        else:
            faults.append(alone(case, image=image, label=label))
    return cases, faults


def alone(case: str, *, image: Path | None, label: Path | None) -> Fault:
    """Returns the fault of an image without a label map, or of a label map without an image."""
    if image:
        return Fault(f"{image} has no label map. Add it, or remove the image.", case)
    return Fault(f"{label} has no image. Add it, or remove the label.", case)


def unlabelled(images: Mapping[str, Path], *, name: str = "{}") -> list[Case]:
    """Makes test cases of images without labels."""
    return held_out(images, {}, {}, name=name)


def held_out(
    images: Mapping[str, Path], labels: Mapping[str, Path], meaning: Mapping[int, str], *, name: str = "{}"
) -> list[Case]:
    """Makes test cases of images, with labels where there are some."""
    return [
        Case(
            name=name.format(identifier),
            images=(path,),
            labels=(LabelFile(labels[identifier], meaning),) if identifier in labels else (),
            test=True,
        )
        for identifier, path in images.items()
    ]


def without_role(name: str) -> str:
    """Takes from a file's name the word that says whether it is an image or a label map.

    >>> without_role("img0007"), without_role("label0007"), without_role("brain_12_seg"), without_role("volume-3")
    ('0007', '0007', 'brain_12', '3')
    """
    return _ROLE_AFTER.sub("", _ROLE_BEFORE.sub("", name)) or name


def _visible(folder: Path) -> Iterator[Path]:
    return filter(is_visible, folder.iterdir() if folder.is_dir() else ())


def _in_any_case(pattern: str) -> str:
    return re.sub(r"[a-z]", lambda letter: f"[{letter[0].lower()}{letter[0].upper()}]", pattern, flags=re.IGNORECASE)


def _has(folder: Path, pattern: str) -> bool:
    found: Iterable[Path] = folder.glob(pattern)
    return any(is_visible(path) for path in found)
