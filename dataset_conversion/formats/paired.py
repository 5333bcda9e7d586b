"""Two folders side by side, one of images and one of label maps, as many groups keep their data.

A label map has the name of its image, or that name with another word for its role: `img_7` and `label_7`, `case_7` and
`case_7_seg`. Images of several channels end in `_0000`, `_0001`, ..., and their label map does not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.formats.channels import group_channels, multichannel_cases
from dataset_conversion.names import TABLE_ENDINGS, read_names
from dataset_conversion.source import Fault, Source, classes_of
from dataset_conversion.walking import files_by_id, find_root, is_visible, subfolders, without_role
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.paths import IMAGES_TR, LABELS_TR

logger = logging.getLogger(__name__)

VOLUME = r"(.+?)\.(?:nii\.gz|nii|nrrd|mha|mhd|nhdr)"
_IMAGES = ("images", "image", "imgs", "img", "scans", "volumes", "imaging", IMAGES_TR.lower())
_LABELS = ("labels", "label", "masks", "mask", "segmentations", "segmentation", "segs", "seg", "gt", LABELS_TR.lower())
_TABLES = ("names", "labels")


def read_source(folder: Path, *, names: Path | None = None) -> Source:
    """Reads a folder of images and a folder of label maps.

    Args:
        folder: with both in it, or a folder around it.
        names: table of names; by default `names.*` or `labels.*` beside the folders, else the one table there.

    Raises:
        UsageError: there are no two such folders, or the table is none.
    """
    root = find_root(folder, *(f"{name}/*" for name in _LABELS), any_case=True)
    image_folder, label_folder = _the_folder(root, _IMAGES, "images"), _the_folder(root, _LABELS, "label maps")
    table = names or _table_beside(root)
    meaning = read_names(table) if table else None
    logger.info("%s: names of classes from %s", root, table or "nowhere (--names gives them)")
    files, faults = files_by_id(image_folder, VOLUME)
    maps, more = files_by_id(label_folder, VOLUME)
    groups, strange = group_channels(files)
    paired, role_faults = _by_image(files, maps)
    # Numbers are those of channels only where every image ends in one, and no label map has its whole name.
    if strange or files.keys() & paired.keys():
        groups = {name: {0: path} for name, path in files.items()}
    else:
        paired, role_faults = _by_image(groups, maps)
    channels = max((len(group) for group in groups.values()), default=1)
    cases, unpaired = multichannel_cases(groups, paired, meaning, channels=channels, test=False)
    return Source(
        channels=("image",) if channels == 1 else tuple(f"image_{channel}" for channel in range(channels)),
        classes=classes_of(meaning) if meaning else (),
        cases=tuple(cases),
        faults=(*faults, *more, *role_faults, *unpaired),
        description=root.name,
    )


def _the_folder(root: Path, names: tuple[str, ...], what: str) -> Path:
    found = [path for path in subfolders(root) if path.name.lower() in names]
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise UsageError(f"-i {root} must hold one folder of {what}, named one of {', '.join(names)}. It has {there}.")
    return found[0]


def _table_beside(root: Path) -> Path | None:
    files = [path for path in sorted(root.iterdir()) if path.suffix.lower() in TABLE_ENDINGS and is_visible(path)]
    found = [path for path in files if path.stem.lower() in _TABLES] or list(filter(_is_table, files))
    if len(found) > 1:
        there = ", ".join(path.name for path in found)
        logger.warning("%s: several files may name the classes: %s. None is used; say which with --names.", root, there)
    return found[0] if len(found) == 1 else None


def _is_table(path: Path) -> bool:
    try:
        return bool(read_names(path))
    except UsageError:
        return False


def _by_image(images: Mapping[str, object], maps: Mapping[str, Path]) -> tuple[dict[str, Path], list[Fault]]:
    """Returns label maps by the name of their image."""
    bare: dict[str, list[str]] = {}
    for name in images:
        bare.setdefault(without_role(name), []).append(name)
    paired: dict[str, Path] = {}
    faults = []
    for name, path in maps.items():
        # An image's name may itself end in such a word: P01_CT_seg belongs to P01_CT.
        exact = [one for one in (name, without_role(name)) if one in images]
        candidates = exact[:1] or bare.get(without_role(name), [name])
        if len(candidates) > 1 or candidates[0] in paired:
            faults.append(
                Fault(f"{path} fits several images or shares its image with another label map. Rename it.", name)
            )
        else:
            paired[candidates[0]] = path
    return paired, faults


FORMAT = Format(
    read=read_source,
    summary="a folder of images and a folder of label maps",
    modality="any",
    classes=(),
    licence="not stated",
    where="your own data",
    tree="""\
SRC/
  images/CASE.nii.gz        or CASE_0000.nii.gz, CASE_0001.nii.gz, ... for several channels
  labels/CASE.nii.gz        or CASE_seg, label_CASE, ...; without the number of a channel
  names.csv                 optional: values and names of the classes; or labels.csv, or .tsv, .txt, .json""",
    notes=(
        "A label map is found by the name of its image; words for the role (`img`, `label`, `seg`, `mask`, ...) at "
        "either end do not count.",
        "The table of names is `names.*` or `labels.*`, else the one other file beside the folders that is such a "
        "table. Where there are several none is used, with a warning: choose with `--names`.",
        "Without a table of names, classes are called after their values: `class_1`, ....",
        "The channel is called `image`. For CT say `--channels CT`, by which nnU-Net chooses its normalisation.",
    ),
    flags=("names",),
)
