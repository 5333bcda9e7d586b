from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sammoe_pipeline.artefacts import ExpertCard, sha256_of
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.packages.export import export_expert
from sammoe_pipeline.packages.inventory import find_expert
from sammoe_pipeline.packages.manifest import PackageManifest
from sammoe_pipeline.paths import EXPERT_JSON, EXPERT_WEIGHTS, MANIFEST_JSON
from tests.packages.conftest import EXPERT, MACHINE, PATIENT, Site, members


def manifest_in(path: Path) -> PackageManifest:
    return PackageManifest.parse(members(path)[MANIFEST_JSON], origin=str(path))


def export(site: Site, path: Path, *, licence: str | None = None) -> PackageManifest:
    expert = find_expert(EXPERT, site.places)
    return export_expert(expert, path, foundation=site.foundation, places=site.places, licence=licence)


@pytest.mark.parametrize("package", ["expert_package", "mixture_package"])
def test_no_byte_of_a_package_tells_of_cases_folders_or_users(
    package: str, request: pytest.FixtureRequest, ours: Site
) -> None:
    # The words are there to be found: in splits, logs of training, and tables of the evaluation.
    everything = b"".join(path.read_bytes() for path in ours.results.rglob("*") if path.is_file())
    assert PATIENT.encode() in everything
    path = request.getfixturevalue(package)
    told = {"the archive itself": path.read_bytes(), **members(path)}
    words = [PATIENT, MACHINE, str(ours.results.parent), str(Path.home()), str(Path.cwd()), f"/{getpass.getuser()}/"]
    found = [(name, word) for name, content in told.items() for word in words if word.encode() in content]
    assert len(told) > 4
    assert found == []


def test_expert_is_its_weights_and_cards(expert_package: Path, ours: Site) -> None:
    folder = "Dataset007_Boxes/boxes"
    assert set(members(expert_package)) == {
        MANIFEST_JSON,
        *(f"{folder}/fold_{fold}/{name}" for fold in (0, 1) for name in (EXPERT_JSON, EXPERT_WEIGHTS)),
    }
    weights = (ours.places.expert_fold("Dataset007_Boxes", "boxes", 1) / EXPERT_WEIGHTS).read_bytes()
    assert members(expert_package)[f"{folder}/fold_1/{EXPERT_WEIGHTS}"] == weights


def test_mixture_brings_gates_experts_locators_and_routing_sets(mixture_package: Path) -> None:
    names = {name.rpartition("/")[2] for name in members(mixture_package)}
    assert names == {
        "manifest.json", "mixture.json", "gate.safetensors", "expert.json", "expert.safetensors", "locator.json",
        "locator.safetensors", "routing.safetensors",
    }  # fmt: skip


def test_manifest_says_what_the_package_belongs_to(expert_package: Path, ours: Site) -> None:
    manifest, card = manifest_in(expert_package), ours.foundation.card
    assert (manifest.kind, manifest.name, manifest.licence) == ("expert", EXPERT, "CC-BY-4.0")
    assert (manifest.foundation.name, manifest.foundation.sha256) == (card.name, card.sha256)
    lengths = {name: len(content) for name, content in members(expert_package).items() if name != MANIFEST_JSON}
    assert {file.path: file.size_bytes for file in manifest.files} == lengths


def test_scores_are_held_out_ones_where_the_mixture_was_evaluated(expert_package: Path, mixture_package: Path) -> None:
    of_expert, of_mixture = manifest_in(expert_package).scores, manifest_in(mixture_package).scores
    assert of_expert.scored_on == of_mixture.scored_on == "held-out cases"
    assert [(score.class_name, score.cases) for score in of_expert.classes] == [("near", 2)]
    assert {score.class_name: score.expert for score in of_mixture.classes} == {"near": EXPERT, "far": None}
    assert of_expert.classes[0].dice.keys() == {"general_native", "general", "expert", "mixture"}


def test_scores_without_an_evaluation_are_means_over_calibration_folds(ours: Site, tmp_path: Path) -> None:
    (ours.places.mixture("default") / "evaluation" / "summary.json").unlink()
    scores = export(ours, tmp_path / "e.zip").scores
    cards = [
        ExpertCard.load(ours.places.expert_fold("Dataset007_Boxes", "boxes", fold) / EXPERT_JSON) for fold in (0, 1)
    ]
    assert scores.scored_on == "calibration cases"
    assert scores.classes[0].dice == {
        "general": pytest.approx(sum(card.general_calibration_dice["near"] for card in cards) / 2),
        "expert": pytest.approx(sum(card.calibration_dice["near"] for card in cards) / 2),
    }


def test_evaluation_of_an_earlier_gate_does_not_count(ours: Site, tmp_path: Path) -> None:
    (ours.places.mixture("default") / "mixture.json").touch()
    assert export(ours, tmp_path / "e.zip").scores.scored_on == "calibration cases"


def test_same_expert_gives_the_same_bytes(ours: Site, tmp_path: Path) -> None:
    export(ours, tmp_path / "one.zip")
    export(ours, tmp_path / "two.zip")
    assert sha256_of(tmp_path / "one.zip") == sha256_of(tmp_path / "two.zip")


def test_weights_that_were_changed_are_not_shared(ours: Site, tmp_path: Path) -> None:
    weights = ours.places.expert_fold("Dataset007_Boxes", "boxes", 0) / EXPERT_WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(ArtefactError, match="was changed"):
        export(ours, tmp_path / "e.zip")
    assert not (tmp_path / "e.zip").exists()


def test_notes_in_weights_are_not_shared(ours: Site, tmp_path: Path) -> None:
    folder = ours.places.expert_fold("Dataset007_Boxes", "boxes", 0)
    save_file(load_file(folder / EXPERT_WEIGHTS), folder / EXPERT_WEIGHTS, metadata={"trained_on": PATIENT})
    card = ExpertCard.load(folder / EXPERT_JSON)
    card.model_copy(update={"sha256": sha256_of(folder / EXPERT_WEIGHTS)}).save(folder / EXPERT_JSON)
    with pytest.raises(ArtefactError, match="carries notes"):
        export(ours, tmp_path / "e.zip")


def test_expert_of_other_foundation_weights_is_refused(ours: Site, tmp_path: Path) -> None:
    card = ours.foundation.card.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ArtefactError, match=r"not to 'nano' \(000000000000"):
        export(replace(ours, foundation=replace(ours.foundation, card=card)), tmp_path / "e.zip")


def test_licence_is_not_known_unless_it_is_said(ours: Site, tmp_path: Path) -> None:
    assert export(ours, tmp_path / "e.zip").licence == "unknown"


def test_folder_in_place_of_a_file_is_refused(ours: Site, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="that is a folder"):
        export(ours, tmp_path)
