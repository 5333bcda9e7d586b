from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from planning.candidate_experts import find_candidates
from sammoe_pipeline.artefacts import ExpertCard, MixtureCard, sha256_of
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.packages.export import export_expert
from sammoe_pipeline.packages.install import Installed, install_package
from sammoe_pipeline.packages.inventory import find_expert
from sammoe_pipeline.packages.manifest import PackageManifest
from sammoe_pipeline.paths import EXPERT_JSON, EXPERT_WEIGHTS, MANIFEST_JSON, MIXTURE_JSON
from sammoe_pipeline.training.train_gate import train_gate
from tests.conftest import Workspace
from tests.packages.conftest import EXPERT, MIXTURE, Site

DATASET = "Dataset007_Boxes"


def install(path: Path, site: Site, *, name: str | None = None, overwrite: bool = False) -> Installed:
    return install_package(path, foundation=site.foundation, places=site.places, name=name, overwrite=overwrite)


def change_weights(site: Site, fold: int = 0) -> Path:
    """Makes an expert of a site another one, its card included."""
    folder = site.places.expert_fold(DATASET, "boxes", fold)
    content = (folder / EXPERT_WEIGHTS).read_bytes()
    (folder / EXPERT_WEIGHTS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    card = ExpertCard.load(folder / EXPERT_JSON)
    card.model_copy(update={"sha256": sha256_of(folder / EXPERT_WEIGHTS)}).save(folder / EXPERT_JSON)
    return folder


def answer(site: Site, name: str, image: CaseImage) -> tuple[dict[str, float], torch.Tensor, torch.Tensor]:
    """Returns confidences, the expert's logits and the mixture's for one click."""
    mixture = Mixture.load(name, foundation=site.foundation, results=site.results, device="cpu")
    case, clicks = mixture.encode(image), [Click(position=(6.0, 7.0, 8.0))]
    routing = mixture.route(case, clicks)
    logits = mixture.answer(case, clicks, routing, general_configuration=site.foundation.native).logits
    return routing.confidences, mixture.expert_answer(case, clicks, EXPERT).logits, logits


@pytest.fixture
def image(shared_workspace: Workspace) -> CaseImage:
    return CaseImage([read_volume(path) for path in shared_workspace.raw.training_cases[0].images])


@pytest.mark.parametrize("name", [MIXTURE, "renamed"])
def test_installed_mixture_answers_to_the_bit_as_it_did(
    name: str, mixture_package: Path, ours: Site, theirs: Site, image: CaseImage
) -> None:
    install(mixture_package, theirs, name=name)
    confidences, of_expert, of_mixture = answer(theirs, name, image)
    before = answer(ours, MIXTURE, image)
    assert confidences == before[0]
    assert torch.equal(of_expert, before[1])
    assert torch.equal(of_mixture, before[2])


def test_installed_locators_are_those_of_the_mixture(mixture_package: Path, ours: Site, theirs: Site) -> None:
    install(mixture_package, theirs)
    first, second = (
        Mixture.load(MIXTURE, foundation=site.foundation, results=site.results, device="cpu").locators[DATASET]
        for site in (ours, theirs)
    )
    assert len(first) == len(second) == 2
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(a.state_dict()[name], value) for name, value in b.state_dict().items())


def test_installed_expert_is_a_candidate_of_planning(expert_package: Path, theirs: Site, tmp_path: Path) -> None:
    install(expert_package, theirs)
    found = find_candidates(
        "Dataset008_Mine", theirs.foundation, results=theirs.results, preprocessed=tmp_path / "none"
    )
    assert [candidate.entry.expert for candidate in found] == [EXPERT]
    assert found[0].weights.is_file()


def test_installed_expert_joins_a_mixture_where_its_dataset_is_planned(
    expert_package: Path, mixture_package: Path, shared_workspace: Workspace, theirs: Site
) -> None:
    install(expert_package, theirs)
    install(mixture_package, theirs)  # brings the locators
    card = train_gate(
        [shared_workspace.planned],
        [shared_workspace.raw],
        name="again",
        folds=[0],
        foundation=theirs.foundation,
        results=theirs.results,
        max_general_loss=0.1,
        seed=0,
        device="cpu",
    )
    assert [expert.task for expert in card.experts] == ["boxes"]


def test_installed_parts_keep_the_manifest(expert_package: Path, theirs: Site) -> None:
    install(expert_package, theirs)
    manifest = PackageManifest.load(theirs.places.expert_fold(DATASET, "boxes", 1) / MANIFEST_JSON)
    assert (manifest.name, manifest.licence, manifest.scores.scored_on) == (EXPERT, "CC-BY-4.0", "held-out cases")


def test_package_of_what_was_installed_is_the_package(expert_package: Path, theirs: Site, tmp_path: Path) -> None:
    install(expert_package, theirs)
    expert = find_expert(EXPERT, theirs.places)
    export_expert(expert, tmp_path / "e.zip", foundation=theirs.foundation, places=theirs.places, licence=None)
    assert sha256_of(tmp_path / "e.zip") == sha256_of(expert_package)


def test_same_package_twice_changes_nothing(mixture_package: Path, theirs: Site) -> None:
    assert install(mixture_package, theirs).placed == (
        "Dataset007_Boxes/boxes",
        "Dataset007_Boxes/locator",
        "mixtures/default",
    )
    before = theirs.files()
    assert install(mixture_package, theirs).placed == ()
    assert theirs.files() == before


def test_what_is_there_already_stays_where_it_was_trained(expert_package: Path, ours: Site) -> None:
    before = ours.files()
    assert install(expert_package, ours).placed == ()
    assert ours.files() == before


def test_missing_fold_of_the_same_expert_is_added(expert_package: Path, ours: Site) -> None:
    fold = ours.places.expert_fold(DATASET, "boxes", 1)
    shutil.rmtree(fold)
    assert install(expert_package, ours).placed == ("Dataset007_Boxes/boxes/fold_1",)
    assert (fold / EXPERT_WEIGHTS).is_file()


def test_folds_of_two_trainings_are_not_mixed(expert_package: Path, ours: Site) -> None:
    change_weights(ours)
    shutil.rmtree(ours.places.expert_fold(DATASET, "boxes", 1))
    before = ours.files()
    with pytest.raises(UsageError, match="holds something else"):
        install(expert_package, ours)
    assert ours.files() == before


def test_another_expert_of_the_name_is_kept(expert_package: Path, theirs: Site) -> None:
    install(expert_package, theirs)
    change_weights(theirs)
    before = theirs.files()
    with pytest.raises(UsageError) as error:
        install(expert_package, theirs)
    for words in (str(theirs.places.folder / EXPERT), "--as Dataset901_Mine/boxes", "--overwrite", "--results"):
        assert words in str(error.value)
    assert theirs.files() == before


def test_overwriting_replaces_the_whole_expert(expert_package: Path, theirs: Site) -> None:
    install(expert_package, theirs)
    before = theirs.files()
    (change_weights(theirs) / "training_log.csv").write_text("of the other one")
    install(expert_package, theirs, overwrite=True)
    assert theirs.files() == before


def test_expert_that_a_mixture_uses_is_not_overwritten(expert_package: Path, ours: Site) -> None:
    mixture = ours.places.mixture(MIXTURE) / MIXTURE_JSON
    sha256 = sha256_of(change_weights(ours) / EXPERT_WEIGHTS)
    card = MixtureCard.load(mixture)
    member = card.experts[0].model_copy(update={"sha256": {**card.experts[0].sha256, "0": sha256}})
    card.model_copy(update={"experts": (member,)}).save(mixture)
    before = ours.files()
    with pytest.raises(UsageError, match="used by the mixture 'default'"):
        install(expert_package, ours, overwrite=True)
    assert ours.files() == before


def test_damaged_expert_is_mended_by_overwriting(expert_package: Path, ours: Site) -> None:
    weights = ours.places.expert_fold(DATASET, "boxes", 0) / EXPERT_WEIGHTS
    weights.write_bytes(b"damaged")
    install(expert_package, ours, overwrite=True)
    Mixture.load(MIXTURE, foundation=ours.foundation, results=ours.results, device="cpu")


def test_overwriting_replaces_a_mixture_with_its_experts(mixture_package: Path, ours: Site, image: CaseImage) -> None:
    wanted = answer(ours, MIXTURE, image)
    mixture = ours.places.mixture(MIXTURE)
    card = MixtureCard.load(mixture / MIXTURE_JSON)
    sha256 = sha256_of(change_weights(ours) / EXPERT_WEIGHTS)
    member = card.experts[0].model_copy(update={"sha256": {**card.experts[0].sha256, "0": sha256}, "threshold": 0.123})
    card.model_copy(update={"experts": (member,)}).save(mixture / MIXTURE_JSON)
    install(mixture_package, ours, overwrite=True)
    found = answer(ours, MIXTURE, image)
    assert found[0] == wanted[0]
    assert torch.equal(found[1], wanted[1])


def test_renamed_expert_is_another_in_every_card(expert_package: Path, ours: Site) -> None:
    installed = install(expert_package, ours, name="Dataset107_Theirs/near")
    assert installed.placed == ("Dataset107_Theirs/near",)
    expert = find_expert("107/near", ours.places)
    assert {(card.dataset, card.task) for card in expert.cards} == {("Dataset107_Theirs", "near")}
    assert [score.expert for score in installed.manifest.scores.classes] == ["Dataset107_Theirs/near"]
    assert {card.sha256 for card in expert.cards} == {card.sha256 for card in find_expert(EXPERT, ours.places).cards}


@pytest.mark.parametrize(
    "name", ["near", "Dataset7_X/near", "Dataset107_X/a b", "Dataset107_X/../up", "../x/y", "Dataset107_X/locator"]
)
def test_names_that_are_not_an_experts_are_refused(name: str, expert_package: Path, theirs: Site) -> None:
    with pytest.raises(UsageError, match="an expert is called DatasetXXX_Name/task"):
        install(expert_package, theirs, name=name)
    assert not theirs.results.exists()


def test_names_that_are_not_a_mixtures_are_refused(mixture_package: Path, theirs: Site) -> None:
    with pytest.raises(UsageError, match="'_' and '-' only"):
        install(mixture_package, theirs, name="../up")


def test_other_foundation_is_named_beside_the_one_in_use(expert_package: Path, theirs: Site) -> None:
    card = theirs.foundation.card.model_copy(update={"name": "other", "sha256": "cd" * 32})
    site = replace(theirs, foundation=replace(theirs.foundation, card=card))
    with pytest.raises(ArtefactError, match=r"foundation 'nano' .* in use is 'other' \(cdcdcdcdcdcd"):
        install(expert_package, site)


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_installation_that_is_interrupted_is_undone(
    failing: int, mixture_package: Path, ours: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of four moves: mixture and expert away, expert and mixture in; the locators are the same.
    change_weights(ours)
    mixture = ours.places.mixture(MIXTURE) / MIXTURE_JSON
    MixtureCard.load(mixture).model_copy(update={"top_k": 1}).save(mixture)
    before, rename, moves = ours.files(), Path.rename, []

    def rename_some(source: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == failing:
            raise KeyboardInterrupt
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", rename_some)
    with pytest.raises(KeyboardInterrupt):
        install(mixture_package, ours, overwrite=True)
    assert ours.files() == before
    assert not [path for path in ours.places.folder.iterdir() if path.name.startswith(".")]
