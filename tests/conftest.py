"""Fixtures that several test modules use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real labelled volumes beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real volumes (../shared/data beside the repository) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def tiny_foundation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a foundation with the `tiny` network and random weights: for what does not depend on good masks."""
    import torch
    from safetensors.torch import save_file

    from sammoe_pipeline.artefacts import FoundationCard, sha256_of
    from sammoe_pipeline.model import build_sam_med3d
    from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATION_WEIGHTS

    folder = tmp_path_factory.mktemp("foundations") / "random"
    folder.mkdir()
    torch.manual_seed(0)
    model = build_sam_med3d("tiny")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / FOUNDATION_WEIGHTS)
    FoundationCard(
        name="random",
        builder="tiny",
        spacing_mm=3.0,
        patch_size=model.patch_size,
        normalisation="equalised",
        trained_on=(),
        sha256=sha256_of(folder / FOUNDATION_WEIGHTS),
        licence="Apache-2.0",
        source="random weights",
    ).save(folder / FOUNDATION_JSON)
    return folder
