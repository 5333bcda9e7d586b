from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sammoe_pipeline import protocol_parity
from sammoe_pipeline.artefacts import FoundationCard
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.commands.foundation import main
from sammoe_pipeline.foundations import DEFAULT_VARIABLE, Foundation
from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATIONS
from tests.sammoe_pipeline.hub_server import HubServer, serve


@pytest.fixture
def checkpoint(nano_foundation: Foundation, tmp_path: Path) -> Path:
    """A `.pth` of a `nano`."""
    path = tmp_path / "my model.pth"
    torch.save({"model_state_dict": load_file(nano_foundation.weights)}, path)
    return path


def agreement(*, differing: int) -> protocol_parity.Agreement:
    mask = torch.ones(2, 2, 2, dtype=torch.bool)
    return protocol_parity.Agreement(
        precision=torch.float32,
        click=Click(position=(1.0, 2.0, 3.0)),
        ours=mask,
        theirs=mask,
        differing=differing,
        largest_difference=1e-6,
    )


def run(results: Path, *words: str) -> int:
    return main([*words, "--results", str(results)])


def convert(results: Path, checkpoint: Path, *words: str) -> int:
    return run(results, "convert", "--from", str(checkpoint), "--builder", "nano", *words)


def test_list_shows_bundled_and_downloadable_foundations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "list") == 0
    out = capsys.readouterr().out
    bundled, published = out.split("sam_med3d_turbo (to download: sammoe_foundation download sam_med3d_turbo)")
    assert bundled.startswith("tiny (bundled, the default)\n")
    assert "tiny, 48 voxels a side at 3 mm" in bundled
    assert "SHA-256 " in bundled
    assert re.search(r"trained on Dataset\d+_\w+, Dataset\d+_\w+", bundled)
    for words in ("vit_b, 128 voxels a side at 1.5 mm", "402 MB", "Apache-2.0", "SA-Med3D-140K", "and 42 more"):
        assert words in published


def test_list_makes_no_folder(tmp_path: Path) -> None:
    run(tmp_path / "results", "list")
    assert not (tmp_path / "results").exists()


def test_list_shows_installed_foundations_and_the_default(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(tmp_path, checkpoint, "--name", "mine", "--licence", "CC0-1.0")
    monkeypatch.setenv(DEFAULT_VARIABLE, "mine")
    capsys.readouterr()
    run(tmp_path, "list")
    out = capsys.readouterr().out
    assert out.startswith("mine (installed, the default)\n")
    assert "CC0-1.0" in out
    assert "tiny (bundled)\n" in out


def test_list_names_a_broken_foundation_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FOUNDATIONS / "bad").mkdir(parents=True)
    (tmp_path / FOUNDATIONS / "bad" / FOUNDATION_JSON).write_text("{}")
    assert run(tmp_path, "list") == 0
    out = capsys.readouterr().out
    assert "not a valid FoundationCard" in out
    assert "tiny (bundled" in out


def test_convert_installs_under_the_files_name(checkpoint: Path, tmp_path: Path) -> None:
    assert convert(tmp_path, checkpoint) == 0
    card = FoundationCard.load(tmp_path / FOUNDATIONS / "my_model" / FOUNDATION_JSON)
    assert card.name == "my_model"
    assert card.source.startswith("my model.pth, SHA-256 ")


def test_converted_foundation_is_verified_and_named_in_the_next_command(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(tmp_path, checkpoint, "--name", "mine", "--trained_on", "Dataset007_Boxes")
    out = capsys.readouterr().out
    assert f"\n  sammoe_foundation verify mine --results {tmp_path}\n" in out
    assert f"\n  sammoe_plan_and_preprocess -d ID --foundation mine --results {tmp_path}\n" in out
    assert run(tmp_path, "verify", "mine") == 0
    assert "'mine' is whole" in capsys.readouterr().out


def test_convert_never_overwrites(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(tmp_path, checkpoint, "--name", "mine")
    card = (tmp_path / FOUNDATIONS / "mine" / FOUNDATION_JSON).read_bytes()
    assert convert(tmp_path, checkpoint, "--name", "mine", "--licence", "another") == 1
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / FOUNDATIONS / "mine" / FOUNDATION_JSON).read_bytes() == card


@pytest.mark.parametrize(
    ("name", "message"), [("tiny", "never overwritten"), ("../x", "'_' and '-' only"), (".hidden", "'_' and '-' only")]
)
def test_convert_refuses_names_that_would_mislead(
    name: str, message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(tmp_path / "results", checkpoint, "--name", name) == 1
    assert message in capsys.readouterr().err


def test_convert_refuses_a_spacing_that_is_none(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        convert(tmp_path, checkpoint, "--spacing", "0")
    assert "argument --spacing: 0 is no finite number above 0" in capsys.readouterr().err


def test_convert_without_its_file_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(tmp_path, tmp_path / "none.pth") == 1
    assert "none.pth does not exist" in capsys.readouterr().err


def test_download_asks_the_hub_of_the_environment(tmp_path: Path) -> None:
    code = "import sys; from sammoe_pipeline.commands.foundation import main; sys.exit(main())"
    with serve(HubServer(repository="none/none", file="none", content=b"")) as hub:
        # In a process of its own, since the variable is read when the hub's package is first imported.
        done = subprocess.run(
            [sys.executable, "-c", code, "download", "sam_med3d_turbo", "--results", str(tmp_path)],
            env={**os.environ, "HF_ENDPOINT": hub.endpoint, "NO_PROXY": "127.0.0.1,localhost"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "/blueyo0/SAM-Med3D/resolve/main/sam_med3d_turbo.pth" in [path for _, path, _ in hub.requests]
    assert done.returncode == 1
    assert f"{hub.endpoint}/blueyo0/SAM-Med3D/resolve/main/sam_med3d_turbo.pth could not be downloaded" in done.stderr


def test_verify_without_a_name_takes_the_default(
    nano_foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEFAULT_VARIABLE, str(nano_foundation.folder))
    assert run(tmp_path, "verify") == 0
    assert "'nano' is whole" in capsys.readouterr().out


def test_verify_finds_values_that_are_not_finite(
    nano_foundation: Foundation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(nano_foundation.weights)
    weights["mask_decoder.mask_tokens.weight"][0, 3] = torch.nan
    torch.save(weights, tmp_path / "bad.pth")
    convert(tmp_path, tmp_path / "bad.pth")
    assert run(tmp_path, "verify", "bad") == 1
    assert "NaN or infinite, in mask_decoder.mask_tokens.weight" in capsys.readouterr().err


def test_parity_is_for_the_network_that_medim_has(
    nano_foundation: Foundation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "verify", str(nano_foundation.folder), "--against_medim") == 1
    assert "'nano' is a nano; medim has only vit_b" in capsys.readouterr().err


def test_parity_prints_each_click_and_ends_well_where_the_masks_are_the_same(
    nano_foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protocol_parity, "PUBLIC_BUILDER", "nano")
    monkeypatch.setattr(protocol_parity, "public_network", lambda _: None)
    monkeypatch.setattr(protocol_parity, "compare", lambda *_, **__: [agreement(differing=0), agreement(differing=0)])
    assert run(tmp_path, "verify", str(nano_foundation.folder), "--against_medim") == 0
    out = capsys.readouterr().out
    assert out.count("click at (1.0, 2.0, 3.0): 8 voxels by medim, 0 differ") == 2
    assert "The masks are those of medim." in out


def test_parity_fails_where_a_voxel_differs(
    nano_foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(protocol_parity, "PUBLIC_BUILDER", "nano")
    monkeypatch.setattr(protocol_parity, "public_network", lambda _: None)
    monkeypatch.setattr(protocol_parity, "compare", lambda *_, **__: [agreement(differing=0), agreement(differing=5)])
    assert run(tmp_path, "verify", str(nano_foundation.folder), "--against_medim") == 1
    assert "differ from those of medim in 5 voxels" in capsys.readouterr().err


def test_image_without_parity_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "verify", "tiny", "-i", "x.nii.gz") == 1
    assert "only with --against_medim" in capsys.readouterr().err
