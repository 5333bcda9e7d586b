from pathlib import Path

from sammoe_pipeline.encoder_options import EXACT, EncoderOptions
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.protocol_parity import made_up_volume


def test_bfloat16_changes_the_embedding_of_the_bundled_foundation_by_less_than_a_hundredth(tmp_path: Path) -> None:
    """What that does to masks is measured on real volumes by `tests.benchmarks.precision_masks`."""
    foundation = find_foundation("tiny", tmp_path)
    image = CaseImage([made_up_volume()])
    exact, rounded = (
        EncodedCase(image, model=foundation.load_model("cpu", options), normalisation=foundation.card.normalisation)
        .at(foundation.native)
        .embedding((0, 0, 0))
        for options in (EXACT, EncoderOptions(precision="bfloat16"))
    )
    assert 0 < (exact - rounded).norm() < 0.01 * exact.norm()
