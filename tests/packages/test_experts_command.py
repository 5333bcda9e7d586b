from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.paths import EXPERT_JSON, EXPERT_WEIGHTS, LOCATOR_WEIGHTS, MIXTURE_JSON
from tests.packages.conftest import EXPERT, MIXTURE, Site

Captured = pytest.CaptureFixture[str]


def test_list_shows_experts_and_mixtures(ours: Site, capsys: Captured) -> None:
    assert ours.run("list") == 0
    expert, mixture = capsys.readouterr().out.split("\n\n")
    assert expert.startswith("Dataset007_Boxes/boxes (expert)\n")
    assert re.search(r"classes +near\n +configuration +native: 1 mm, 16 voxels a side\n +folds +0 1\n", expert)
    assert re.search(r"dice +0\.\d{3} -> 0\.\d{3} on calibration cases", expert)
    assert re.search(r"weights +0\.\d MB", expert)
    assert mixture.startswith("default (mixture)\n")
    assert "Dataset007_Boxes/boxes\n" in mixture


def test_list_of_nothing_names_the_next_step_and_makes_no_folder(theirs: Site, capsys: Captured) -> None:
    assert theirs.run("list") == 0
    out = capsys.readouterr().out
    assert "no experts of foundation 'nano'" in out
    assert f"sammoe_train_expert -d ID --foundation {theirs.foundation.folder} --results {theirs.results}" in out
    assert not theirs.results.exists()


def test_show_tells_of_training_scores_hash_and_users(ours: Site, capsys: Captured) -> None:
    assert ours.run("show", "7/boxes") == 0
    out = capsys.readouterr().out
    for words in (
        "trained on     Dataset007_Boxes, starting from the general expert",
        "used by        mixture default",
        "origin         trained here",
        "Dice on held-out cases, 1 click:\n  Dataset007_Boxes/near  general_native 0.",
        ", 2 cases\n",
    ):
        assert words in out
    assert re.search(r"fold 1 +SHA-256 [0-9a-f]{64}, iteration \d of 6 kept", out)


def test_show_of_an_installed_mixture_tells_its_licence(mixture_package: Path, theirs: Site, capsys: Captured) -> None:
    theirs.run("install", str(mixture_package))
    capsys.readouterr()
    assert theirs.run("show", "-m", "default") == 0
    out = capsys.readouterr().out
    assert "origin      installed from a package, licence CC-BY-4.0" in out
    assert "Dice on held-out cases, 1 click" in out
    assert re.search(r"mixtures/default/fold_0/gate\.safetensors +[0-9a-f]{64}\n", out)


@pytest.mark.parametrize(
    "words",
    [["show"], ["show", EXPERT, "-m", MIXTURE], ["export", EXPERT], ["install", "x", "--as", "y", "--overwrite"]],
)
def test_words_that_do_not_go_together_are_refused(words: list[str], ours: Site) -> None:
    with pytest.raises(SystemExit):
        ours.run(*words)


def test_user_shares_a_mixture_with_another(ours: Site, theirs: Site, tmp_path: Path) -> None:
    # In processes of their own, where the network of these tests has to be made known first.
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r}); "
        "from sammoe_pipeline.model.build import BUILDERS; from tests.conftest import build_nano; "
        "BUILDERS['nano'] = build_nano; "
        "from sammoe_pipeline.commands.experts import main; sys.exit(main())"
    )

    def run(site: Site, *words: str) -> str:
        variables = {"sammoe_results": str(site.results), "sammoe_default_foundation": str(site.foundation.folder)}
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    exported = run(ours, "export", "-m", "default", "-o", "shared.zip", "--licence", "CC-BY-4.0")
    assert "Mixture default written to shared.zip: 12 files" in exported
    assert exported.endswith("Next:\n  sammoe_experts install shared.zip\n")
    installed = run(theirs, "install", "shared.zip")
    assert "Mixture default is installed, licence CC-BY-4.0" in installed
    assert "sammoe_predict -i IMAGES -o OUTPUT -m default" in installed
    assert "file by file the same. Nothing was changed." in run(theirs, "install", "shared.zip")
    assert "All 12 hashes are those that the cards name." in run(theirs, "verify")


def test_refused_package_ends_with_its_reason(theirs: Site, tmp_path: Path, capsys: Captured) -> None:
    assert theirs.run("install", str(tmp_path / "none.zip")) == 1
    assert "none.zip does not exist" in capsys.readouterr().err


def test_verify_prints_a_line_a_hash(ours: Site, capsys: Captured) -> None:
    assert ours.run("verify") == 0
    lines = capsys.readouterr().out.splitlines()
    # The foundation; two experts and two locators by their cards; these, two gates and a routing set by the mixture's.
    assert [line.split()[0] for line in lines[:-1]] == ["same"] * 12
    assert lines[-1] == "All 12 hashes are those that the cards name."


def test_verify_of_one_looks_at_nothing_else(ours: Site, capsys: Captured) -> None:
    (ours.places.locator_fold("Dataset007_Boxes", 0) / LOCATOR_WEIGHTS).write_bytes(b"")
    assert ours.run("verify", EXPERT) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert ours.run("verify", "-m", MIXTURE) == 1


@pytest.mark.parametrize("content", [b"damaged", None])
def test_verify_names_what_differs_and_who_says_so(content: bytes | None, ours: Site, capsys: Captured) -> None:
    weights = ours.places.expert_fold("Dataset007_Boxes", "boxes", 1) / EXPERT_WEIGHTS
    weights.unlink() if content is None else weights.write_bytes(content)
    assert ours.run("verify") == 1
    found = capsys.readouterr()
    fault = "is missing" if content is None else r"has SHA-256 [0-9a-f]{12}\.\.\., and should have [0-9a-f]{12}\.\.\."
    for says in ("fold_1/expert.json", "default/mixture.json"):
        assert re.search(rf"differs  {re.escape(str(weights))} {fault} \({says}\)\n", found.out)
    assert "2 of 12 files" in found.err


def test_verify_looks_at_the_foundation(ours: Site, tmp_path: Path, capsys: Captured) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(ours.foundation.folder, copied)
    (copied / "weights.safetensors").write_bytes(b"damaged")
    damaged = replace(ours, foundation=replace(ours.foundation, folder=copied))
    assert damaged.run("verify") == 1
    assert f"differs  {copied / 'weights.safetensors'} has SHA-256" in capsys.readouterr().out


def test_verify_names_cards_that_cannot_be_read_or_belong_elsewhere(ours: Site, capsys: Captured) -> None:
    card = ours.places.expert_fold("Dataset007_Boxes", "boxes", 0) / EXPERT_JSON
    card.write_text("{}")
    mixture = ours.places.mixture(MIXTURE) / MIXTURE_JSON
    MixtureCard.load(mixture).model_copy(update={"foundation_sha256": "0" * 64}).save(mixture)
    assert ours.run("verify") == 1
    out = capsys.readouterr().out
    assert f"differs  {card} cannot be read" in out
    assert f"differs  {mixture} belongs to other foundation weights, 000000000000..." in out


def test_expert_of_a_mixture_is_not_removed(ours: Site, capsys: Captured) -> None:
    before = ours.files()
    assert ours.run("remove", EXPERT, "--yes") == 1
    assert "sammoe_experts remove -m default" in capsys.readouterr().err
    assert ours.files() == before


def test_mixture_then_expert_are_removed_and_nothing_else(ours: Site) -> None:
    before = set(ours.files())
    assert ours.run("remove", "-m", MIXTURE, "--yes") == 0
    assert ours.run("remove", EXPERT, "--yes") == 0
    gone = {path for path in before if path.startswith(("nano/mixtures/", f"nano/{EXPERT}/"))}
    assert set(ours.files()) == before - gone != before


def test_mixture_whose_card_is_broken_can_be_removed(ours: Site) -> None:
    (ours.places.mixture(MIXTURE) / MIXTURE_JSON).write_text("{}")
    assert ours.run("remove", "-m", MIXTURE, "--yes") == 0
    assert not ours.places.mixture(MIXTURE).exists()


def test_without_a_terminal_removing_needs_yes(ours: Site, capsys: Captured) -> None:
    assert ours.run("remove", "-m", MIXTURE) == 1
    assert "Say --yes where nobody can be asked" in capsys.readouterr().err
    assert ours.places.mixture(MIXTURE).exists()


@pytest.mark.parametrize(("said", "stays"), [("", True), ("n", True), ("y", False), ("Y", False)])
def test_in_a_terminal_removing_asks(said: str, stays: bool, ours: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: said)
    assert ours.run("remove", "-m", MIXTURE) == 0
    assert ours.places.mixture(MIXTURE).exists() is stays
