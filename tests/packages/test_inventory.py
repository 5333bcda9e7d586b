from __future__ import annotations

import shutil

import pytest

from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.packages.inventory import find_expert, find_mixture, list_experts, weights_of_mixture
from sammoe_pipeline.paths import EXPERT_JSON, Results
from tests.packages.conftest import EXPERT, MIXTURE, Site


@pytest.mark.parametrize("name", [EXPERT, "Boxes/boxes", "7/boxes", "007/boxes", "'7/boxes'"])
def test_expert_is_found_by_name_or_number(name: str, ours: Site) -> None:
    assert find_expert(name, ours.places).key == EXPERT


@pytest.mark.parametrize("name", ["7", "boxes", "8/boxes", "7/", "/boxes"])
def test_unknown_expert_lists_what_there_is(name: str, ours: Site) -> None:
    with pytest.raises(UsageError, match=r"no such expert in .*There are: Dataset007_Boxes/boxes\."):
        find_expert(name, ours.places)


def test_name_of_a_mixture_is_recognised(ours: Site) -> None:
    with pytest.raises(UsageError, match="There is a mixture of this name: -m default"):
        find_expert(MIXTURE, ours.places)


def test_number_of_two_datasets_is_not_guessed(ours: Site) -> None:
    card = find_expert(EXPERT, ours.places).cards[0].model_copy(update={"dataset": "Dataset007_Twins"})
    folder = ours.places.expert_fold(card.dataset, card.task, card.fold)
    folder.mkdir(parents=True)
    card.save(folder / EXPERT_JSON)
    with pytest.raises(UsageError, match="may be Dataset007_Boxes/boxes or Dataset007_Twins/boxes"):
        find_expert("7/boxes", ours.places)


def test_broken_card_is_named_and_left_out(ours: Site, caplog: pytest.LogCaptureFixture) -> None:
    (ours.places.expert_fold("Dataset007_Boxes", "boxes", 0) / EXPERT_JSON).write_text("{}")
    assert [expert.folds for expert in list_experts(ours.places)] == [(1,)]
    assert "not a valid ExpertCard" in caplog.text


def test_card_in_the_folder_of_another_expert_is_left_out(ours: Site, caplog: pytest.LogCaptureFixture) -> None:
    shutil.move(ours.places.folder / EXPERT, ours.places.folder / "Dataset007_Boxes" / "moved")
    assert list_experts(ours.places) == []
    assert "which lies elsewhere" in caplog.text


def test_unknown_mixture_suggests_the_nearest(ours: Site) -> None:
    with pytest.raises(UsageError, match="Did you mean 'default'"):
        find_mixture("defalut", ours.places)


def test_mixture_needs_gates_experts_locators_and_routing_sets(ours: Site) -> None:
    mixture = find_mixture(MIXTURE, ours.places)
    names = [path.relative_to(ours.places.folder).as_posix() for path, _ in mixture.weights(ours.places)]
    assert names.pop(names.index("mixtures/default/routing/Dataset007_Boxes/routing.safetensors"))
    assert sorted(names) == [
        f"{folder}/fold_{fold}/{file}.safetensors"
        for folder, file in [(EXPERT, "expert"), ("Dataset007_Boxes/locator", "locator"), ("mixtures/default", "gate")]
        for fold in (0, 1)
    ]


def test_mixture_whose_card_leaves_a_fold_out_is_an_error(ours: Site) -> None:
    card = find_mixture(MIXTURE, ours.places).card
    with pytest.raises(ArtefactError, match="does not name weights for each fold"):
        weights_of_mixture(card.model_copy(update={"folds": (0, 1, 2)}), Results(root=ours.results, foundation="nano"))
