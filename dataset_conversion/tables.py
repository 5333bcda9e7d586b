"""Label values and class names of public datasets, as their makers publish them."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _numbered(names: str) -> dict[int, str]:
    return dict(enumerate(_words(names), start=1))


def _vertebrae(letter: str, numbers: range) -> str:
    return " ".join(f"vertebrae_{letter}{number}" for number in numbers)


def _pairs(names: str) -> str:
    return " ".join(f"{name}_left {name}_right" for name in names.split())


TOTALSEGMENTATOR_CT = _words(
    f"""
    spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left
    lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right
    esophagus trachea thyroid_gland small_bowel duodenum colon urinary_bladder prostate kidney_cyst_left
    kidney_cyst_right sacrum vertebrae_S1 {_vertebrae("L", range(5, 0, -1))} {_vertebrae("T", range(12, 0, -1))}
    {_vertebrae("C", range(7, 0, -1))} heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right
    subclavian_artery_left common_carotid_artery_right common_carotid_artery_left brachiocephalic_vein_left
    brachiocephalic_vein_right atrial_appendage_left superior_vena_cava inferior_vena_cava
    portal_vein_and_splenic_vein {_pairs("iliac_artery iliac_vena humerus scapula clavicula femur hip")} spinal_cord
    {_pairs("gluteus_maximus gluteus_medius gluteus_minimus autochthon iliopsoas")} brain skull
    {" ".join(f"rib_left_{number}" for number in range(1, 13))}
    {" ".join(f"rib_right_{number}" for number in range(1, 13))} sternum costal_cartilages
    """
)
"""Masks of version 2, in the order of the `total` task of the TotalSegmentator software."""

TOTALSEGMENTATOR_MRI = _words(
    f"""
    spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left lung_left
    lung_right esophagus small_bowel duodenum colon urinary_bladder prostate sacrum vertebrae intervertebral_discs
    spinal_cord heart aorta inferior_vena_cava portal_vein_and_splenic_vein
    {_pairs("iliac_artery iliac_vena humerus scapula clavicula femur hip gluteus_maximus gluteus_medius")}
    {_pairs("gluteus_minimus autochthon iliopsoas")} brain
    """
)
"""Masks of version 2 of the MRI set, in the order of the software's `total_mr` task."""

AMOS22 = _numbered(
    "spleen right_kidney left_kidney gallbladder esophagus liver stomach aorta postcava pancreas right_adrenal_gland "
    "left_adrenal_gland duodenum bladder prostate_or_uterus"
)
BTCV = _numbered(
    "spleen right_kidney left_kidney gallbladder esophagus liver stomach aorta inferior_vena_cava "
    "portal_vein_and_splenic_vein pancreas right_adrenal_gland left_adrenal_gland"
)
FLARE22 = _numbered(
    "liver right_kidney spleen pancreas aorta inferior_vena_cava right_adrenal_gland left_adrenal_gland gallbladder "
    "esophagus stomach duodenum left_kidney"
)
WORD = _numbered(
    "liver spleen left_kidney right_kidney stomach gallbladder esophagus pancreas duodenum colon intestine adrenal "
    "rectum bladder left_head_of_femur right_head_of_femur"
)
KITS23 = _numbered("kidney tumor cyst")
LITS = _numbered("liver tumor")
SEGTHOR = _numbered("esophagus heart trachea aorta")
ACDC = _numbered("right_ventricle myocardium left_ventricle")
CHAOS_CT = dict.fromkeys(range(1, 256), "liver")
CHAOS_MR = {
    **dict.fromkeys(range(55, 71), "liver"),
    **dict.fromkeys(range(110, 136), "right_kidney"),
    **dict.fromkeys(range(175, 201), "left_kidney"),
    **dict.fromkeys(range(240, 256), "spleen"),
}
"""Gray values: the ranges that the challenge gives."""
SPPIN2023 = {1: "neuroblastoma"}
BRATS_2021 = {1: "necrotic_tumor_core", 2: "edema", 4: "enhancing_tumor"}
BRATS_2023 = {1: "non_enhancing_tumor_core", 2: "surrounding_flair_hyperintensity", 3: "enhancing_tumor"}
BRATS_2024_GLI = {**BRATS_2023, 4: "resection_cavity"}
BRATS_MEN_RT = {1: "gross_tumor_volume"}
VERSE = {
    **_numbered(
        f"{_vertebrae('C', range(1, 8))} {_vertebrae('T', range(1, 13))} {_vertebrae('L', range(1, 7))}".replace(
            "vertebrae", "vertebra"
        )
    ),
    28: "vertebra_T13",
}
HAN_SEG = _words(
    """
    A_Carotid_L A_Carotid_R Arytenoid Bone_Mandible Brainstem BuccalMucosa Cavity_Oral Cochlea_L Cochlea_R
    Cricopharyngeus Esophagus_S Eye_AL Eye_AR Eye_PL Eye_PR Glnd_Lacrimal_L Glnd_Lacrimal_R Glnd_Submand_L
    Glnd_Submand_R Glnd_Thyroid Glottis Larynx_SG Lips OpticChiasm OpticNrv_L OpticNrv_R Parotid_L Parotid_R Pituitary
    SpinalCord
    """
)
