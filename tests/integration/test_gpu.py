"""Every stage on a card; run with `pytest -m gpu` where there is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sammoe_pipeline.artefacts import Configuration
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.commands.evaluate import main as sammoe_evaluate
from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.commands.train_expert import main as sammoe_train_expert
from sammoe_pipeline.commands.train_gate import main as sammoe_train_gate
from sammoe_pipeline.evaluation.metrics import dice
from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from tests.integration.conftest import Workspace

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU on this machine"),
]


def test_every_stage_runs_on_the_card(planned: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(planned.root, root)
    workspace = Workspace(root=root, foundation=planned.foundation)
    model = ["--foundation", str(planned.foundation), "-device", "cuda"]
    folders = [flag for flag in workspace.flags if not flag.startswith("--raw")]
    assert sammoe_train_expert(["-d", "7", *folders, *model]) == 0
    assert sammoe_train_gate([*workspace.flags, *model]) == 0
    images = next(root.glob("raw/*/imagesTs"))
    results = f"--results={root / 'results'}"
    assert sammoe_predict(["-i", str(images), "-o", str(tmp_path / "out"), "-d", "7", results, *model]) == 0
    assert sammoe_evaluate([*workspace.flags, *model, "--clicks", "0", "1", "--seeds", "1"]) == 0
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert predictions["provenance"]["device"] == "cuda"


def test_masks_of_card_and_processor_agree(planned: Workspace) -> None:
    image = CaseImage([read_volume(next(planned.root.glob("raw/*/imagesTs/*")))])
    foundation = find_foundation("tiny", planned.root)
    configuration = Configuration(name="native", spacing_mm=3.0, patch_size=foundation.card.patch_size)
    click = Click(position=tuple(n / 2 for n in image.shape))  # type: ignore[arg-type]
    masks = [
        EncodedCase(image, model=foundation.load_model(device), normalisation=foundation.card.normalisation)
        .answer([click], configuration)
        .mask()
        for device in ("cpu", "cuda")
    ]
    agreement = dice(masks[0], masks[1])
    assert agreement is None or agreement >= 0.999
