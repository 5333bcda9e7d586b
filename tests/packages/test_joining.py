from __future__ import annotations

from pathlib import Path

import pytest

from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.commands.train_gate import main as sammoe_train_gate
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.packages.export import export_mixture
from sammoe_pipeline.packages.install import install_package
from sammoe_pipeline.packages.inventory import find_mixture
from sammoe_pipeline.packages.joining import join_packages
from sammoe_pipeline.paths import GATE_WEIGHTS, MIXTURE_JSON
from sammoe_pipeline.training.join_mixtures import join_mixtures
from tests.conftest import Workspace
from tests.packages.conftest import EXPERT, MIXTURE, Site
from tests.packages.test_install import answer


def _join(site: Site, *packages: Path, name: str = "joined") -> MixtureCard:
    settings = {"foundation": site.foundation, "results": site.results, "seed": 0}
    return join_packages(packages, name=name, **settings)


@pytest.fixture
def other_package(ours: Site, mixture_package: Path, tmp_path: Path) -> Path:
    """The same mixture under another name, as one hospital may share it twice."""
    install_package(mixture_package, foundation=ours.foundation, places=ours.places, name="other")
    path = tmp_path / "other.zip"
    export_mixture(
        find_mixture("other", ours.places), path, foundation=ours.foundation, places=ours.places, licence="CC-BY-4.0"
    )
    return path


def test_gate_fitted_to_routing_sets_judges_as_the_one_fitted_to_data(
    mixture_package: Path, ours: Site, theirs: Site, shared_workspace: Workspace
) -> None:
    _join(theirs, mixture_package)
    image = CaseImage([read_volume(path) for path in shared_workspace.raw.training_cases[0].images])
    joined, original = answer(theirs, "joined", image)[0], answer(ours, MIXTURE, image)[0]
    assert joined == pytest.approx(original, abs=0.05)  # Clicks travel in half precision.


def test_joined_mixture_holds_what_all_of_them_hold(mixture_package: Path, other_package: Path, theirs: Site) -> None:
    card = _join(theirs, mixture_package, other_package)
    assert [f"{one.dataset}/{one.task}" for one in card.experts] == [EXPERT]
    assert [one.dataset for one in card.datasets] == ["Dataset007_Boxes"]
    assert card.folds == (0, 1) and set(card.gate_sha256) == {"0", "1"}
    assert card.datasets[0].held_out_folds == (0, 1) and set(card.datasets[0].locator_sha256) == {"0", "1"}
    assert [(entry.value, entry.name) for entry in card.labels] == [(1, "near"), (2, "far")]


def test_joined_experts_keep_the_highest_threshold_of_their_dataset(
    mixture_package: Path, other_package: Path, theirs: Site
) -> None:
    for package, threshold in ((mixture_package, 0.6), (other_package, 0.8)):
        installed = install_package(package, foundation=theirs.foundation, places=theirs.places)
        path = theirs.places.mixture(installed.manifest.name) / MIXTURE_JSON
        card = MixtureCard.load(path)
        (expert,) = card.experts
        card.model_copy(update={"experts": (expert.model_copy(update={"threshold": threshold}),)}).save(path)
    cards = [find_mixture(name, theirs.places).card for name in (MIXTURE, "other")]
    joined = join_mixtures(cards, name="joined", foundation=theirs.foundation, places=theirs.places, seed=0)
    assert joined.thresholds == {"Dataset007_Boxes": 0.8}


def test_joined_mixture_can_be_shared_and_joined_again(mixture_package: Path, theirs: Site, tmp_path: Path) -> None:
    first = _join(theirs, mixture_package)
    path = tmp_path / "joined.zip"
    export_mixture(
        find_mixture("joined", theirs.places), path, foundation=theirs.foundation, places=theirs.places, licence=None
    )
    again = _join(Site(results=tmp_path / "third", foundation=theirs.foundation), path, name="again")
    assert again.experts == first.experts and again.datasets == first.datasets


def test_expert_alone_is_refused_with_the_way_out(expert_package: Path, mixture_package: Path, theirs: Site) -> None:
    with pytest.raises(UsageError, match="sammoe_train_gate -m NAME --experts Dataset007_Boxes/boxes"):
        _join(theirs, mixture_package, expert_package)
    assert not theirs.results.exists()


def test_joined_mixture_needs_a_name_of_its_own(mixture_package: Path, theirs: Site) -> None:
    with pytest.raises(UsageError, match="-m default: one of the mixtures is called so"):
        _join(theirs, mixture_package, name=MIXTURE)


def test_different_things_of_one_name_are_refused(
    ours: Site, mixture_package: Path, other_package: Path, theirs: Site
) -> None:
    _join(theirs, mixture_package)
    install_package(other_package, foundation=theirs.foundation, places=theirs.places)
    path = theirs.places.mixture("other") / MIXTURE_JSON
    card = MixtureCard.load(path)
    changed = card.datasets[0].model_copy(update={"nested": True})
    card.model_copy(update={"datasets": (changed,)}).save(path)
    with pytest.raises(UsageError, match="holds something else"):
        _join(theirs, mixture_package, other_package, name="third")


def test_changed_routing_set_is_refused(mixture_package: Path, theirs: Site) -> None:
    _join(theirs, mixture_package)
    path = theirs.places.routing_set(MIXTURE, "Dataset007_Boxes")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises((ArtefactError, UsageError)):
        _join(theirs, mixture_package, name="again")


def test_command_joins_packages(
    mixture_package: Path, other_package: Path, theirs: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from_packages", str(mixture_package), str(other_package), "-m", "joined"]
    folders = ["--foundation", str(theirs.foundation.folder), "--results", str(theirs.results)]
    assert sammoe_train_gate([*words, *folders, "--raw", str(theirs.results)]) == 0
    out = capsys.readouterr().out
    assert "Mixture 'joined': 1 experts" in out
    assert f"\n  sammoe_predict -i IMAGES -o OUTPUT -m joined {' '.join(folders)}\n" in out
    assert (theirs.places.gate_fold("joined", 1) / GATE_WEIGHTS).is_file()


def test_flags_that_choose_data_do_not_go_with_packages(
    mixture_package: Path, theirs: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from_packages", str(mixture_package), "-d", "7"]
    assert sammoe_train_gate([*words, "--results", str(theirs.results)]) == 1
    assert "-d: with --from_packages" in capsys.readouterr().err
