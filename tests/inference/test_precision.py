from pathlib import Path

from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.protocol_parity import made_up_volume, usual_clicks


def test_masks_of_the_bundled_foundation_are_the_same_in_bfloat16(tmp_path: Path) -> None:
    foundation = find_foundation("tiny", tmp_path)
    image = CaseImage([made_up_volume()])
    exact, rounded = (
        EncodedCase(image, model=foundation.load_model("cpu", options), normalisation=foundation.card.normalisation)
        for options in (EXACT, EncoderOptions(precision="bfloat16"))
    )
    for click in usual_clicks(image.shape, foundation.card.patch_size):
        masks = [case.answer([click], foundation.native).mask() for case in (exact, rounded)]
        assert masks[0].any()
        agreement = dice(masks[0], masks[1])
        assert agreement is not None and agreement >= 0.999
