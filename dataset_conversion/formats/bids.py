"""BIDS derivatives: label maps (`..._dseg`) or masks of one class (`..._mask`) of images in the dataset.

`derivatives/PIPELINE/sub-X/.../sub-X[_...]_dseg.nii.gz`. The image of a label map has the same entities, apart from
those that only derivatives have; a label map in another space belongs to an image in that space. Names come from the
nearest `..._dseg.tsv` whose entities fit, beside the label map or in a folder above.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.names import read_names
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.walking import all_folders, find_root, is_visible, subfolders
from sammoe_pipeline.errors import UsageError, did_you_mean

_DERIVATIVES = "derivatives"
_OF_DERIVATIVES = ("space", "seg", "res", "desc", "label", "den", "atlas")
_SAME_SPACE = ("T1w", "T2w", "orig", "individual", "native")
_NAMES_A_MASK = ("label", "seg", "desc")
_CHOOSABLE = ("seg", "desc", "atlas")


@dataclass(frozen=True)
class _File:
    """A file named as BIDS has it.

    Attributes:
        path: the file.
        entities: such as {"sub": "01", "desc": "manual"}.
        suffix: such as `T1w` or `dseg`.
        of: suffix of the image that a mask belongs to, where its name has it.
    """

    path: Path
    entities: dict[str, str]
    suffix: str
    of: str | None = None

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """What was imaged, whatever was made of it."""
        return tuple(sorted(item for item in self.entities.items() if item[0] not in _OF_DERIVATIVES))

    @property
    def space(self) -> str:
        """Where its grid lies; empty for that of the raw image."""
        space = self.entities.get("space", "")
        return "" if space in _SAME_SPACE else space


def read_source(
    folder: Path, *, pipeline: str | None = None, suffix: str | None = None, seg: str | None = None
) -> Source:
    """Reads the label maps of one pipeline and the images that they belong to, grouped by subject.

    Args:
        folder: the dataset, with `derivatives` in it, or a folder around it.
        pipeline: folder in `derivatives`, where there are several.
        suffix: of the images, such as `T1w`, where subjects have several.
        seg: value of the entity `seg`, `desc` or `atlas`, where images have several label maps.

    Raises:
        UsageError: there are no label maps, or it is not clear which are meant.
    """
    root = find_root(folder, f"{_DERIVATIVES}/*/sub-*")
    chosen = root / _DERIVATIVES / _choose(pipeline, root)
    own = [file for file in _files(chosen) if seg is None or seg in map(file.entities.get, _CHOOSABLE)]
    labels = [file for file in own if file.suffix in ("dseg", "mask")]
    kind = "dseg" if any(file.suffix == "dseg" for file in labels) else "mask"
    labels = [file for file in labels if file.suffix == kind]
    if not labels:
        raise UsageError(f"-i {folder}: {chosen} has no ..._dseg.nii.gz and no ..._mask.nii.gz that is asked for.")
    raw = [file for path in subfolders(root) if path.name.startswith("sub-") for file in _files(path)]
    images = [file for file in (*raw, *_files(chosen)) if file.suffix not in ("dseg", "mask", "probseg")]
    by_image, faults = _by_image(labels, images, suffix)
    suffixes = sorted({image.suffix for image, _ in by_image.values()})
    if len(suffixes) > 1:
        raise UsageError(f"-i {folder}: the images are {', '.join(suffixes)}. Choose one with --suffix.")
    tables: dict[Path, dict[int, str]] = {}
    cases = []
    for image, files in by_image.values():
        name = image.path.name.split(".")[0]
        if kind == "dseg" and len(files) > 1:
            there = ", ".join(file.path.name for file in files)
            faults.append(Fault(f"{image.path} has several label maps: {there}. Choose one with --seg.", name))
            continue
        meanings = [_mask_class(file) if kind == "mask" else _names_of(file, root, tables) for file in files]
        parts = tuple(LabelFile(file.path, meaning) for file, meaning in zip(files, meanings, strict=True))
        cases.append(Case(name=name, images=(image.path,), labels=parts, patient=f"sub-{image.entities['sub']}"))
    return Source(
        channels=tuple(suffixes) or ("image",),
        classes=_classes(cases),
        cases=tuple(cases),
        faults=tuple(faults),
        description=f"{root.name}: {chosen.name}",
    )


def _choose(pipeline: str | None, root: Path) -> str:
    known = [path.name for path in subfolders(root / _DERIVATIVES)]
    if pipeline is None and len(known) == 1:
        return known[0]
    if pipeline is None:
        raise UsageError(f"{root / _DERIVATIVES} holds {', '.join(known)}. Choose one with --pipeline.")
    if pipeline not in known:
        raise UsageError(f"--pipeline {pipeline!r} is none of {', '.join(known)}.{did_you_mean(pipeline, known)}")
    return pipeline


def _files(folder: Path) -> Iterator[_File]:
    """Finds the NIfTI files below a folder that have BIDS names."""
    for where in (folder, *all_folders(folder)):
        for path in sorted(filter(is_visible, where.iterdir())):
            if path.name.endswith((".nii", ".nii.gz")) and path.name.startswith("sub-"):
                yield _parse(path)


def _parse(path: Path) -> _File:
    *words, suffix = path.name.split(".")[0].split("_")
    entities = dict(word.split("-", 1) for word in words if "-" in word)
    if "-" in suffix and words and "-" not in words[-1]:
        # Older than BIDS's own names, and still common: ..._T2w_seg-manual, ..._T2w_lesion-manual.
        kind, maker = suffix.split("-", 1)
        return _File(path, {**entities, "label": kind, "desc": maker}, "mask", of=words[-1])
    return _File(path, entities, suffix)


def _by_image(
    labels: list[_File], images: list[_File], suffix: str | None
) -> tuple[dict[Path, tuple[_File, list[_File]]], list[Fault]]:
    """Groups label files by the one image that fits each."""
    candidates: dict[tuple[object, str], list[_File]] = defaultdict(list)
    for image in images:
        if suffix in (None, image.suffix):
            candidates[image.shown, image.space].append(image)
    found: dict[Path, tuple[_File, list[_File]]] = {}
    faults = []
    for label in labels:
        fitting = [one for one in candidates[label.shown, label.space] if label.of in (None, one.suffix)]
        if len(fitting) == 1:
            found.setdefault(fitting[0].path, (fitting[0], []))[1].append(label)
            continue
        there = ", ".join(image.path.name for image in fitting) or "none"
        remedy = "Choose one with --suffix." if fitting else "Add it, or remove the label map."
        text = f"{label.path} needs one image with the same entities; there is {there}. {remedy}"
        faults.append(Fault(text, label.path.name.split(".")[0]))
    return found, faults


def _mask_class(label: _File) -> str:
    return next((label.entities[key] for key in _NAMES_A_MASK if key in label.entities), label.suffix)


def _names_of(label: _File, root: Path, tables: dict[Path, dict[int, str]]) -> dict[int, str] | None:
    """Reads the table that fits best: the nearest one, and of these that with the most entities."""
    for folder in label.path.parents:
        fitting = [
            path
            for path in folder.glob("*dseg.tsv")
            if is_visible(path) and _parse(path).entities.items() <= label.entities.items()
        ]
        if fitting:
            best = max(fitting, key=lambda path: len(_parse(path).entities))
            if best not in tables:
                tables[best] = read_names(best)
            return tables[best]
        if folder == root:
            return None
    return None


def _classes(cases: list[Case]) -> tuple[str, ...]:
    meanings = [label.meaning for case in cases for label in case.labels]
    tables = [classes_of(meaning) for meaning in meanings if isinstance(meaning, dict)]
    masks = sorted({meaning for meaning in meanings if isinstance(meaning, str)})
    return (*dict.fromkeys(name for table in tables for name in table), *masks)


FORMAT = Format(
    read=read_source,
    summary="BIDS derivatives: label maps (dseg) or masks of the dataset's images",
    modality="any",
    classes=(),
    licence="that of the dataset itself",
    where="openneuro.org, or your own data",
    tree="""\
SRC/
  sub-X[/ses-Y]/anat/sub-X[_...]_T1w.nii.gz
  derivatives/PIPELINE/
    dseg.tsv                            values and names; or beside each label map
    sub-X[/ses-Y]/anat/sub-X[_...]_dseg.nii.gz
    sub-X[/ses-Y]/anat/sub-X[_...]_label-CLASS_mask.nii.gz    where there is no dseg""",
    notes=(
        "The image of a label map has the same entities, apart from `space`, `seg`, `res`, `desc`, `label`, `den` "
        "and `atlas`. Label maps in the space of a template belong to images in that space, in the derivatives.",
        "Without a table, classes are called after their values: `class_1`, .... BIDS's own default table is not "
        "assumed.",
        "Masks are named by their entity `label`, else `seg`, else `desc`.",
        "`patients.json` groups the images of one subject into one fold.",
        "Names that many datasets have, but not BIDS (`..._T2w_seg-manual.nii.gz`, `..._T2w_lesion-manual.nii.gz`), "
        "are read as masks, called after the word before the dash; `--seg manual` takes those of one maker.",
        "Probabilities (`probseg`) are not read.",
    ),
    flags=("pipeline", "suffix", "seg"),
)
