"""Every format that can be converted, and every phantom that can be made, by its name on the command line."""

from __future__ import annotations

from dataset_conversion.format import Format
from dataset_conversion.formats import (
    acdc,
    amos22,
    bids,
    brats,
    brats_men_rt,
    btcv,
    case_folders,
    chaos,
    dicom,
    flare22,
    han_seg,
    kits23,
    lits,
    msd,
    nnunet_v1,
    nnunet_v2,
    paired,
    sam_med3d,
    segthor,
    sppin2023,
    totalsegmentator,
    verse,
    word,
)

FORMATS: dict[str, Format] = {
    "msd": msd.FORMAT,
    "nnunet_v1": nnunet_v1.FORMAT,
    "nnunet_v2": nnunet_v2.FORMAT,
    "paired": paired.FORMAT,
    "case_folders": case_folders.FORMAT,
    "bids": bids.FORMAT,
    "dicom": dicom.FORMAT,
    "sam_med3d": sam_med3d.FORMAT,
    "totalsegmentator_ct": totalsegmentator.CT,
    "totalsegmentator_mri": totalsegmentator.MRI,
    "amos22_ct": amos22.CT,
    "amos22_mr": amos22.MR,
    "btcv": btcv.FORMAT,
    "flare22": flare22.FORMAT,
    "word": word.FORMAT,
    "chaos_ct": chaos.CT,
    "chaos_mr_t1": chaos.MR_T1,
    "chaos_mr_t2": chaos.MR_T2,
    "kits23": kits23.FORMAT,
    "lits": lits.FORMAT,
    "segthor": segthor.FORMAT,
    "han_seg": han_seg.FORMAT,
    "verse": verse.FORMAT,
    "brats": brats.FORMAT,
    "brats_men_rt": brats_men_rt.FORMAT,
    "acdc": acdc.FORMAT,
    "sppin2023": sppin2023.FORMAT,
}

PHANTOMS: dict[str, str] = {
    "phantom_torso": "made up: CT-like torsos",
    "phantom_head": "made up: MR-like heads",
    "phantom_shapes": "made up: random shapes",
}
"""Summary of each kind of `dataset_conversion.phantoms`, by `phantom_KIND`."""
