"""Every stage as a user runs it, on a dataset small enough for seconds."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline import cli
from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.image_io import read_volume
from tests.integration.conftest import DATASET, Workspace


def _hashes(folder: Path) -> dict[str, str]:
    weights = [path for path in folder.rglob("*.safetensors") if "mixtures" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in weights}


@pytest.fixture(scope="module")
def trained(planned: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after training experts of both folds and the gate."""
    root = tmp_path_factory.mktemp("trained") / "workspace"
    shutil.copytree(planned.root, root)
    workspace = Workspace(root=root, foundation=planned.foundation)
    folders = [flag for flag in workspace.flags if not flag.startswith("--raw")]
    assert cli.train_expert(["-d", "7", *folders, *workspace.model_flags]) == 0
    before = {**_hashes(workspace.results), **_hashes(workspace.foundation)}
    assert cli.train_gate([*workspace.flags, *workspace.model_flags]) == 0
    assert {**_hashes(workspace.results), **_hashes(workspace.foundation)} == before
    return workspace


def test_gate_training_leaves_every_weight_as_it_was_and_seals_it(trained: Workspace) -> None:
    card = MixtureCard.load(trained.results / "mixtures" / "default" / "mixture.json")
    assert card.folds == (0, 1)
    for expert in card.experts:
        for fold, sha256 in expert.sha256.items():
            weights = trained.results / DATASET / expert.task / f"fold_{fold}" / "expert.safetensors"
            assert hashlib.sha256(weights.read_bytes()).hexdigest() == sha256


def test_prediction_without_prompts_lies_on_the_grid_of_the_image(trained: Workspace, tmp_path: Path) -> None:
    image = trained.root / "raw" / DATASET / "imagesTs"
    flags = [f"--results={trained.root / 'results'}", *trained.model_flags]
    assert cli.predict(["-i", str(image), "-o", str(tmp_path), "-d", "7", *flags]) == 0
    given, out = read_volume(image / "new_0000.nii.gz"), read_volume(tmp_path / "new.nii.gz")
    assert out.data.shape == given.data.shape
    np.testing.assert_allclose(out.affine, given.affine, atol=1e-6)
    predictions = json.loads((tmp_path / "predictions.json").read_text())
    assert {target["name"] for target in predictions["cases"][0]["targets"]} == {"ball", "bar"}
    assert predictions["labels"] == {"background": 0, "ball": 1, "bar": 2}


def test_foundation_alone_segments_free_standing_clicks(planned: Workspace, tmp_path: Path) -> None:
    prompts = tmp_path / "new.json"
    target = {"clicks": [{"position": [14, 14, 14]}]}
    prompts.write_text(json.dumps({"frame": "voxel", "targets": [target]}))
    flags = [f"--results={tmp_path / 'results'}", *planned.model_flags, "--prompts", str(prompts)]
    image = planned.root / "raw" / DATASET / "imagesTs" / "new_0000.nii.gz"
    assert cli.predict(["-i", str(image), "-o", str(tmp_path / "out"), *flags]) == 0
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert predictions["labels"] == {"background": 0, "target_1": 1}
    assert predictions["cases"][0]["targets"][0]["chosen"] == "general"


def test_evaluation_writes_tables_and_a_report_of_held_out_cases(trained: Workspace) -> None:
    assert cli.evaluate([*trained.flags, *trained.model_flags, "--clicks", "0", "1", "2", "--seeds", "1"]) == 0
    folder = trained.results / "mixtures" / "default" / "evaluation"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["missing_cases"] == []
    assert {table["clicks"] for table in summary["tables"]} == {0, 1, 2}
    lines = (folder / "cases.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in lines[1:]} == {f"case_{index}" for index in range(6)}
    assert (folder / "report.html").stat().st_size > 10_000


def test_evaluation_asks_every_expert_about_everybody_s_classes(
    trained: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*trained.flags, *trained.model_flags, "--seeds", "1"]
    assert cli.evaluate([*flags, "--forgetting", "--clicks", "2"]) == 1
    assert "Add 1 to --clicks" in capsys.readouterr().err
    assert cli.evaluate([*flags, "--forgetting"]) == 0
    folder = trained.results / "mixtures" / "default" / "evaluation"
    summary = json.loads((folder / "summary.json").read_text())
    for row in summary["forgetting"]:
        assert set(row["experts"]) == set(summary["experts"])
        assert row["oracle_by_prompt"] >= max(row["general"], row["oracle_by_task"], *row["experts"].values()) - 1e-9
        of_task = [one for one in summary["tables"][0]["rows"] if one["task"] == row["task"]]
        own = [one["dice"]["general_native" if row["task"] is None else "expert"] for one in of_task]
        assert row["oracle_by_task"] == pytest.approx(sum(own) / len(own))
    assert (folder / "experts.csv").is_file()
    assert cli.evaluate(flags) == 0
    assert not (folder / "experts.csv").exists()


def test_experts_of_unfinished_folds_are_named(
    planned: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(planned.root, root)
    workspace = Workspace(root=root, foundation=planned.foundation)
    assert cli.train_gate(["-d", "7", *workspace.flags, *workspace.model_flags]) == 1
    message = capsys.readouterr().err
    assert "fold 0" in message and "fold 1" in message and "sammoe_train_expert" in message


def test_unknown_mixture_lists_what_there_is(trained: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    image = trained.root / "raw" / DATASET / "imagesTs"
    flags = [f"--results={trained.root / 'results'}", *trained.model_flags]
    assert cli.predict(["-i", str(image), "-o", str(trained.root / "o"), "-m", "defautl", *flags]) == 1
    assert "Did you mean 'default'?" in capsys.readouterr().err


def test_prompt_outside_the_image_is_refused_before_anything_is_written(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "new.json"
    target = {"class_name": "ball", "clicks": [{"position": [500.0, 0.0, 0.0]}]}
    prompts.write_text(json.dumps({"frame": "RAS", "targets": [target]}))
    image = trained.root / "raw" / DATASET / "imagesTs"
    flags = [f"--results={trained.root / 'results'}", *trained.model_flags, "--prompts", str(prompts)]
    assert cli.predict(["-i", str(image), "-o", str(tmp_path / "out"), *flags]) == 1
    assert "outside the image" in capsys.readouterr().err
    assert not (tmp_path / "out" / "new.nii.gz").exists()
