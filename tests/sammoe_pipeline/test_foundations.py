import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sammoe_pipeline.artefacts import FoundationCard, sha256_of
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundations import (
    DEFAULT_VARIABLE,
    Foundation,
    check_hash,
    find_foundation,
    foundation_folders,
    new_foundation_folder,
)
from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATIONS


@pytest.fixture
def copied(nano_foundation: Foundation, tmp_path: Path) -> Foundation:
    """A copy of the foundation under a results folder, to be spoilt."""
    folder = tmp_path / FOUNDATIONS / "nano"
    shutil.copytree(nano_foundation.folder, folder)
    return Foundation(card=nano_foundation.card, folder=folder)


def _rewrite(foundation: Foundation, weights: dict[str, torch.Tensor], **changes: object) -> Foundation:
    save_file(weights, foundation.weights)
    card = foundation.card.model_copy(update={"sha256": sha256_of(foundation.weights), **changes})
    card.save(foundation.folder / FOUNDATION_JSON)
    return Foundation(card=card, folder=foundation.folder)


def test_loaded_network_computes_what_the_saved_one_did(nano_foundation: Foundation) -> None:
    expected = build_sam_med3d("nano").eval()
    expected.load_state_dict(load_file(nano_foundation.weights))
    model = nano_foundation.load_model()
    image, points, labels = torch.randn(1, 1, 16, 16, 16), torch.tensor([[[5.0, 6.0, 7.0]]]), torch.tensor([[1]])
    with torch.inference_mode():
        found = model.decode(model.encode(image), points, labels)
        torch.testing.assert_close(found, expected.decode(expected.encode(image), points, labels))


def test_loaded_network_is_frozen_and_in_evaluation_mode(nano_foundation: Foundation) -> None:
    model = nano_foundation.load_model()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])


def test_half_precision_weights_are_computed_with_in_full(copied: Foundation) -> None:
    halves = {name: value.half() for name, value in load_file(copied.weights).items()}
    model = _rewrite(copied, halves).load_model()
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(
        model.state_dict()["mask_decoder.mask_tokens.weight"].half(), halves["mask_decoder.mask_tokens.weight"]
    )


def test_changed_weights_are_refused(copied: Foundation) -> None:
    content = bytearray(copied.weights.read_bytes())
    content[-1] ^= 1
    copied.weights.write_bytes(bytes(content))
    with pytest.raises(ArtefactError, match=r"was changed or belongs to"):
        copied.load_model()


def test_missing_weights_are_named(copied: Foundation) -> None:
    copied.weights.unlink()
    with pytest.raises(ArtefactError, match=rf"{copied.weights.name} does not exist"):
        check_hash(copied.weights, copied.card.sha256)


def test_weights_of_another_network_are_refused(copied: Foundation) -> None:
    weights = load_file(copied.weights)
    weights.pop("mask_decoder.mask_tokens.weight")
    with pytest.raises(ArtefactError, match="does not fit builder 'nano'"):
        _rewrite(copied, weights).load_model()


def test_card_of_an_unknown_builder_is_refused(copied: Foundation) -> None:
    with pytest.raises(ArtefactError, match="'vit_huge' is unknown"):
        _rewrite(copied, load_file(copied.weights), builder="vit_huge").load_model()


def test_foundation_is_found_by_folder_and_by_name_under_results(copied: Foundation, tmp_path: Path) -> None:
    assert find_foundation(str(copied.folder), tmp_path / "elsewhere") == copied
    assert find_foundation("nano", tmp_path) == copied


def test_environment_names_the_foundation_where_nothing_else_does(
    copied: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEFAULT_VARIABLE, "nano")
    assert find_foundation(None, tmp_path) == copied


def test_unknown_foundation_lists_those_there_are(copied: Foundation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'nano'\? Known: .*nano.*foundation\.json"):
        find_foundation("nanno", tmp_path)


def test_native_configuration_is_the_cards(nano_foundation: Foundation) -> None:
    native, card = nano_foundation.native, FoundationCard.load(nano_foundation.folder / FOUNDATION_JSON)
    assert (native.name, native.spacing_mm, native.patch_size) == ("native", card.spacing_mm, card.patch_size)


def test_unknown_foundation_of_the_environment_is_blamed_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEFAULT_VARIABLE, "nanno")
    with pytest.raises(UsageError, match=f"{DEFAULT_VARIABLE}=nanno: there is no such"):
        find_foundation(None, tmp_path)


def test_published_foundation_that_is_not_installed_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sammoe_foundation download sam_med3d_turbo"):
        find_foundation("sam_med3d_turbo", tmp_path)


def test_installed_foundations_are_listed_before_bundled_ones(copied: Foundation, tmp_path: Path) -> None:
    assert [folder.name for folder in foundation_folders(tmp_path)] == ["nano", "tiny"]


def test_foundation_that_is_being_written_is_not_listed(copied: Foundation, tmp_path: Path) -> None:
    copied.folder.rename(copied.folder.with_name(".123-nano"))
    assert [folder.name for folder in foundation_folders(tmp_path)] == ["tiny"]


def test_new_foundation_goes_under_results(tmp_path: Path) -> None:
    assert new_foundation_folder("mine", tmp_path) == tmp_path / FOUNDATIONS / "mine"


def test_verified_network_is_the_loaded_one(nano_foundation: Foundation) -> None:
    verified, loaded = nano_foundation.verify().state_dict(), nano_foundation.load_model().state_dict()
    assert all(torch.equal(verified[name], value) for name, value in loaded.items())


def test_values_that_are_not_finite_are_found(copied: Foundation) -> None:
    weights = load_file(copied.weights)
    weights["image_encoder.pos_embed"][0, 1, 2, 3, 0] = torch.inf
    with pytest.raises(ArtefactError, match=r"NaN or infinite, in image_encoder\.pos_embed"):
        _rewrite(copied, weights).verify()


def test_card_of_another_prompt_history_is_refused(copied: Foundation) -> None:
    path = copied.folder / FOUNDATION_JSON
    path.write_text(path.read_text().replace('"prompt_history": "all"', '"prompt_history": "newest"'))
    with pytest.raises(ArtefactError, match="prompt_history"):
        FoundationCard.load(path)
