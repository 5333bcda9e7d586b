"""A folder a case, in which files are named by their role: `case_1/{image.nii.gz, label.nii.gz}`.

The name of the case before the role does not count: `case_1/{case_1_ct.nii.gz, case_1_seg.nii.gz}`. The label is one
label map, or several files with the mask of one class each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.formats.paired import VOLUME
from dataset_conversion.names import read_names
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.walking import files_by_id, find_root, require_folder, same_id, subfolders, without_role
from sammoe_pipeline.errors import UsageError, did_you_mean

_CASE = "CASE"
_LABEL_WORDS = ("label", "seg", "mask", "gt", "parcellation", "annotation", "contour")


def read_source(
    folder: Path, *, image: list[str] | None = None, label: list[str] | None = None, names: Path | None = None
) -> Source:
    """Reads a folder a case.

    Args:
        folder: with the folders of cases in it, or a folder around it.
        image: name of the image's file, or several, one a channel; found where there is only one that is no label.
        label: name of the label map's file, or of several masks, each named after its class (`liver`, `liver_mask`);
            found where there is only one whose name has a word such as `seg` in it.
        names: table of names of the values of the label map.

    Raises:
        UsageError: there are no such folders or files, or the names of files do not say which is which.
    """
    require_folder(folder)
    root = find_root(folder, *(f"*/*{ending}" for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")))
    found: dict[str, dict[str, Path]] = {}
    faults: list[Fault] = []
    for path in subfolders(root):
        files, twice = files_by_id(path, VOLUME, name=path.name)
        found[path.name], alike = _by_role(files, path.name)
        faults += [*twice, *alike]
    roles = Counter(role for files in found.values() for role in files)
    labels = _chosen(label, roles, found, "--label") or [_only_label(roles, root)]
    images = _chosen(image, roles, found, "--image") or [_only_image(roles, labels, root)]
    meaning = _meaning(labels, names)
    cases: list[Case] = []
    for case, files in found.items():
        missing = [role for role in (*images, *(labels if len(labels) == 1 else ())) if role not in files]
        if missing:
            faults.append(
                Fault(f"{root / case} has no {' and no '.join(missing)}. Add it, or remove the folder.", case)
            )
        else:
            masks = tuple(LabelFile(files[role], meaning[role]) for role in labels if role in files)
            cases.append(Case(name=case, images=tuple(files[role] for role in images), labels=masks, test=not masks))
    table = meaning[labels[0]]
    words = [word for word in meaning.values() if isinstance(word, str)]
    return Source(
        channels=("image",) if len(images) == 1 else tuple(images),
        classes=tuple(dict.fromkeys(words)) if words else classes_of(table) if isinstance(table, Mapping) else (),
        cases=tuple(cases),
        faults=tuple(faults),
        description=root.name,
    )


def _by_role(files: Mapping[str, Path], case: str) -> tuple[dict[str, Path], list[Fault]]:
    """Returns the files of a case by role, and a fault for each with a role that another one has."""
    by_role: dict[str, Path] = {}
    faults = []
    for name, path in files.items():
        other = by_role.setdefault(_role(name, case), path)
        if other != path:
            faults.append(same_id(path, other, case))
    return by_role, faults


def _role(name: str, case: str) -> str:
    """Takes the case's name from that of its file; a file that has no other name is called `CASE`.

    >>> _role("p01_seg", "p01"), _role("seg", "p01"), _role("p01", "p01")
    ('seg', 'seg', 'CASE')
    """
    if name.lower() == case.lower():
        return _CASE
    match = re.fullmatch(rf"{re.escape(case)}[_\-. ](.+)", name, re.IGNORECASE)
    return match[1] if match else name


def _meaning(labels: Sequence[str], names: Path | None) -> dict[str, Mapping[int, str] | str | None]:
    if len(labels) > 1:
        if names:
            raise UsageError("--names is for one label map; several --label files are masks, named after their files.")
        return {label: without_role(label) for label in labels}
    return {labels[0]: read_names(names) if names else None}


def _chosen(words: list[str] | None, roles: Counter[str], cases: Iterable[str], flag: str) -> list[str]:
    """Returns the roles that the user names, be it by the files of one case."""
    chosen = []
    for word in map(_without_ending, words or ()):
        named = (word, *(_role(word, case) for case in cases))
        role = next(filter(roles.__contains__, named), None)
        if role is None:
            raise UsageError(f"{flag} {word}: no case has such a file.{did_you_mean(word, roles)} {_there(roles)}")
        chosen.append(role)
    return chosen


def _without_ending(name: str) -> str:
    for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _only_label(roles: Counter[str], root: Path) -> str:
    found = [role for role in roles if any(word in role.lower() for word in _LABEL_WORDS)]
    if len(found) == 1:
        return found[0]
    raise UsageError(f"-i {root}: say with --label which file of a case is the label map. {_there(roles)}")


def _only_image(roles: Counter[str], labels: Sequence[str], root: Path) -> str:
    found = [role for role in roles if role not in labels]
    if len(found) == 1:
        return found[0]
    raise UsageError(f"-i {root}: say with --image which file of a case is the image. {_there(roles)}")


def _there(roles: Counter[str]) -> str:
    listed = ", ".join(f"{role} ({number} cases)" for role, number in roles.most_common(12))
    return f"There are: {listed}."


FORMAT = Format(
    read=read_source,
    summary="a folder a case, with files named by their role",
    modality="any",
    classes=(),
    licence="not stated",
    where="your own data",
    tree="""\
SRC/
  CASE/
    image.nii.gz            the names are yours; or CASE_image.nii.gz, or CASE.nii.gz
    label.nii.gz            a label map; or several masks, named after their classes""",
    notes=(
        "Which file is the label map is found where one has a word such as `seg`, `mask` or `label` in its name, "
        "and the image where one other is left; otherwise say so with `--image` and `--label`.",
        "The folder's name at the beginning of a file's does not count: of `p01/p01_ct.nii.gz` and "
        "`p01/p01_seg.nii.gz` say `--image ct --label seg`. A file that is called like its folder is `CASE` there.",
        "Several files after `--label` are masks, and each later one is painted over the earlier ones.",
    ),
    flags=("image", "label", "names"),
)
