"""Foundations that others published, by the name under which `sammoe_foundation download` installs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PublishedFoundation:
    """Where a published foundation lies and what is known about it.

    Attributes:
        repository: on the Hugging Face hub.
        file: within the repository.
        builder: name in `sammoe_pipeline.model.BUILDERS`.
        spacing_mm: native isotropic spacing.
        patch_size: voxels a side of the input.
        normalisation: name in `sammoe_pipeline.normalisation.NORMALISATIONS`.
        trained_on: datasets whose cases it has seen, as its authors call them.
        licence: of the weights, an SPDX identifier.
        megabytes: of the weights once they are installed.
    """

    repository: str
    file: str
    builder: str
    spacing_mm: float
    patch_size: int
    normalisation: Literal["positive", "equalised"]
    trained_on: tuple[str, ...]
    licence: str
    megabytes: int


# The authors' list: https://github.com/uni-medical/SAM-Med3D/issues/39
_TURBO_DATASETS = (
    "AMOS2022 ATM2022 AbdomenCT1K BTCV_Cervix BraTS2020 BraTS2021 BrainTumour Brain_PTM CAUSE07 CHAOS_Task_4 "
    "COSMOS2022 COVID19CTscans CTPelvic1k CT_ORG FLARE21 FLARE22 Heart_Seg_MRI ISLES_SISS ISLES_SPES KiPA22 KiTS "
    "KiTS2021 LAScarQS22_task1 LAScarQS22_task2 LITS MMWHS MSD_Colon MSD_HepaticVessel MSD_Liver MSD_Pancreas "
    "MSD_Prostate MSD_Spleen PROMISE12 Parse22 Promise09 Prostate_MRI_Segmentation_Dataset SLIVER07 STACOM_SLAWT "
    "SegThor Totalsegmentator_dataset VESSEL2012 VerSe19 VerSe20 WORD"
)

PUBLISHED: dict[str, PublishedFoundation] = {
    "sam_med3d_turbo": PublishedFoundation(
        repository="blueyo0/SAM-Med3D",
        file="sam_med3d_turbo.pth",
        builder="vit_b",
        spacing_mm=1.5,
        patch_size=128,
        normalisation="positive",
        trained_on=("SA-Med3D-140K", *_TURBO_DATASETS.split()),
        licence="Apache-2.0",
        megabytes=402,
    ),
}
