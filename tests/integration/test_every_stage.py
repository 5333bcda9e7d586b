"""Every stage as a user runs it, on a dataset small enough for seconds."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.artefacts import ExpertCard, MixtureCard, Splits
from sammoe_pipeline.commands.evaluate import main as sammoe_evaluate
from sammoe_pipeline.commands.experts import main as sammoe_experts
from sammoe_pipeline.commands.predict import main as sammoe_predict
from sammoe_pipeline.commands.train_expert import main as sammoe_train_expert
from sammoe_pipeline.commands.train_gate import main as sammoe_train_gate
from sammoe_pipeline.errors import SammoeError
from sammoe_pipeline.evaluation import truth
from sammoe_pipeline.evaluation.surface import MaskScores, score_masks
from sammoe_pipeline.image_io import Volume, read_volume, write_volume
from tests.integration.conftest import DATASET, Workspace

ASKED = ("--clicks", "0", "1", "2", "--seeds", "1", "--tolerance", "4", "bar=2")
"""Flags of the evaluation that tests share."""


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
    assert sammoe_train_expert(["-d", "7", *folders, *workspace.model_flags]) == 0
    before = {**_hashes(workspace.results), **_hashes(workspace.foundation)}
    assert sammoe_train_gate([*workspace.flags, *workspace.model_flags]) == 0
    assert {**_hashes(workspace.results), **_hashes(workspace.foundation)} == before
    return workspace


def test_gate_training_leaves_every_weight_as_it_was_and_seals_it(trained: Workspace) -> None:
    card = MixtureCard.load(trained.results / "mixtures" / "default" / "mixture.json")
    assert card.folds == (0, 1)
    for expert in card.experts:
        for fold, sha256 in expert.sha256.items():
            weights = trained.results / DATASET / expert.task / f"fold_{fold}" / "expert.safetensors"
            assert hashlib.sha256(weights.read_bytes()).hexdigest() == sha256


def test_experts_that_look_a_second_time_can_be_shared(trained: Workspace, tmp_path: Path) -> None:
    cards = [ExpertCard.load(path) for path in trained.results.glob(f"{DATASET}/*/fold_*/expert.json")]
    assert {card.second_look for card in cards} == {True}
    package, foundation = tmp_path / "expert.zip", str(trained.foundation)
    task = f"{DATASET}/{cards[0].task}"
    ours, theirs = (
        ["--foundation", foundation, "--results", str(root)] for root in (trained.root / "results", tmp_path)
    )
    assert sammoe_experts(["export", task, "-o", str(package), *ours]) == 0
    assert sammoe_experts(["install", str(package), *theirs]) == 0
    for path in tmp_path.rglob("expert.safetensors"):
        assert path.read_bytes() == (trained.results / path.relative_to(tmp_path / trained.results.name)).read_bytes()
    assert sammoe_experts(["verify", task, *theirs]) == 0


def test_prediction_without_prompts_lies_on_the_grid_of_the_image(trained: Workspace, tmp_path: Path) -> None:
    image = trained.root / "raw" / DATASET / "imagesTs"
    flags = [f"--results={trained.root / 'results'}", *trained.model_flags]
    assert sammoe_predict(["-i", str(image), "-o", str(tmp_path), "-d", "7", *flags]) == 0
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
    assert sammoe_predict(["-i", str(image), "-o", str(tmp_path / "out"), *flags]) == 0
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert predictions["labels"] == {"background": 0, "target_1": 1}
    assert predictions["cases"][0]["targets"][0]["chosen"] == "general"


@pytest.fixture(scope="module")
def evaluation(trained: Workspace) -> Path:
    """The folder of an evaluation with and without clicks."""
    flags = [*trained.flags, *trained.model_flags, *ASKED]
    assert sammoe_evaluate(flags) == 0
    folder = trained.results / "mixtures" / "default" / "evaluation"
    shutil.copytree(folder, trained.root / "evaluated")
    return trained.root / "evaluated"


def test_evaluation_writes_tables_and_a_report_of_held_out_cases(evaluation: Path) -> None:
    summary = json.loads((evaluation / "summary.json").read_text())
    assert summary["missing_cases"] == []
    assert {table["clicks"] for table in summary["tables"]} == {0, 1, 2}
    lines = (evaluation / "cases.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in lines[1:]} == {f"case_{index}" for index in range(6)}
    assert (evaluation / "report.html").stat().st_size > 10_000
    assert {row["class_name"]: row["tolerance_mm"] for row in summary["tables"][0]["rows"]} == {"ball": 4, "bar": 2}


def test_evaluation_scores_equal_those_of_the_whole_masks(trained: Workspace, evaluation: Path) -> None:
    raw = trained.root / "raw" / DATASET / "labelsTr"
    for row in _rows(evaluation / "cases.csv"):
        voxels = int(
            (read_volume(raw / f"{row['case']}.nii.gz").data == {"ball": 1, "bar": 2}[row["class_name"]]).sum()
        )
        reference_ml, prediction_ml = float(row["reference_ml"]), float(row["prediction_ml"])
        assert reference_ml == pytest.approx(voxels * 0.027)
        assert float(row["volume_error_ml"]) == pytest.approx(abs(prediction_ml - reference_ml), abs=1e-9)
        assert (row["empty"] == "prediction") == (prediction_ml == 0)
        assert row["hd95_mm"] and row["surface_dice"]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_interrupted_evaluation_goes_on_and_ends_alike(
    trained: Workspace, evaluation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sammoe_pipeline.evaluation.case_run import CaseRun

    folder = trained.results / "mixtures" / "default" / "evaluation"
    shutil.rmtree(folder)
    shutil.copytree(evaluation, folder)
    (folder / "finished" / DATASET / "fold_1" / f"{sorted(_cases(folder, 1))[0]}.json").unlink()
    (folder / "summary.json").unlink()
    asked: list[str] = []
    judge = CaseRun.judge

    def watched(self: CaseRun) -> None:
        asked.append(self.labelled.name)
        judge(self)

    monkeypatch.setattr(CaseRun, "judge", watched)
    flags = [*trained.flags, *trained.model_flags, *ASKED]
    assert sammoe_evaluate(flags) == 0
    assert len(asked) == 1
    before, after = (json.loads((path / "summary.json").read_text()) for path in (evaluation, folder))
    for summary in (before, after):
        summary.pop("resources")
        for table in summary["tables"]:
            table.pop("seconds")
    assert after == before
    asked.clear()

    def interrupted(self: CaseRun) -> None:
        raise SammoeError(f"asked {self.labelled.name}")

    monkeypatch.setattr(CaseRun, "judge", interrupted)
    assert sammoe_evaluate(flags) == 0
    assert sammoe_evaluate([*flags, "--seeds", "2"]) == 1  # Other answers: what is finished does not count.
    assert "asked case_" in capsys.readouterr().err


def _cases(evaluation: Path, fold: int) -> set[str]:
    return {path.stem for path in (evaluation / "finished" / DATASET / f"fold_{fold}").glob("*.json")}


def test_the_locator_is_asked_about_classes_that_a_case_lacks(trained: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(trained.root, root)
    workspace = Workspace(root=root, foundation=trained.foundation)
    emptied = Splits.load(root / "preprocessed" / DATASET / "splits_final.json").folds[0].val[:2]
    for case in emptied:
        path = root / "preprocessed" / DATASET / "gt_segmentations" / f"{case}.nii.gz"
        truth = read_volume(path)
        write_volume(path, Volume(data=np.where(truth.data == 1, 0, truth.data), affine=truth.affine))
    flags = [*workspace.flags, *workspace.model_flags, "-f", "0", "--clicks", "0", "1", "--seeds", "1"]
    assert sammoe_evaluate(flags) == 0
    folder = workspace.results / "mixtures" / "default" / "evaluation"
    lacking = [row for row in _rows(folder / "cases.csv") if row["case"] in emptied and row["class_name"] == "ball"]
    assert {row["prompt"] for row in lacking} == {"automatic"}
    assert {row["empty"] for row in lacking} <= {"reference", "both"}
    assert {row["case"] for row in lacking} == set(emptied)
    summary = json.loads((folder / "summary.json").read_text())
    [ball] = [row for row in summary["tables"][0]["rows"] if row["class_name"] == "ball"]
    assert (ball["cases"], ball["absent"]) == (1, 2)


def test_some_cases_may_stand_for_all(trained: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*trained.flags, *trained.model_flags, "--seeds", "1", "--cases"]
    folder = trained.results / "mixtures" / "default" / "evaluation"
    kept = []
    for number in ("1", "2"):
        assert sammoe_evaluate([*flags, number]) == 0
        kept.append({(row["fold"], row["case"]) for row in _rows(folder / "cases.csv")})
    assert [sorted(fold for fold, _ in cases) for cases in kept] == [["0", "1"], ["0", "0", "1", "1"]]
    assert kept[0] < kept[1]
    assert "Asked in at most 2 held-out cases of each dataset and fold alone" in capsys.readouterr().out


def test_routing_is_kept_for_each_number_of_clicks(evaluation: Path) -> None:
    rows = _rows(evaluation / "routing.csv")
    prompts = {count: [(row["case"], row["class_name"]) for row in rows if row["clicks"] == count] for count in "12"}
    assert len(rows) == len(prompts["1"]) + len(prompts["2"])
    assert prompts["1"] == prompts["2"] != []


def test_patients_named_later_are_drawn_without_asking_again(
    trained: Workspace, evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sammoe_pipeline.evaluation.case_run import CaseRun

    folder = trained.results / "mixtures" / "default" / "evaluation"
    shutil.copytree(evaluation, folder, dirs_exist_ok=True)
    monkeypatch.setattr(CaseRun, "judge", lambda self: pytest.fail(f"asked {self.labelled.name}"))
    table = trained.root / "raw" / DATASET / "patients.json"
    table.write_text(json.dumps(dict.fromkeys(_cases(folder, 0), "one") | dict.fromkeys(_cases(folder, 1), "other")))
    try:
        assert sammoe_evaluate([*trained.flags, *trained.model_flags, *ASKED]) == 0
    finally:
        table.unlink()
    by_case, by_patient = (json.loads((path / "summary.json").read_text()) for path in (evaluation, folder))
    assert (by_case["sampling_unit"], by_patient["sampling_unit"]) == ("cases", "patients")
    assert "95 % intervals over patients" in (folder / "report.html").read_text()
    before, after = (one["tables"][0]["rows"][0]["scored"]["means"]["dice"]["general"] for one in (by_case, by_patient))
    assert after["mean"] == before["mean"]
    assert after["interval"] != before["interval"]


def test_a_fold_that_the_mixture_lacks_is_refused(trained: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert sammoe_evaluate([*trained.flags, *trained.model_flags, "-f", "0", "9"]) == 1
    assert "-f 9: mixture 'default' has folds 0, 1." in capsys.readouterr().err


def test_a_tolerance_of_no_class_is_refused(trained: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert sammoe_evaluate([*trained.flags, *trained.model_flags, "--tolerance", "bal=2"]) == 1
    assert "Did you mean 'ball'?" in capsys.readouterr().err


def test_evaluation_asks_every_expert_about_everybody_s_classes(
    trained: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*trained.flags, *trained.model_flags, "--seeds", "1"]
    assert sammoe_evaluate([*flags, "--forgetting", "--clicks", "2"]) == 1
    assert "Add 1 to --clicks" in capsys.readouterr().err
    assert sammoe_evaluate([*flags, "--forgetting"]) == 0
    folder = trained.results / "mixtures" / "default" / "evaluation"
    summary = json.loads((folder / "summary.json").read_text())
    for row in (row for row in summary["forgetting"] if row["metric"] == "dice"):
        assert set(row["experts"]) == set(summary["experts"])
        assert row["oracle_by_prompt"] >= max(row["general"], row["oracle_by_task"], *row["experts"].values()) - 1e-9
        of_task = [one for one in summary["tables"][0]["rows"] if one["task"] == row["task"]]
        dice = [one["scored"]["means"]["dice"] for one in of_task]
        own = [one["general_native" if row["task"] is None else "expert"]["mean"] for one in dice]
        assert row["oracle_by_task"] == pytest.approx(sum(own) / len(own))
        assert {"oracle_by_task", "oracle_by_prompt"} <= dice[0].keys()
    assert (folder / "experts.csv").is_file()
    assert summary["forgetting_cases"] is None
    assert sammoe_evaluate([*flags, "--forgetting", "1"]) == 0
    assert len({(row["fold"], row["case"]) for row in _rows(folder / "experts.csv")}) == len(summary["folds"])
    some = json.loads((folder / "summary.json").read_text())
    assert some["forgetting_cases"] == 1
    assert some["forgetting"]
    # Means over one case would not stand beside means over all.
    assert all("oracle_by_prompt" not in row["scored"]["means"]["dice"] for row in some["tables"][0]["rows"])
    assert "in at most 1 held-out case of each dataset and fold" in (folder / "report.html").read_text()
    assert sammoe_evaluate(flags) == 0
    assert not (folder / "experts.csv").exists()


def test_mixture_of_one_expert_leaves_the_classes_of_the_other_to_the_general_expert(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(trained.root, root)
    workspace = Workspace(root=root, foundation=trained.foundation)
    flags = ["-m", "one", *workspace.flags, *workspace.model_flags]
    whole = MixtureCard.load(workspace.results / "mixtures" / "default" / "mixture.json")
    joined, left_out = (f"{expert.dataset}/{expert.task}" for expert in whole.experts)
    assert sammoe_train_gate([*flags, "--experts", joined]) == 0
    card = MixtureCard.load(workspace.results / "mixtures" / "one" / "mixture.json")
    assert [f"{expert.dataset}/{expert.task}" for expert in card.experts] == [joined]
    assert {name for name, key in card.datasets[0].experts.items() if key == joined} == set(whole.experts[0].classes)
    assert set(card.datasets[0].experts) == set(whole.experts[0].classes)

    scored: list[MaskScores] = []
    monkeypatch.setattr(
        truth, "score_masks", lambda *masks, **of: scored.append(score_masks(*masks, **of)) or scored[-1]
    )
    assert sammoe_evaluate([*flags, "--seeds", "1"]) == 0
    folder = workspace.results / "mixtures" / "one" / "evaluation"
    tasks = {row["class_name"]: row["task"] for row in _rows(folder / "routing.csv")}
    # Where the mixture passes on what another method answered, the same mask is not scored twice.
    answered = [row for row in _rows(folder / "cases.csv") if not row["method"].startswith("oracle")]
    assert len(scored) <= 3 / 4 * len(answered)
    assert {name for name, task in tasks.items() if not task} == set(whole.experts[1].classes)

    capsys.readouterr()
    assert sammoe_train_gate([*flags, "--experts", f"{left_out}s"]) == 1
    assert f"Did you mean '{left_out}'?" in capsys.readouterr().err


def test_experts_of_unfinished_folds_are_named(
    planned: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(planned.root, root)
    workspace = Workspace(root=root, foundation=planned.foundation)
    assert sammoe_train_gate(["-d", "7", *workspace.flags, *workspace.model_flags]) == 1
    message = capsys.readouterr().err
    assert "fold 0" in message and "fold 1" in message and "sammoe_train_expert" in message


def test_unknown_mixture_lists_what_there_is(trained: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    image = trained.root / "raw" / DATASET / "imagesTs"
    flags = [f"--results={trained.root / 'results'}", *trained.model_flags]
    assert sammoe_predict(["-i", str(image), "-o", str(trained.root / "o"), "-m", "defautl", *flags]) == 1
    assert "Did you mean 'default'?" in capsys.readouterr().err


def test_prompt_outside_the_image_is_refused_before_anything_is_written(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "new.json"
    target = {"class_name": "ball", "clicks": [{"position": [500.0, 0.0, 0.0]}]}
    prompts.write_text(json.dumps({"frame": "RAS", "targets": [target]}))
    image = trained.root / "raw" / DATASET / "imagesTs"
    flags = [f"--results={trained.root / 'results'}", *trained.model_flags, "--prompts", str(prompts)]
    assert sammoe_predict(["-i", str(image), "-o", str(tmp_path / "out"), *flags]) == 1
    assert "outside the image" in capsys.readouterr().err
    assert not (tmp_path / "out" / "new.nii.gz").exists()
