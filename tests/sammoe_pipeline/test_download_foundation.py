from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sammoe_pipeline.download_foundation import download_foundation
from sammoe_pipeline.errors import ArtefactError, DownloadError, UsageError
from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.model import build_sam_med3d
from sammoe_pipeline.paths import DOWNLOADS, FOUNDATIONS
from sammoe_pipeline.published_foundations import PUBLISHED
from tests.sammoe_pipeline.hub_server import COMMIT, HubServer, serve

NAME = "sam_med3d_turbo"


@pytest.fixture
def hub(nano_foundation: Foundation, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub, with a `nano` where the published weights lie."""
    published = PUBLISHED[NAME]
    monkeypatch.setitem(PUBLISHED, NAME, replace(published, builder="nano"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    content = io.BytesIO()
    torch.save({"model_state_dict": load_file(nano_foundation.weights)}, content)
    server = HubServer(repository="blueyo0/SAM-Med3D", file="sam_med3d_turbo.pth", content=content.getvalue())
    with serve(server):
        yield server


def test_a_published_foundation_is_installed_under_its_name(
    hub: HubServer, nano_foundation: Foundation, tmp_path: Path
) -> None:
    download_foundation(NAME, tmp_path, endpoint=hub.endpoint)
    found = find_foundation(NAME, tmp_path)
    expected = load_file(nano_foundation.weights)
    assert all(torch.equal(value, expected[name]) for name, value in found.load_model().state_dict().items())


def test_the_card_says_where_it_came_from_and_what_is_known(hub: HubServer, tmp_path: Path) -> None:
    card = download_foundation(NAME, tmp_path, endpoint=hub.endpoint).card
    assert card.source == f"{hub.endpoint}/blueyo0/SAM-Med3D/resolve/{COMMIT}/sam_med3d_turbo.pth"
    assert (card.licence, card.spacing_mm, card.normalisation) == ("Apache-2.0", 1.5, "positive")
    assert "Totalsegmentator_dataset" in card.trained_on


def test_the_download_is_removed_once_converted(hub: HubServer, tmp_path: Path) -> None:
    download_foundation(NAME, tmp_path, endpoint=hub.endpoint)
    assert list((tmp_path / FOUNDATIONS / DOWNLOADS).iterdir()) == []


def test_an_installed_foundation_is_not_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    download_foundation(NAME, tmp_path, endpoint=hub.endpoint)
    hub.requests.clear()
    with pytest.raises(UsageError, match="exists already and is never overwritten"):
        download_foundation(NAME, tmp_path, endpoint=hub.endpoint)
    assert hub.requests == []


def test_a_failed_download_says_how_to_do_without(hub: HubServer, tmp_path: Path) -> None:
    hub.file = "moved.pth"
    with pytest.raises(DownloadError, match=rf"convert --from sam_med3d_turbo.pth --name {NAME}"):
        download_foundation(NAME, tmp_path, endpoint=hub.endpoint)


def test_a_download_that_is_another_network_installs_nothing(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PUBLISHED, NAME, replace(PUBLISHED[NAME], builder="tiny"))
    with pytest.raises(ArtefactError, match="does not fit builder 'tiny'"):
        download_foundation(NAME, tmp_path, endpoint=hub.endpoint)
    assert [path.name for path in (tmp_path / FOUNDATIONS).iterdir()] == [DOWNLOADS]


def test_unknown_name_lists_what_is_published(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'sam_med3d_turbo'\?"):
        download_foundation("sam_med3d_turbo2", tmp_path)


def test_what_is_said_of_published_foundations_fits_their_networks() -> None:
    for published in PUBLISHED.values():
        with torch.device("meta"):
            model = build_sam_med3d(published.builder)
        size = sum(4 * value.numel() for value in model.state_dict().values())
        assert (published.patch_size, published.megabytes) == (model.patch_size, round(size / 1e6))
