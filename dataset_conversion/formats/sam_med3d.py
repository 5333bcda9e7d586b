"""The layout that SAM-Med3D is trained in (Wang et al. 2023): binary masks, a folder a class and dataset.

`<class>/<modality>_<dataset>/{imagesTr, labelsTr}/<case>.nii.gz`, the images repeated for each class. Masks of one case
are joined to one label map.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.formats.masks import mask_case
from dataset_conversion.source import Case, Fault, Source
from dataset_conversion.walking import alone, files_by_id, find_root, subfolders
from sammoe_pipeline.errors import UsageError, did_you_mean
from sammoe_pipeline.paths import IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS

_NAME = r"(.+)\.nii\.gz"


def read_source(folder: Path, *, dataset: str | None = None) -> Source:
    """Joins what the folders of all classes hold of one dataset.

    Args:
        folder: with the folders of classes in it, or a folder around it.
        dataset: which one, such as `ct_WORD`, where there are several.

    Raises:
        UsageError: this is no such folder, or it does not say which dataset is meant.
    """
    if (folder / LABELS_TR).is_dir() and any(folder.glob(f"{IMAGES_TR}_*")):
        raise UsageError(
            f"-i {folder} has {IMAGES_TR}_... beside {LABELS_TR}, as archives of SA-Med3D-140K are said to have. How "
            f"their masks are named is not established, so CLASS/MODALITY_DATASET/{LABELS_TR} is looked for; sort the "
            f"masks into it."
        )
    root = find_root(folder, f"*/*/{LABELS_TR}")
    classes_by_dataset: dict[str, list[str]] = defaultdict(list)
    for of_class in subfolders(root):
        for of_dataset in subfolders(of_class):
            if (of_dataset / LABELS_TR).is_dir():
                classes_by_dataset[of_dataset.name].append(of_class.name)
    dataset = _choose(dataset, list(classes_by_dataset), root)
    classes = tuple(sorted(classes_by_dataset[dataset]))
    cases, faults = [], []
    for images, labels, test in ((IMAGES_TR, LABELS_TR, False), (IMAGES_TS, LABELS_TS, True)):
        found, more = _join(root, dataset, classes, images, labels, test)
        cases += found
        faults += more
    modality = dataset.split("_", 1)[0]
    return Source(
        channels=("CT" if modality.lower() == "ct" else modality.upper(),),
        classes=classes,
        cases=tuple(cases),
        faults=tuple(faults),
        description=f"{dataset}, from the layout of SAM-Med3D",
        reference="Wang et al., SAM-Med3D, github.com/uni-medical/SAM-Med3D",
    )


def _choose(dataset: str | None, known: list[str], root: Path) -> str:
    if dataset is None and len(known) == 1:
        return known[0]
    if dataset is None:
        raise UsageError(f"{root} holds several datasets: {', '.join(sorted(known))}. Choose one with --dataset.")
    if dataset not in known:
        raise UsageError(f"--dataset {dataset!r} is none of {', '.join(sorted(known))}.{did_you_mean(dataset, known)}")
    return dataset


def _join(
    root: Path, dataset: str, classes: tuple[str, ...], images: str, labels: str, test: bool
) -> tuple[list[Case], list[Fault]]:
    image_of: dict[str, Path] = {}
    masks: dict[str, dict[str, Path]] = defaultdict(dict)
    faults = []
    for name in classes:
        of_class, twice = files_by_id(root / name / dataset / images, _NAME)
        of_label, more = files_by_id(root / name / dataset / labels, _NAME)
        faults += [*twice, *more]
        for case, path in of_class.items():
            image_of.setdefault(case, path)
        for case, path in of_label.items():
            masks[case][name] = path
    cases = [
        mask_case(case, path, masks.get(case, {}), classes, test=test)
        for case, path in image_of.items()
        if test or case in masks
    ]
    faults += [alone(case, image=path, label=None) for case, path in image_of.items() if case not in masks and not test]
    faults += [
        alone(case, image=None, label=next(iter(files.values())))
        for case, files in masks.items()
        if case not in image_of
    ]
    return cases, faults


FORMAT = Format(
    read=read_source,
    summary="the layout that SAM-Med3D is trained in: binary masks, a folder a class",
    modality="any",
    classes=(),
    licence="that of the dataset itself",
    where="github.com/uni-medical/SAM-Med3D",
    tree="""\
SRC/
  CLASS/MODALITY_DATASET/
    imagesTr/CASE.nii.gz    repeated in each class
    labelsTr/CASE.nii.gz    binary
    imagesTs, labelsTs      optional: test cases""",
    notes=(
        "One dataset at a time: `--dataset ct_WORD` where there are several. Its masks are joined by case, in the "
        "alphabetical order of classes.",
        "A case without the file of some class is taken to lack it: very small masks were dropped by the makers.",
        "How the archives of SA-Med3D-140K look inside is not established (`imagesTr_ct`, `imagesTr_mr`, "
        "`imagesTr_private` beside one `labelsTr` are reported): this is the layout of the code, and the other ends "
        "with what was looked for.",
        "Each mask must lie on the grid of its image, which SAM-Med3D's own loader takes for granted.",
        "Around fifty files of SA-Med3D-140K are reported to be broken: `--skip-faulty` goes on without them.",
        "It contains most of the public datasets here. Do not evaluate one on the other.",
    ),
    flags=("dataset",),
)
