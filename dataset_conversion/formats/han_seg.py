"""HaN-Seg (Podobnik et al. 2023): organs at risk of head and neck; a folder a case, the mask of one organ in each file.

`set_1/case_NN/{case_NN_IMG_CT.nrrd, case_NN_OAR_<organ>.seg.nrrd}`. Masks lie on the CT; MR is not registered to it.
"""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.format import Format
from dataset_conversion.formats.masks import mask_case, order_classes
from dataset_conversion.segment_nrrd import SegmentNrrd
from dataset_conversion.source import Fault, Source
from dataset_conversion.tables import HAN_SEG
from dataset_conversion.walking import files_by_id, find_root, subfolders


def read_source(folder: Path) -> Source:
    """Reads the CT and the organs of each case; organs are numbered by a fixed table, since cases lack some.

    Args:
        folder: `set_1`, or a folder around it.

    Raises:
        UsageError: this is no such folder.
    """
    root = find_root(folder, "case_*/case_*_IMG_CT.nrrd", "case_*/case_*_OAR_*")
    masks: dict[str, dict[str, Path]] = {}
    images: dict[str, Path] = {}
    faults = []
    for path in subfolders(root):
        masks[path.name], twice = files_by_id(path, rf"{path.name}_OAR_(.+)\.seg\.nrrd", name=path.name)
        faults += twice
        image = path / f"{path.name}_IMG_CT.nrrd"
        if image.is_file():
            images[path.name] = image
        else:
            faults.append(Fault(f"{path} has no {image.name}. Add it, or remove the folder.", path.name))
        if not masks[path.name]:
            faults.append(Fault(f"{path} has no {path.name}_OAR_....seg.nrrd. Add them, or remove it.", path.name))
    classes = order_classes(masks, HAN_SEG)
    return Source(
        channels=("CT",),
        classes=classes,
        cases=tuple(
            mask_case(name, image, {of: SegmentNrrd(path, image) for of, path in masks[name].items()}, classes)
            for name, image in images.items()
        ),
        faults=tuple(faults),
        description="HaN-Seg: organs at risk of head and neck in CT",
        reference="Podobnik et al., HaN-Seg, zenodo.org/records/7442914",
    )


FORMAT = Format(
    read=read_source,
    summary="HaN-Seg: organs at risk of head and neck, on CT",
    modality="CT",
    classes=HAN_SEG,
    licence="sources disagree: CC BY-ND, or CC BY-NC-ND",
    where="zenodo.org/records/7442914",
    tree="""\
HaN-Seg/set_1/
  case_NN/
    case_NN_IMG_CT.nrrd
    case_NN_OAR_ORGAN.seg.nrrd
    case_NN_IMG_MR_T1.nrrd            not used""",
    notes=(
        "Cases lack some organs, so organs are numbered by a fixed table; what a case lacks is background there.",
        "The mask of case_19 is reported not to lie on its image: if so, `--skip-faulty` goes on without it.",
        "Masks that were cropped to what they show are put back to their place, layers are joined, and a mask of one "
        "voxel is empty, as 3D Slicer writes them.",
        "MR is not registered to CT and has no masks of its own, so it is left alone.",
        "The fourteen hidden test cases are not part of the archive.",
        "Both licences forbid to share what was made of the data.",
    ),
)
